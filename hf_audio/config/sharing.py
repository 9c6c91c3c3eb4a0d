"""Settings of `hf-audio push recordings` other than the corpus: where to publish recordings, and how to store them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from hf_audio.config.setting import PATH, require_choices, setting
from hf_audio.errors import InputError, unknown_name

AudioFormat = Literal["flac", "original"]


def require_audio_format(name: str) -> None:
    """Raises InputError for an unknown format."""
    if name not in get_args(AudioFormat):
        raise unknown_name("--audio_format", name, get_args(AudioFormat))


@dataclass
class ShareConfig:
    """Where recordings are published as a dataset, and how they are stored."""

    _argument_group_name = "sharing"

    hub_dataset_id: str | None = setting(
        None,
        "Hub name of the dataset of recordings, USER/NAME. Without it, the dataset is only built in --output_dir.",
    )
    hub_private_repo: bool = setting(False, "Make a new repository private.")
    public_license: list[str] | None = setting(
        None,
        "Publish recordings although the corpus's license forbids redistribution: repeat that license here, word for "
        "word, and those of any further corpora.",
    )
    license: str | None = setting(None, "License under which you share your own recordings, e.g. cc-by-4.0.")
    audio_format: AudioFormat = setting(
        "flac",
        "flac (compress integer recordings losslessly, cut out excerpts, copy all other files unchanged) or original "
        "(copy all files unchanged, with their tags).",
    )
    output_dir: str | None = setting(
        None, "Also keep the dataset here. Default: delete each shard from pushes/NAME once it is uploaded.", PATH
    )
    num_workers: int | None = setting(None, "Threads that read and compress. Default: one per core.")
    strict: bool = setting(False, "Stop at the first recording that cannot be used, instead of leaving it out.")
    hub_token: str | None = field(
        default=None,
        repr=False,
        metadata={"help": "Hub token with write permission. Default: HF_TOKEN, or that of `hf auth login`."},
    )

    def __post_init__(self) -> None:
        require_choices(self)
        if not (self.hub_dataset_id or self.output_dir):
            raise InputError(
                "The dataset has no destination: give --hub_dataset_id USER/NAME, or --output_dir DIR to build it on "
                "this machine only"
            )
        if not self.hub_dataset_id:
            for name in ("hub_private_repo", "public_license", "hub_token"):
                if getattr(self, name):
                    raise InputError(f"--{name} would have no effect here: give --hub_dataset_id too, or leave it out")
        if self.num_workers is not None and self.num_workers < 1:
            raise InputError(
                f"--num_workers must be 1 or more, found {self.num_workers}; leave it out to use all cores"
            )

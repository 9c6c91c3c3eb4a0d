"""What `hf-audio push recordings` is told beside the corpus: where its recordings go, and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_audio.config.setting import PATH, setting
from hf_audio.errors import InputError

AUDIO_FORMATS = ("flac", "original")


def require_audio_format(name: str) -> None:
    """Raises InputError where recordings cannot be stored so."""
    if name not in AUDIO_FORMATS:
        raise InputError(f"--audio_format {name} is unknown; expected {' or '.join(AUDIO_FORMATS)}")


@dataclass
class ShareConfig:
    """Where recordings go as a dataset, and how they are stored."""

    _argument_group_name = "sharing"

    hub_dataset_id: str | None = setting(
        None, "Hub name of the dataset of recordings, USER/NAME. Without it, it is built in --output_dir only."
    )
    hub_private_repo: bool = setting(False, "Make a new repository private.")
    public_license: list[str] | None = setting(
        None,
        "Name the corpus's license here to push its recordings in public although it forbids redistribution; of "
        "several corpora name each.",
    )
    license: str | None = setting(
        None, "License under which you share recordings of your own (--corpus folder), e.g. cc-by-4.0."
    )
    audio_format: str = setting(
        "flac",
        "flac: recordings of whole numbers are packed losslessly, stretches are cut, all others stay as they are. "
        "original: the files as they are, tags and all.",
    )
    output_dir: str | None = setting(
        None, "Keep the dataset here too. Default: shards are removed from pushes/NAME once they are uploaded.", PATH
    )
    num_workers: int | None = setting(None, "Threads that read and pack. Default: all cores this process may use.")
    strict: bool = setting(False, "Stop at the first recording that cannot be used instead of leaving it out.")
    hub_token: str | None = field(
        default=None,
        repr=False,
        metadata={"help": "Hub token with write permission. Default: HF_TOKEN or that of hf auth login."},
    )

    def __post_init__(self) -> None:
        require_audio_format(self.audio_format)
        if not (self.hub_dataset_id or self.output_dir):
            raise InputError(
                "Nothing says where the dataset goes: give --hub_dataset_id USER/NAME, or --output_dir DIR to build it "
                "on this machine only"
            )
        if not self.hub_dataset_id:
            for name in ("hub_private_repo", "public_license", "hub_token"):
                if getattr(self, name):
                    raise InputError(f"--{name} would do nothing here: give --hub_dataset_id too, or leave it out")
        if self.num_workers is not None and self.num_workers < 1:
            raise InputError(
                f"--num_workers must be 1 or more, found {self.num_workers}; leave it out to use all cores"
            )

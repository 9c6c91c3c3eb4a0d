"""A tagger by the name of its model."""

from __future__ import annotations

from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.tagger import Tagger

ON_CPU, ON_ACCELERATOR = 8, 32  # windows at a time


def load(
    name: str,
    *,
    device: str | None = None,
    bf16: bool = False,
    token: str | None = None,
    revision: str | None = None,
    batch_size: int | None = None,
) -> Tagger:
    """A trained audio classifier of the Hub or of a folder, ready to tag sounds.

    It may be a model of hf_audio, a stock one of transformers, or anybody's of the same classes. Code that a repository
    brings along is never run, and weights are safetensors.

    Args:
        name: a repository on the Hub or a folder.
        device: by default the accelerator where there is one.
        bf16: compute in bfloat16 where that is safe.
        token: for a private repository; by default the stored one.
        revision: a branch, tag or commit.
        batch_size: windows at a time; by default 8 on a CPU, whose caches hold no more, and 32 on an accelerator.

    Raises:
        InputError: no such model, or one that cannot be used.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"A batch has at least 1 window, found batch_size {batch_size}")
    predictor = SoundPredictor.load(str(name), token=token, revision=revision, device=device, bf16=bf16)
    predictor.batch_size = batch_size or (ON_CPU if predictor.device.type == "cpu" else ON_ACCELERATOR)
    if predictor.untrained:
        raise InputError(
            f"{name} has no trained classifier (no {predictor.untrained[0]} among its weights): fine-tune it first, or "
            "take an audio-classification model"
        )
    return Tagger(predictor)

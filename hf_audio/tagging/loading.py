"""Loads a tagger by the name of its model."""

from __future__ import annotations

from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.tagger import Tagger

CPU_BATCH_SIZE, ACCELERATOR_BATCH_SIZE = 8, 32


def load(
    name: str,
    *,
    device: str | None = None,
    bf16: bool = False,
    token: str | None = None,
    revision: str | None = None,
    batch_size: int | None = None,
) -> Tagger:
    """Loads a trained audio classifier from the Hub or a folder, ready to tag sounds.

    It can be an hf_audio model, a stock transformers model, or another model that uses the classes of either. Code in
    the repository is never run, and weights must be safetensors.

    Args:
        name: a repository on the Hub or a folder.
        device: device to run on. Default: the accelerator if there is one.
        bf16: compute in bfloat16 where that is safe.
        token: access token for a private repository. Default: the stored token.
        revision: a branch, tag or commit.
        batch_size: windows per forward pass. Default: 8 on a CPU, as more do not fit into its caches, otherwise 32.

    Raises:
        InputError: the model does not exist or cannot be used.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"A batch has at least 1 window, found batch_size {batch_size}")
    predictor = SoundPredictor.load(str(name), token=token, revision=revision, device=device, bf16=bf16)
    predictor.batch_size = batch_size or (CPU_BATCH_SIZE if predictor.device.type == "cpu" else ACCELERATOR_BATCH_SIZE)
    if predictor.untrained:
        raise InputError(
            f"{name} has no trained classifier (no {predictor.untrained[0]} among its weights): fine-tune it first, or "
            "use an audio-classification model"
        )
    return Tagger(predictor)

"""What of a batch a model is given."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

TAUGHT = "teacher_logits"  # what a stored teacher said of each window
OF_EVALUATION = ("labels", "clip_keys", TAUGHT)


def model_inputs(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """input_values or input_features, attention_mask, metadata, and num_frames where the model reads them: our classes
    do, stock ones take what their extractor gives.

    Args:
        model: not yet wrapped for several processes; with adapters or compiled it may be.
        batch: of a FeatureCollator.
    """
    left_out = OF_EVALUATION if getattr(model, "reads_num_frames", False) else (*OF_EVALUATION, "num_frames")
    return {name: value for name, value in batch.items() if name not in left_out}


def with_own_mask(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch of waveforms; its attention mask, if any, says what `num_frames` does, which may have changed."""
    if "attention_mask" not in batch:
        return batch
    mask, num_frames = batch["attention_mask"], batch["num_frames"]
    samples = torch.arange(mask.shape[1], device=mask.device)
    return {**batch, "attention_mask": (samples < num_frames[:, None]).to(mask.dtype)}

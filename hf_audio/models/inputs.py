"""Selects the inputs of a model from a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

TAUGHT = "teacher_logits"  # stored predictions of a teacher for each window
OF_EVALUATION = ("labels", "clip_keys", TAUGHT)


def model_inputs(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of input_values, input_features, attention_mask, metadata and num_frames that the model reads: stock
    classes take only the outputs of their extractor.

    Args:
        model: may have adapters or be compiled, but must not be wrapped for several processes.
        batch: a batch from a FeatureCollator.
    """
    left_out = OF_EVALUATION if getattr(model, "reads_num_frames", False) else (*OF_EVALUATION, "num_frames")
    return {name: value for name, value in batch.items() if name not in left_out}


def with_own_mask(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch of waveforms, with its attention mask, if any, updated to `num_frames`, which may have changed."""
    if "attention_mask" not in batch:
        return batch
    mask, num_frames = batch["attention_mask"], batch["num_frames"]
    samples = torch.arange(mask.shape[1], device=mask.device)
    return {**batch, "attention_mask": (samples < num_frames[:, None]).to(mask.dtype)}

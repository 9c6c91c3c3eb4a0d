"""The rate of a GPU's matrix units, and the operations of a model's training; used by benchmark_training.py."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

MATRIX_SIZES = {"cuda": 8192, "cpu": 512}
MEASURED_S = 0.3


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second in products of large square matrices, an upper bound for training."""
    size = MATRIX_SIZES[device]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    rates = []
    for _ in range(3):  # the first is a warm-up; the best one counts
        count, started_s = 0, time.perf_counter()
        while time.perf_counter() - started_s < MEASURED_S:
            for _ in range(8):
                left @ right
            count += 8
            if device == "cuda":
                torch.cuda.synchronize()
        rates.append(2 * size**3 * count / (time.perf_counter() - started_s))
    return max(rates)


def training_flops(model: PreTrainedModel, num_frames: int, num_bins: int) -> int:
    """Operations of one window's forward and backward pass: only matrix products and convolutions."""
    window = torch.randn(1, num_frames, num_bins)
    with FlopCounterMode(display=False) as counter:
        model.train()(input_values=window).logits.sum().backward()
    return counter.get_total_flops()

"""Batch norm over the windows of all processes, so that several processes train like one with the same global batch."""

from __future__ import annotations

import torch
import torch.distributed
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from hf_audio.models.timm_network import import_timm


def sync_batch_norms(model: nn.Module) -> None:
    """Makes all batch norms of a model compute their statistics over all processes, in place.

    Otherwise each process would normalize by its own share of the batch: smaller shares are noisier, and the result
    depends on the number of processes. On a GPU, the layers become torch's nn.SyncBatchNorm, whose kernels send one
    small message per layer. It does not support other devices, where the classes below replace it. Names, weights and
    the code of a published model do not change.
    """
    on_gpu = PartialState().device.type == "cuda"
    for module in list(model.modules()):
        if type(module) is nn.BatchNorm2d:
            module.__class__ = nn.SyncBatchNorm if on_gpu else SyncedBatchNorm2d
        elif isinstance(module, nn.BatchNorm2d) and hasattr(module, "act"):
            module.__class__ = import_timm().layers.SyncBatchNormAct if on_gpu else SyncedBatchNormAct2d
        else:
            continue
        module.process_group = None  # all processes


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose mean and variance in training are computed over the windows of all processes."""

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, channels, height, width]` -> the same"""
        if not self.training:
            return super().forward(maps)
        count = _sum_over_processes(maps.new_tensor([maps.numel() / maps.shape[1]], dtype=torch.float32))
        mean = _sum_over_processes(maps.float().sum(dim=(0, 2, 3))) / count
        centered = maps.float() - mean[:, None, None]
        variance = _sum_over_processes(centered.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype)


class SyncedBatchNormAct2d(SyncedBatchNorm2d):
    """The same for timm's BatchNormAct2d, which is batch norm, dropout and activation in one layer."""

    def forward(self, maps: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(maps)))


def _sum_over_processes(values: Tensor) -> Tensor:
    return all_reduce(values.contiguous()) if torch.distributed.is_initialized() else values

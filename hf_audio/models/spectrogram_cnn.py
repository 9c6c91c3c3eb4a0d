"""Convolutional networks on spectrograms of any length, from a small plain network to a residual one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForAudioClassification

from .classifier import AudioClassifier, AudioClassifierConfig, Windows
from .padding import are_real

try:
    from transformers.modeling_layers import GradientCheckpointingLayer
except ImportError:  # before 4.53, published models can be used, but not trained with gradient checkpointing
    GradientCheckpointingLayer = nn.Module

NORMS = ("none", "group", "batch")
POOLINGS = ("mean", "mean_max")
GROUP_SIZE = 8  # channels per group of group norm


class SpectrogramCNNConfig(AudioClassifierConfig):
    """Each stage is a convolution, `depth - 1` residual convolutions, max pooling and dropout.

    Args:
        num_channels: input channels: 1 for mono, 2 for stereo, or more.
        channels: output channels of each stage. The other lists also have one entry per stage.
        kernel_sizes, strides: kernel size and stride of each stage's first convolution.
        pools: size of each stage's max pooling; 1: no pooling.
        depths: convolutions per stage.
        norm: "none", "group" or "batch". Group norm does not depend on the batch, so several processes or gradient
            accumulation train exactly as one process does.
        dropout: dropout of whole channels after each stage.
        quiet_padding: set padding to the lowest value of its window and channel, so that a short window ends in
            silence. ASTFeatureExtractor pads with a log-mel of 0, which is louder than most sounds.
        pooling: pooling over time and frequency after the last stage: "mean", or "mean_max": mean over frequency, then
            mean and maximum over time, for sounds that fill only part of the window (Kong et al. 2020, arXiv
            1912.10211).
        head and others: see AudioClassifierConfig.
    """

    model_type = "hf_audio_spectrogram_cnn"

    def __init__(
        self,
        num_channels: int = 1,
        channels: list[int] | tuple[int, ...] = (8, 16, 32, 64),
        kernel_sizes: list[int] | tuple[int, ...] = (5, 3, 3, 3),
        strides: list[int] | tuple[int, ...] = (2, 2, 2, 2),
        pools: list[int] | tuple[int, ...] = (2, 2, 2, 1),
        depths: list[int] | tuple[int, ...] = (1, 1, 1, 1),
        norm: str = "none",
        dropout: float = 0.0,
        pooling: str = "mean",
        quiet_padding: bool = True,
        **kwargs,
    ) -> None:
        self.num_channels = num_channels
        self.channels, self.kernel_sizes, self.strides = list(channels), list(kernel_sizes), list(strides)
        self.pools, self.depths = list(pools), list(depths)
        self.norm, self.dropout, self.pooling, self.quiet_padding = norm, dropout, pooling, quiet_padding
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Channels after the last stage."""
        return self.channels[-1]

    @property
    def num_hidden_layers(self) -> int:
        """Number of stages."""
        return len(self.channels)


class SpectrogramCNN(AudioClassifier):
    """input_values `[batch, frames, bins]`, or `[batch, channels, frames, bins]`."""

    config_class = SpectrogramCNNConfig
    supports_gradient_checkpointing = True
    lora_targets = ("convolution",)

    def __init__(self, config: SpectrogramCNNConfig) -> None:
        super().__init__(config)
        lists = (config.channels, config.kernel_sizes, config.strides, config.pools, config.depths)
        if len({len(one) for one in lists}) != 1:
            raise ValueError(f"channels, kernel_sizes, strides, pools and depths must have equal length, found {lists}")
        if config.norm not in NORMS or config.pooling not in POOLINGS:
            raise ValueError(
                f"norm must be one of {', '.join(NORMS)} and pooling one of {', '.join(POOLINGS)}, "
                f"found {config.norm!r} and {config.pooling!r}"
            )
        in_channels = [config.num_channels, *config.channels]
        self.stages = nn.ModuleList(
            Stage(*sizes, config.norm, config.dropout)  # type: ignore[call-arg]  # mypy miscounts
            for sizes in zip(in_channels, *lists)  # noqa: B905
        )
        # minimum input size: fewer frames or bins would leave no output after the last stage
        self.min_size = math.prod(config.strides) * math.prod(config.pools)
        self.add_head(config.channels[-1] * (2 if config.pooling == "mean_max" else 1))

    def embedding_of(self, windows: Windows) -> Tensor:
        maps = as_images(windows.values, self.config.num_channels)
        if self.config.quiet_padding and windows.num_frames is not None:
            maps = quieten_padding(maps, windows.num_frames)
        maps = channels_last(at_least(maps, self.min_size))
        if self.training and getattr(self.stages[0], "gradient_checkpointing", False) and not maps.requires_grad:
            maps = maps.detach().requires_grad_()  # otherwise reentrant checkpoints give the first stage no gradient
        maps = windows.layers.start(maps)
        for stage in self.stages:
            maps = stage(maps)
            windows.layers.add(maps)
        if self.config.pooling == "mean":
            return maps.mean(dim=(2, 3))
        over_bins = maps.mean(dim=3)
        return torch.cat([over_bins.mean(dim=2), over_bins.amax(dim=2)], dim=1)


class Stage(GradientCheckpointingLayer):
    """`[batch, in, frames, bins]` -> `[batch, out, fewer frames, fewer bins]`"""

    def __init__(self, in_channels, out_channels, kernel_size, stride, pool, depth, norm, dropout) -> None:
        super().__init__()
        self.first = Convolution(in_channels, out_channels, kernel_size, stride, norm)
        self.others = nn.ModuleList(Convolution(out_channels, out_channels, 3, 1, norm) for _ in range(depth - 1))
        self.pool = nn.MaxPool2d(pool) if pool > 1 else nn.Identity()
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.relu(self.first(maps))
        for convolution in self.others:
            maps = functional.relu(maps + convolution(maps))
        return self.dropout(self.pool(maps))


class Convolution(nn.Module):
    """A convolution that pads its input, so that only its stride changes the size, and a norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=bias)
        kinds = {
            "none": nn.Identity,
            "group": lambda: nn.GroupNorm(max(1, out_channels // GROUP_SIZE), out_channels),
            "batch": lambda: nn.BatchNorm2d(out_channels),
        }
        self.norm = kinds[norm]()

    def forward(self, maps: Tensor) -> Tensor:
        return self.norm(self.convolution(maps))


def as_images(input_values: Tensor, num_channels: int) -> Tensor:
    """Windows `[batch, frames, bins]` or `[batch, channels, frames, bins]` -> `[batch, num_channels, frames, bins]`.

    A mono window is copied to all channels.

    Raises:
        ValueError: the number of dimensions or channels is wrong.
    """
    if input_values.ndim == 3:
        input_values = input_values[:, None].expand(-1, num_channels, -1, -1)
    if input_values.ndim != 4 or input_values.shape[1] != num_channels:
        raise ValueError(
            f"Expected windows [batch, frames, bins] or [batch, {num_channels}, frames, bins], "
            f"found {list(input_values.shape)}"
        )
    return input_values


def quieten_padding(images: Tensor, num_frames: Tensor) -> Tensor:
    """Sets the padding of images `[batch, channels, frames, bins]` to the lowest value of its window and channel.

    Args:
        num_frames: int64 `[batch]`, number of frames per window that are not padding.
    """
    is_real = are_real(num_frames, images.shape[2])[:, None, :, None]
    quietest = images.masked_fill(~is_real, torch.inf).amin(dim=(2, 3), keepdim=True)
    return torch.where(is_real, images, quietest)


def channels_last(images: Tensor) -> Tensor:
    """Images in channels-last memory format, which later layers keep: the fastest format for convolutions on CPUs.

    Images with one channel match both formats, and torch would assume the other one. So their strides are set too.
    """
    if images.shape[1] > 1:
        return images.contiguous(memory_format=torch.channels_last)
    return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)


def at_least(images: Tensor, size: int) -> Tensor:
    """Images with frames and bins padded to at least `size`, with 0, the mean of the training features."""
    frames, bins = images.shape[2:]
    if frames >= size and bins >= size:
        return images
    return functional.pad(images, (0, max(0, size - bins), 0, max(0, size - frames)))


SpectrogramCNNConfig.register_for_auto_class()
SpectrogramCNN.register_for_auto_class("AutoModelForAudioClassification")
# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

AutoConfig.register(SpectrogramCNNConfig.model_type, SpectrogramCNNConfig, exist_ok=True)
AutoModelForAudioClassification.register(SpectrogramCNNConfig, SpectrogramCNN, exist_ok=True)

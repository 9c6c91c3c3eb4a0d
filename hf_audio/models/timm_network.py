"""A timm network as a backbone: creating it by name, freezing its first blocks, downloading its weights."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .classifier import AudioClassifierConfig, Layers
from .spectrogram_cnn import as_images, channels_last

MIN_SIZE = 32  # frames and bins: networks that halve their input five times need this many
FIXED_SIZE_MULTIPLE = 32  # networks with a fixed input size get a multiple of this, so that patches and stages fit

REFUSALS = (
    AssertionError,
    TypeError,
    ValueError,
    RuntimeError,
)  # from timm's networks; if the Hub cannot be reached, the errors are others


class TimmClassifierConfig(AudioClassifierConfig):
    """A timm network, and which part of it is trained.

    Args:
        timm_name: e.g. "resnet50", or with the tag of its weights "resnet50.a1_in1k".
        num_channels: input channels: 1 for mono, 2 for stereo, 3 as in the pretraining of the weights.
        trainable_blocks: number of final stages (for transformers: layers) that are trained; 0: none, None: all.
        drop_path_rate: stochastic depth, for residual networks that have it.
        max_frames, num_mel_bins: maximum frames and bins of a window, for networks with a fixed input size, as most
            transformers have.
        size_multiple: windows are padded with 0 to a multiple of this; dla, hrnet and tresnet need 32.
        hidden_size, num_hidden_layers: size of an embedding, number of stages or blocks; the model fills them in.
        head and others: see AudioClassifierConfig; `head_dropout` is the dropout between network and head.
    """

    model_type = "hf_audio_timm"

    def __init__(
        self,
        timm_name: str = "resnet50",
        num_channels: int = 1,
        trainable_blocks: int | None = None,
        drop_path_rate: float = 0.0,
        max_frames: int | None = None,
        num_mel_bins: int | None = None,
        size_multiple: int = 1,
        hidden_size: int | None = None,
        num_hidden_layers: int | None = None,
        **kwargs,
    ) -> None:
        self.timm_name, self.num_channels = timm_name, num_channels
        self.trainable_blocks, self.drop_path_rate = trainable_blocks, drop_path_rate
        self.max_frames, self.num_mel_bins, self.size_multiple = max_frames, num_mel_bins, size_multiple
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        super().__init__(**kwargs)


class Backbone(nn.Module):
    """A timm network without its head, whose first blocks may be frozen.

    Attributes:
        network: the timm model.
        size: size of its features.
        window: (frames, bins) of a network with a fixed input size; None: any size.
    """

    def __init__(self, config: TimmClassifierConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.network, self.window = create_network(config, pretrained)
        self.size = getattr(self.network, "head_hidden_size", None) or self.network.num_features
        self.num_channels, self.size_multiple = config.num_channels, config.size_multiple
        # keep timm's own initialization
        for module in self.network.modules():
            module._is_hf_initialized = True
        for _, tensor in self._named_tensors():
            if not tensor.is_meta:  # meta tensors have not been loaded yet
                tensor._is_hf_initialized = True
        self.freeze(config.trainable_blocks)

    def forward(self, input_values: Tensor, layers: Layers | None = None) -> Tensor:
        """`[batch, frames, bins]` or `[batch, channels, frames, bins]` -> `[batch, size]`

        Raises:
            ValueError: a window is too large, or timm does not return the hidden states of this network.
        """
        images = as_images(input_values, self.num_channels)
        frames, bins = images.shape[2:]
        if self.window is None:
            wanted_frames, wanted_bins = (max(MIN_SIZE, _round_up(size, self.size_multiple)) for size in (frames, bins))
        else:
            wanted_frames, wanted_bins = self.window
        if frames > wanted_frames or bins > wanted_bins:
            raise ValueError(
                f"This network is for windows of at most {wanted_frames} frames and {wanted_bins} bins, found {frames} "
                f"and {bins}: build it with a larger max_frames"
            )
        if frames < wanted_frames or bins < wanted_bins:
            images = functional.pad(images, (0, wanted_bins - bins, 0, wanted_frames - frames))
        images = channels_last(images)
        if layers is None or layers.hidden_states is None:
            return self.network(images)
        return self._with_layers(images, layers)

    def _with_layers(self, images: Tensor, layers: Layers) -> Tensor:
        if not hasattr(self.network, "forward_intermediates"):
            name = self.network.pretrained_cfg["architecture"]
            raise ValueError(f"timm does not return the hidden states of {name}: leave out output_hidden_states")
        if not layers.hidden_states:  # with several networks, the first stores their common input
            images = layers.start(images)
        maps, between = self.network.forward_intermediates(images)
        for hidden in between:
            layers.add(hidden)
        return self.network.forward_head(maps)

    def train(self, mode: bool = True) -> Backbone:
        """Keeps frozen modules in evaluation mode, so that statistics of frozen BatchNorm layers do not change."""
        super().train(mode)
        for module in self.network.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def freeze(self, trainable_blocks: int | None) -> None:
        """Freezes all but the last blocks; None freezes nothing.

        Raises:
            ValueError: there are fewer blocks, or timm does not say where they are.
        """
        if trainable_blocks is None:
            return
        blocks = parameter_blocks(self.network) if trainable_blocks else []
        if not 0 <= trainable_blocks <= len(blocks):
            raise ValueError(
                f"{self.network.pretrained_cfg['architecture']} has {len(blocks)} blocks, including its stem, "
                f"found trainable_blocks={trainable_blocks}: expected 0 to {len(blocks)}, or None for all"
            )
        trained = set(itertools.chain.from_iterable(blocks[len(blocks) - trainable_blocks :]))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in trained)
        self.train(self.training)

    @torch.no_grad()
    def finish_loading(self, config: TimmClassifierConfig) -> None:
        """Fills tensors that the checkpoint lacks with timm's own values: tables that are not saved, missing weights.

        Loading leaves these uninitialized, and makes all parameters trainable.
        """
        missing = {name: tensor for name, tensor in self._named_tensors() if not hasattr(tensor, "_is_hf_initialized")}
        if missing:
            network, _ = create_network(config)
            fresh = dict(itertools.chain(network.named_parameters(), network.named_buffers()))
            for name, tensor in missing.items():
                tensor.copy_(fresh[name])
                tensor._is_hf_initialized = True
        self.freeze(config.trainable_blocks)

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        return itertools.chain(self.network.named_parameters(), self.network.named_buffers())


def create_network(config: TimmClassifierConfig, pretrained: bool = False) -> tuple[nn.Module, tuple[int, int] | None]:
    """timm's network without its head, and its fixed input size (frames, bins), None for any size.

    Raises:
        ValueError: timm is missing, does not know the network or its weights, or cannot build or download it.
    """
    timm = import_timm()
    name = config.timm_name
    check_name(timm, name, pretrained)
    source = timm.get_pretrained_cfg(name)
    settings: dict[str, Any] = {"drop_path_rate": config.drop_path_rate} if config.drop_path_rate else {}
    window = None
    if source is not None and source.fixed_input_size:
        if not config.max_frames or not config.num_mel_bins:
            raise ValueError(f"{name} has a fixed input size: set max_frames and num_mel_bins")
        frames, bins = (_round_up(size, FIXED_SIZE_MULTIPLE) for size in (config.max_frames, config.num_mel_bins))
        window = (frames, bins)
        settings["img_size"] = window
    try:
        network = timm.create_model(name, pretrained, in_chans=config.num_channels, num_classes=0, **settings)
        if window is not None and not next(network.parameters()).is_meta:
            with torch.no_grad():  # some accept only squares, and raise only when called
                network.eval()(torch.zeros(1, config.num_channels, *window))
            network.train()
    except Exception as error:  # networks and the Hub's client raise all kinds of errors
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].split(". ")[0]
        if pretrained and not isinstance(error, REFUSALS):
            raise ValueError(
                f"Cannot download the weights of {name} from {source.hf_hub_id} ({reason}): check the network, or "
                "train from scratch"
            ) from error
        hint = ": most convolutional networks, such as resnet50, take any window" if window else ""
        raise ValueError(
            f"timm cannot build {name} for {config.num_channels} channels and settings {settings} ({reason}){hint}"
        ) from error
    return network, window


def import_timm():
    """The library, or a ValueError that says how to install it."""

    def library():  # outside the try block, in which transformers would not see that a published model needs timm
        import timm

        return timm

    try:
        return library()
    except ImportError:
        raise ValueError("Image networks need the package timm: pip install 'hf_audio[timm]'") from None


def check_name(timm, name: str, pretrained: bool) -> None:
    """Raises ValueError, with the nearest names, if timm does not have this network or the requested weights."""
    architecture, _, tag = name.partition(".")
    if "/" in name or ":" in name or not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "try resnet50, or see timm.list_models()"
        raise ValueError(f"Unknown timm network {name!r}: {hint}")
    known = timm.list_pretrained(f"{architecture}.*")
    if (tag and name not in known) or (pretrained and not (known and timm.get_pretrained_cfg(name).hf_hub_id)):
        near = difflib.get_close_matches(name, known, n=3) or known[:3]
        hint = f"try {' or '.join(near)}" if near else "train it from scratch"
        raise ValueError(f"timm has no weights for {name!r} on the Hub: {hint}")


def parameter_blocks(network: nn.Module) -> list[list[str]]:
    """Names of parameters by block, starting at the input, as timm groups them for layer-wise learning rates.

    Raises:
        ValueError: timm does not know the blocks of this network.
    """
    from timm.models import group_parameters

    try:
        matcher = network.group_matcher(coarse=True)
    except (AttributeError, AssertionError):
        name = network.pretrained_cfg["architecture"]
        raise ValueError(f"timm does not say where the blocks of {name} are: use trainable_blocks None or 0") from None
    other = "no.such.parameter"  # timm groups it with norms and layers after the last block
    names = [name for name, _ in network.named_parameters()]
    names_and_other = SimpleNamespace(named_parameters=lambda: ((name, None) for name in [*names, other]))
    block_of = group_parameters(names_and_other, matcher, reverse=True)
    tail = block_of.pop(other)
    blocks = {block: [] for block in sorted(set(block_of.values()) - {tail})}
    for name in names:
        blocks[block_of[name] if block_of[name] != tail else max(blocks)].append(name)
    return list(blocks.values())


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .padding import known_frames  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

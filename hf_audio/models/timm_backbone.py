"""Image networks of the timm library on spectrograms: any timm name, pretrained or not, fully or partly frozen.

ResNet-50, EfficientNet-B0, ResNeXt-50 32x4d, MobileNetV3, ConvNeXt-tiny, ViT and some 1,300 others; or several small
networks in parallel, for groups of classes. timm's pretrained weights are downloaded from the Hub once, when training
starts (`timm_from_pretrained`). A published model has its own weights and downloads nothing else.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForAudioClassification, PretrainedConfig

from .classifier import AudioClassifier, Windows
from .timm_network import Backbone, TimmClassifierConfig

COMBINATIONS = ("features", "predictions")


class ParallelTimmConfig(TimmClassifierConfig):
    """Several networks of the same kind in parallel, e.g. 4 x mobilenetv3_small_050 for 11 instruments.

    Args:
        timm_name: name of each network; for the other settings see TimmClassifierConfig.
        num_backbones: number of networks; with groups, one per group.
        combine: "features": one head for all classes on the features of all networks; "predictions": each network has
            a head for its own group of classes.
        groups: for "predictions": names or indices of the classes of each group; each class is in one group. None:
            classes in order, split as evenly as possible: 11 classes over 4 networks are 3, 3, 3 and 2.
    """

    model_type = "hf_audio_parallel_timm"

    def __init__(
        self,
        timm_name: str = "mobilenetv3_small_050",
        num_backbones: int = 4,
        combine: str = "features",
        groups: list[list[str | int]] | None = None,
        **kwargs,
    ) -> None:
        self.num_backbones = num_backbones if groups is None else len(groups)
        self.combine = combine
        self.groups = None if groups is None else [list(group) for group in groups]
        super().__init__(timm_name=timm_name, **kwargs)


class TimmClassifier(AudioClassifier):
    """input_values `[batch, frames, bins]`, or `[batch, channels, frames, bins]`.

    Args:
        pretrained: download timm's pretrained weights, see `timm_from_pretrained`.

    Raises:
        ValueError: timm does not know the name, or its network refuses the settings.
    """

    config_class: type[PretrainedConfig] = TimmClassifierConfig
    supports_gradient_checkpointing = True

    def __init__(self, config: TimmClassifierConfig, pretrained: bool = False) -> None:
        super().__init__(config)
        self.gradient_checkpointing = False
        embedding_size = self.add_backbones(pretrained)
        self.lora_targets = plain_layers(self)
        config.hidden_size = embedding_size
        config.num_hidden_layers = sum(len(one.network.feature_info) for one in self.backbones())
        self.add_head(embedding_size)

    def add_backbones(self, pretrained: bool) -> int:
        """Creates the networks and returns the size of an embedding."""
        self.backbone = Backbone(self.config, pretrained)
        return self.backbone.size

    def embedding_of(self, windows: Windows) -> Tensor:
        return self.backbone(windows.values, windows.layers)

    def backbones(self) -> list[Backbone]:
        """All networks of the model."""
        return [module for module in self.modules() if isinstance(module, Backbone)]

    def initialize_weights(self) -> None:
        # transformers calls this for new models, and after loading for weights that the checkpoint lacked
        super().initialize_weights()
        for backbone in self.backbones():
            backbone.finish_loading(self.config)

    def _set_gradient_checkpointing(self, enable: bool = True, *args, **kwargs) -> None:
        # timm's own implementation is never reentrant, so no gradients are lost after frozen layers
        for backbone in self.backbones():
            try:
                backbone.network.set_grad_checkpointing(enable)
            except (AssertionError, AttributeError):
                if enable:
                    raise ValueError(f"timm has no gradient checkpointing for {self.config.timm_name}") from None
        self.gradient_checkpointing = enable


class ParallelTimmClassifier(TimmClassifier):
    """Like TimmClassifier, with several networks whose features or predictions are concatenated."""

    config_class = ParallelTimmConfig

    def add_backbones(self, pretrained: bool) -> int:
        config = self.config
        if config.combine not in COMBINATIONS or config.num_backbones < 1:
            raise ValueError(
                f"combine must be one of {', '.join(COMBINATIONS)} and num_backbones at least 1, "
                f"found {config.combine!r} and {config.num_backbones}"
            )
        if config.groups and config.combine == "features":
            raise ValueError("groups are for combine='predictions': with 'features', one head predicts all classes")
        self.networks = nn.ModuleList(Backbone(config, pretrained) for _ in range(config.num_backbones))
        return sum(network.size for network in self.networks)

    def add_head(self, embedding_size: int) -> None:
        super().add_head(embedding_size)
        if self.config.combine == "predictions":
            groups, size = class_groups(self.config), self.networks[0].size
            self.classifier = GroupedHeads([self.make_head(size, len(group)) for group in groups], groups, size)

    def embedding_of(self, windows: Windows) -> Tensor:
        return torch.cat([network(windows.values, windows.layers) for network in self.networks], dim=1)


class GroupedHeads(nn.Module):
    """One head per network for its group of classes; the logits are in the order of the classes."""

    def __init__(self, heads: list[nn.Module], groups: list[list[int]], size: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = nn.ModuleList(heads), groups, size
        order = list(itertools.chain.from_iterable(groups))
        self.places = [order.index(index) for index in range(len(order))]

    @property
    def in_features(self) -> int:
        """Total size of the embeddings of all networks and the metadata."""
        of_first = next(weights for weights in self.heads[0].parameters() if weights.ndim > 1).shape[1]
        return of_first + (len(self.heads) - 1) * self.size

    def forward(self, embedding: Tensor, targets: Tensor | None = None) -> Tensor:
        """`[batch, networks * size + metadata]` -> `[batch, classes]`"""
        metadata = embedding[:, len(self.heads) * self.size :]
        logits = []
        for number, (head, group) in enumerate(zip(self.heads, self.groups)):  # noqa: B905
            own = embedding[:, number * self.size : (number + 1) * self.size]
            logits.append(head(torch.cat([own, metadata], dim=1), None if targets is None else targets[:, group]))
        return torch.cat(logits, dim=1)[:, self.places]


def timm_from_pretrained(config: TimmClassifierConfig) -> TimmClassifier:
    """A model with timm's pretrained weights and a new head; with a ParallelTimmConfig, of several networks.

    timm downloads the weights from the Hub, and the model's config records their tag. timm adapts the weights of the
    first layer to the number of channels: for one channel, their sum over the original three; for two, the first two,
    scaled to the same sum; for three, no change.

    Raises:
        ValueError: an unknown name (suggests the nearest), or its weights are not on the Hub or cannot be reached.
    """
    model_class = ParallelTimmClassifier if isinstance(config, ParallelTimmConfig) else TimmClassifier
    model = model_class(config, pretrained=True)
    source = model.backbones()[0].network.pretrained_cfg
    model.config.timm_name = f"{source['architecture']}.{source['tag']}"
    model.pretrained_weights = dict(source)  # their source, for report and card: see models/origin.py
    return model


def plain_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the linear layers and convolutions that LoRA adapters can be added to and merged into.

    This excludes grouped and dilated convolutions, which peft cannot merge or imitate, and timm's own layer types
    (weight standardization, padding at run time), which compute something else.
    """

    def is_plain(module: nn.Module) -> bool:
        if type(module) is nn.Conv2d:
            return module.groups == 1 and module.dilation == (1, 1)
        return type(module) is nn.Linear

    return tuple(name for name, module in model.named_modules() if is_plain(module))


def class_groups(config: ParallelTimmConfig) -> list[list[int]]:
    """Indices of each network's classes.

    Raises:
        ValueError: a class does not exist, or is in two groups or none; or a group is empty.
    """
    count, num_labels = config.num_backbones, config.num_labels
    if config.groups is None:
        smallest, rest = divmod(num_labels, count)
        ends = list(itertools.accumulate(smallest + (number < rest) for number in range(count)))
        groups = [list(range(start, end)) for start, end in zip([0, *ends], ends)]  # noqa: B905
    else:
        groups = [[config.label2id.get(one, one) for one in group] for group in config.groups]
    found = list(itertools.chain.from_iterable(groups))
    if len(found) != num_labels or set(found) != set(range(num_labels)) or not all(groups):
        raise ValueError(
            f"Each of the {num_labels} classes ({', '.join(config.label2id)}) must be in one of {count} groups, and no "
            f"group may be empty, found groups {config.groups or groups}"
        )
    return groups


# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .padding import known_frames  # noqa: E402, F401
from .spectrogram_cnn import as_images  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

for _config, _model in ((TimmClassifierConfig, TimmClassifier), (ParallelTimmConfig, ParallelTimmClassifier)):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForAudioClassification.register(_config, _model, exist_ok=True)
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")

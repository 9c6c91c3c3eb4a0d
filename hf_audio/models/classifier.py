"""Base class of our own models: an embedding, optional metadata, a head chosen by name, and the loss of the task."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .heads import MARGIN_HEADS, LinearPerClass, MarginHead, build_head
from .logit_curves import LogitCurves
from .padding import are_real, known_frames
from .window_losses import binary_cross_entropy, cross_entropy

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# Layers with torch's own initialization; models that need another one override `_init_weights`.
PLAIN_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase, nn.LayerNorm, nn.GroupNorm),
    *(LinearPerClass, MarginHead),
)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class AudioClassifierConfig(PretrainedConfig):
    """Settings of the head, for all of our models.

    Args:
        head: "linear", "deep", "fluffy", "arcface" or "cosface".
        head_sizes: hidden sizes of a deep or fluffy head.
        head_dropout: dropout before each layer of the head.
        head_margin: in training, arcface adds this to the angle of the true class, in radians; cosface subtracts it
            from the cosine. None: 0.3 for arcface, 0.2 for cosface.
        head_scale: factor that turns the cosines of arcface and cosface into logits.
        metadata: field -> its values, e.g. {"genre": ["cla", "jaz_blu"], "drums": ["yes", "no"]}. They are appended to
            the embedding, one-hot with an extra place for "unknown".
        padding_value: value of the extractor's padding in the model's input. If `num_frames` is not given, frames at
            the end with this value in all bins count as padding. None: windows are not padded.
        logit_curve_points: points per calibration curve that maps the logits after training, see `LogitCurves`; 0: no
            curves.
    """

    model_type = "hf_audio_classifier"

    def __init__(
        self,
        head: str = "linear",
        head_sizes: list[int] | tuple[int, ...] = (),
        head_dropout: float = 0.0,
        head_margin: float | None = None,
        head_scale: float = 16.0,
        metadata: dict[str, list[str]] | None = None,
        padding_value: float | None = None,
        logit_curve_points: int = 0,
        **kwargs,
    ) -> None:
        self.head = head
        self.head_sizes = list(head_sizes)
        self.head_dropout = head_dropout
        self.head_margin = head_margin
        self.head_scale = head_scale
        # sorted, as in config.json
        self.metadata = {field: list(values) for field, values in sorted((metadata or {}).items())}
        self.padding_value = padding_value
        self.logit_curve_points = logit_curve_points
        super().__init__(**kwargs)


class Layers:
    """The outputs of layers that a forward pass returns, if requested.

    Attributes:
        wanted: the requested hidden states: all (True), or in transformers 5 those with certain numbers.
        hidden_states: the network's input and each layer's output, in order; None unless requested.
        attentions: each layer's attention weights; None unless requested.
    """

    def __init__(self, hidden_states: bool | int | list[int] | None = False, attentions: bool = False) -> None:
        self.wanted = hidden_states
        self.hidden_states: list[Tensor] | None = None if hidden_states is None or hidden_states is False else []
        self.attentions: list[Tensor] | None = [] if attentions else None

    def start(self, values: Tensor) -> Tensor:
        """Stores the network's input if hidden states are requested; it then has a gradient, like embeddings."""
        if self.hidden_states is None:
            return values
        if torch.is_grad_enabled() and not values.requires_grad:
            values = values.detach().requires_grad_()
        self.hidden_states.append(values)
        return values

    def add(self, hidden: Tensor) -> None:
        """Stores a layer's output if hidden states are requested."""
        if self.hidden_states is not None:
            self.hidden_states.append(hidden)


class Windows(NamedTuple):
    """The input of a network.

    Attributes:
        values: input_values or input_features of the extractor, `[batch, ...]`.
        attention_mask: mask of padded waveforms, for models that take one.
        num_frames: int64 `[batch]`, frames (samples, steps) that are not padding; None: no padding, or unknown.
        layers: stores hidden states and attentions if they are requested.
    """

    values: Tensor
    attention_mask: Tensor | None
    num_frames: Tensor | None
    layers: Layers

    def are_real(self, size: int) -> Tensor | None:
        """Bool `[batch, size]`: which of `size` frames are not padding; None if `num_frames` is."""
        return None if self.num_frames is None else are_real(self.num_frames, size)


class AudioClassifier(PreTrainedModel):
    """A network that computes an embedding per window, and a head on the embedding.

    A subclass creates its layers in `__init__`, then calls `self.add_head(embedding_size)`. Its method
    `embedding_of(windows) -> [batch, embedding_size]` calls `windows.layers.start` with the network's input and
    `windows.layers.add` after each layer. Padding must not change the embedding, as far as the network allows.
    """

    config_class: type[PretrainedConfig] = AudioClassifierConfig
    main_input_name = "input_values"
    base_model_prefix = ""  # contains no transformers model
    has_attentions = False
    reads_num_frames = True  # its forward takes `num_frames`; stock classes do not
    lora_targets: tuple[str, ...] = ()  # names of the layers that LoRA adapts

    def add_head(self, embedding_size: int) -> None:
        """Creates the head for embeddings of this size and initializes untrained weights: the last call of __init__."""
        self.num_labels = self.config.num_labels
        self.classifier = self.make_head(embedding_size, self.num_labels)
        self.add_curves()
        self.post_init()

    def add_curves(self) -> None:
        """Creates the calibration curves after the head, if the config has any."""
        points, shared = self.config.logit_curve_points, self.config.problem_type != MULTI_LABEL
        self.logit_curves = LogitCurves(self.num_labels, points, shared) if points else None

    def make_head(self, embedding_size: int, num_labels: int) -> nn.Module:
        """The head of the config, for an embedding of this size followed by the metadata."""
        config = self.config
        margin = {}
        if config.head in MARGIN_HEADS:
            if task_of(config) == REGRESSION:
                raise ValueError(f"The {config.head} head is for classes, but problem_type is regression: use another")
            has_bias = config.problem_type == MULTI_LABEL
            margin = {"margin": config.head_margin, "scale": config.head_scale, "has_bias": has_bias}
        size = embedding_size + sum(len(values) + 1 for values in config.metadata.values())
        return build_head(config.head, size, num_labels, config.head_sizes, config.head_dropout, **margin)

    def get_input_embeddings(self) -> nn.Module | None:
        """None: audio models have no table of token embeddings."""
        return None

    def embedding_of(self, windows: Windows) -> Tensor:
        """One vector per window, `[batch, embedding_size]`; each model has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding_of")

    def embed(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        num_frames: Tensor | None = None,
        layers: Layers | None = None,
    ) -> Tensor:
        """One vector per window, `[batch, embedding_size]`; see `forward`.

        Args:
            layers: stores hidden states and attentions if they are requested.
        """
        if num_frames is None:
            num_frames = known_frames(input_values, self.config.padding_value)
        return self.embedding_of(Windows(input_values, attention_mask, num_frames, layers or Layers()))

    def with_metadata(self, embedding: Tensor, metadata: Tensor | None = None) -> Tensor:
        """The input of the head: the embedding, then each field of the metadata one-hot."""
        if not self.config.metadata:
            return embedding
        sizes = [len(values) + 1 for values in self.config.metadata.values()]
        if metadata is None:
            metadata = torch.zeros(embedding.shape[0], len(sizes), dtype=torch.long, device=embedding.device)
        fields = [functional.one_hot(metadata[:, index], size) for index, size in enumerate(sizes)]
        return torch.cat([embedding, *(field.to(embedding.dtype) for field in fields)], dim=1)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        metadata: Tensor | None = None,
        num_frames: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        input_features: Tensor | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Logits of windows, and the loss if labels are given.

        Args:
            input_values: output of the model's feature extractor, `[batch, ...]`.
            attention_mask: mask of padded waveforms, for models that take one.
            labels: float `[batch, classes]`: one-hot, multi-hot or values between 0 and 1; with several labels, NaN is
                unknown. Or class indices `[batch]`. For regression, any numbers.
            metadata: int64 `[batch, fields]`: 0 is unknown, k is the k-th value of the field. None: all unknown.
            num_frames: int64 `[batch]`: number of frames (samples, steps) per window that are not padding. None, as in
                the stock pipeline: found by the config's `padding_value`.
            output_attentions, output_hidden_states, return_dict: as in all transformers models; by default from the
                config.
            input_features: replaces input_values for the extractors of Whisper and Wav2Vec2-BERT.

        Raises:
            ValueError: no windows or both kinds are given, or attentions are requested but the network has none.
        """
        if (input_values is None) == (input_features is None):
            raise ValueError("Expected either input_values or input_features, whichever the extractor returns")
        windows = input_features if input_values is None else input_values
        asked = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        attentions, hidden_states = (
            getattr(self.config, name) if value is None else value for name, value in asked.items()
        )
        if attentions and not self.has_attentions:
            raise ValueError(f"{type(self).__name__} has no attentions: leave out output_attentions")
        layers = Layers(hidden_states, attentions)
        embedding = self.embed(windows, attention_mask, num_frames, layers)
        targets = None if labels is None else targets_of(labels, self.config)
        logits = self.classifier(self.with_metadata(embedding, metadata), targets)
        if self.logit_curves is not None and not self.training:
            logits = self.logit_curves(logits)
        output = SequenceClassifierOutput(
            loss=None if labels is None else task_loss(logits, targets, task_of(self.config, labels)),
            logits=logits,
            hidden_states=None if layers.hidden_states is None else tuple(layers.hidden_states),
            attentions=None if layers.attentions is None else tuple(layers.attentions),
        )
        as_object = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if as_object else output.to_tuple()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # transformers would draw from a normal distribution with standard deviation 0.02, too narrow for small layers
        if isinstance(module, PLAIN_LAYERS):
            module.reset_parameters()
        elif isinstance(module, BATCH_NORMS):
            # nn.init functions: while loading, transformers replaces them with ones that skip loaded weights
            for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                nn.init.constant_(getattr(module, name), start)
            nn.init.constant_(module.num_batches_tracked, 0)


def task_of(config: PretrainedConfig, labels: Tensor | None = None) -> str:
    """The config's problem type; if it has none, what transformers infers from the type and number of labels."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return REGRESSION
    return MULTI_LABEL if labels is not None and labels.is_floating_point() else SINGLE_LABEL


def targets_of(labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Labels as float32 `[batch, classes]`; class indices `[batch]` become one-hot."""
    if task_of(config, labels) == REGRESSION:
        return labels.to(torch.float32).reshape(labels.shape[0], -1)
    if labels.ndim == 1:
        labels = functional.one_hot(labels.long(), config.num_labels)
    return labels.to(torch.float32)


def task_loss(logits: Tensor, targets: Tensor, task: str) -> Tensor:
    """The mean loss of a batch, in float32: squared error, cross-entropy, or for several labels binary cross-entropy
    without unknown labels (NaN)."""
    if task == REGRESSION:
        return functional.mse_loss(logits.float(), targets)
    function = binary_cross_entropy if task == MULTI_LABEL else cross_entropy
    return function(logits.float(), targets).mean()

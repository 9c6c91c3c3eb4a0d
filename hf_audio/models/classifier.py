"""What our own models share: an embedding, optional metadata beside it, a head by name, the loss of the task."""

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
# Layers whose weights start as torch starts them; models with other wishes override `_init_weights`.
PLAIN_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase, nn.LayerNorm, nn.GroupNorm),
    *(LinearPerClass, MarginHead),
)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class AudioClassifierConfig(PretrainedConfig):
    """Settings of the head, for every model of ours.

    Args:
        head: "linear", "deep", "fluffy", "arcface" or "cosface".
        head_sizes: hidden sizes of a deep or fluffy head.
        head_dropout: in front of each layer of the head.
        head_margin: of arcface the radians that are added to the angle to the true class in training, of cosface what
            is taken from its cosine. None: 0.3 and 0.2.
        head_scale: what their cosines are multiplied with to become logits.
        metadata: field -> its values, e.g. {"genre": ["cla", "jaz_blu"], "drums": ["yes", "no"]}; they are appended to
            the embedding, one-hot with a place for "unknown".
        padding_value: what the extractor puts behind a short sound, as the model reads it: frames at the end that have
            it in every bin are padding where nobody says how many are real. None: windows are not padded.
        logit_curve_points: of each curve that logits go through once training is over; 0: they do not. See
            `LogitCurves`, by which a trained model is calibrated.
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
        # sorted, as config.json will have them
        self.metadata = {field: list(values) for field, values in sorted((metadata or {}).items())}
        self.padding_value = padding_value
        self.logit_curve_points = logit_curve_points
        super().__init__(**kwargs)


class Layers:
    """What a forward pass returns of its layers beside the logits, where a caller asks for it.

    Attributes:
        wanted: what was asked for of hidden states: all (True), or in transformers 5 those of some numbers.
        hidden_states: the network's input and each layer's output, in order; None unless they are asked for.
        attentions: each layer's weights; None unless they are asked for.
    """

    def __init__(self, hidden_states: bool | int | list[int] | None = False, attentions: bool = False) -> None:
        self.wanted = hidden_states
        self.hidden_states: list[Tensor] | None = None if hidden_states is None or hidden_states is False else []
        self.attentions: list[Tensor] | None = [] if attentions else None

    def start(self, values: Tensor) -> Tensor:
        """Keeps the network's input if hidden states are asked for; it then has a gradient, as embeddings have."""
        if self.hidden_states is None:
            return values
        if torch.is_grad_enabled() and not values.requires_grad:
            values = values.detach().requires_grad_()
        self.hidden_states.append(values)
        return values

    def add(self, hidden: Tensor) -> None:
        """Keeps a layer's output if hidden states are asked for."""
        if self.hidden_states is not None:
            self.hidden_states.append(hidden)


class Windows(NamedTuple):
    """What a network is given.

    Attributes:
        values: input_values or input_features of the extractor, `[batch, ...]`.
        attention_mask: of padded waveforms, where the model takes one.
        num_frames: int64 `[batch]`, frames (samples, steps) that are not padding; None where all are, or nobody knows.
        layers: where hidden states and attentions are kept, if anybody wants them.
    """

    values: Tensor
    attention_mask: Tensor | None
    num_frames: Tensor | None
    layers: Layers

    def are_real(self, size: int) -> Tensor | None:
        """Bool `[batch, size]`: which of `size` frames are not padding; None where all are."""
        return None if self.num_frames is None else are_real(self.num_frames, size)


class AudioClassifier(PreTrainedModel):
    """An embedding of a window, and a head on it.

    A subclass makes its layers in `__init__`, then calls `self.add_head(embedding_size)`, and has
    `embedding_of(windows) -> [batch, embedding_size]`, which calls `windows.layers.start` with the network's input and
    `windows.layers.add` after each layer. What is padding in a window must not change its embedding, as far as the
    network allows.
    """

    config_class: type[PretrainedConfig] = AudioClassifierConfig
    main_input_name = "input_values"
    base_model_prefix = ""  # there is no model of transformers within
    has_attentions = False
    reads_num_frames = True  # its forward takes `num_frames`; stock classes do not
    lora_targets: tuple[str, ...] = ()  # names of the layers that adapters go to

    def add_head(self, embedding_size: int) -> None:
        """Makes the head for embeddings of this size, and initializes what is untrained. The last line of __init__."""
        self.num_labels = self.config.num_labels
        self.classifier = self.make_head(embedding_size, self.num_labels)
        self.add_curves()
        self.post_init()

    def add_curves(self) -> None:
        """Makes the curves behind the head that the config asks for, if any."""
        points, shared = self.config.logit_curve_points, self.config.problem_type != MULTI_LABEL
        self.logit_curves = LogitCurves(self.num_labels, points, shared) if points else None

    def make_head(self, embedding_size: int, num_labels: int) -> nn.Module:
        """The head that the config asks for, over an embedding of this size with the metadata behind it."""
        config = self.config
        margin = {}
        if config.head in MARGIN_HEADS:
            if task_of(config) == REGRESSION:
                raise ValueError(f"{config.head} tells classes apart, and problem_type is regression: use another head")
            has_bias = config.problem_type == MULTI_LABEL
            margin = {"margin": config.head_margin, "scale": config.head_scale, "has_bias": has_bias}
        size = embedding_size + sum(len(values) + 1 for values in config.metadata.values())
        return build_head(config.head, size, num_labels, config.head_sizes, config.head_dropout, **margin)

    def get_input_embeddings(self) -> nn.Module | None:
        """None: sound is not a table of tokens."""
        return None

    def embedding_of(self, windows: Windows) -> Tensor:
        """One vector a window, `[batch, embedding_size]`: the part that is a model's own."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding_of")

    def embed(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        num_frames: Tensor | None = None,
        layers: Layers | None = None,
    ) -> Tensor:
        """One vector a window, `[batch, embedding_size]`; see `forward`.

        Args:
            layers: where hidden states and attentions are kept, if anybody wants them.
        """
        if num_frames is None:
            num_frames = known_frames(input_values, self.config.padding_value)
        return self.embedding_of(Windows(input_values, attention_mask, num_frames, layers or Layers()))

    def with_metadata(self, embedding: Tensor, metadata: Tensor | None = None) -> Tensor:
        """What the head sees: the embedding, and after it each field of the metadata one-hot."""
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
        """Logits of windows, and with labels the loss.

        Args:
            input_values: what the model's feature extractor gives, `[batch, ...]`.
            attention_mask: of padded waveforms, where the model takes one.
            labels: float `[batch, classes]`, one-hot, multi-hot or anything between, NaN where several labels are
                asked for and one is unknown; or class indices `[batch]`. In regression any numbers.
            metadata: int64 `[batch, fields]`: 0 is unknown, k the k-th value of the field. All unknown where None.
            num_frames: int64 `[batch]`: how many frames (samples, steps) of each window are not padding. Where None, as
                in the stock pipeline, the config's `padding_value` tells.
            output_attentions, output_hidden_states, return_dict: as in every model of transformers; by default as the
                config says.
            input_features: what Whisper's and Wav2Vec2-BERT's extractors call their windows, in place of input_values.

        Raises:
            ValueError: no windows, or both; attentions are asked for and the network has none.
        """
        if (input_values is None) == (input_features is None):
            raise ValueError("Expected windows as input_values, or as input_features where its extractor says so")
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
        # transformers would draw from a normal distribution of standard deviation 0.02, far too narrow for small layers
        if isinstance(module, PLAIN_LAYERS):
            module.reset_parameters()
        elif isinstance(module, BATCH_NORMS):
            # by functions that transformers replaces while it loads, so that they spare what a checkpoint has
            for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                nn.init.constant_(getattr(module, name), start)
            nn.init.constant_(module.num_batches_tracked, 0)


def task_of(config: PretrainedConfig, labels: Tensor | None = None) -> str:
    """The config's problem type; where it has none, what transformers takes labels of this type and number for."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return REGRESSION
    return MULTI_LABEL if labels is not None and labels.is_floating_point() else SINGLE_LABEL


def targets_of(labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Labels as float32 `[batch, classes]`, one-hot where they are class indices `[batch]`."""
    if task_of(config, labels) == REGRESSION:
        return labels.to(torch.float32).reshape(labels.shape[0], -1)
    if labels.ndim == 1:
        labels = functional.one_hot(labels.long(), config.num_labels)
    return labels.to(torch.float32)


def task_loss(logits: Tensor, targets: Tensor, task: str) -> Tensor:
    """The mean loss of a batch, in float32: squared errors, cross-entropy, or of several labels each one's own, where
    unknown ones (NaN) add nothing."""
    if task == REGRESSION:
        return functional.mse_loss(logits.float(), targets)
    function = binary_cross_entropy if task == MULTI_LABEL else cross_entropy
    return function(logits.float(), targets).mean()

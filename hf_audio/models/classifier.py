"""What our own models share: an embedding, optional metadata beside it, a head by name, the loss of the task."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .heads import ArcFaceHead, LinearPerClass, build_head

MULTI_LABEL = "multi_label_classification"
# Layers whose weights start as torch starts them; models with other wishes override `_init_weights`.
PLAIN_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase, nn.LayerNorm, nn.GroupNorm),
    *(LinearPerClass, ArcFaceHead),
)


class AudioClassifierConfig(PretrainedConfig):
    """Settings of the head, for every model of ours.

    Args:
        head: "linear", "deep", "fluffy" or "arcface".
        head_sizes: hidden sizes of a deep or fluffy head.
        head_dropout: in front of each layer of the head.
        arcface_margin: radians added to the angle to the true class in training.
        arcface_scale: what cosines are multiplied with to become logits.
        metadata: field -> its values, e.g. {"genre": ["cla", "jaz_blu"], "drums": ["yes", "no"]}; they are appended to
            the embedding, one-hot with a place for "unknown".
    """

    model_type = "hf_audio_classifier"

    def __init__(
        self,
        head: str = "linear",
        head_sizes: list[int] | tuple[int, ...] = (),
        head_dropout: float = 0.0,
        arcface_margin: float = 0.3,
        arcface_scale: float = 16.0,
        metadata: dict[str, list[str]] | None = None,
        **kwargs,
    ) -> None:
        self.head = head
        self.head_sizes = list(head_sizes)
        self.head_dropout = head_dropout
        self.arcface_margin = arcface_margin
        self.arcface_scale = arcface_scale
        # sorted, as config.json will have them
        self.metadata = {field: list(values) for field, values in sorted((metadata or {}).items())}
        super().__init__(**kwargs)


class AudioClassifier(PreTrainedModel):
    """An embedding of a window, and a head on it.

    A subclass makes its layers in `__init__`, then calls `self.add_head(embedding_size)`, and has
    `embed(input_values, attention_mask) -> [batch, embedding_size]`.
    """

    config_class = AudioClassifierConfig
    main_input_name = "input_values"
    base_model_prefix = "backbone"
    lora_targets: tuple[str, ...] = ()  # names of the layers that adapters go to

    def add_head(self, embedding_size: int) -> None:
        """Makes the head for embeddings of this size, and initialises what is untrained. The last line of __init__."""
        self.num_labels = self.config.num_labels
        self.classifier = self.make_head(embedding_size, self.num_labels)
        self.post_init()

    def make_head(self, embedding_size: int, num_labels: int) -> nn.Module:
        """The head that the config asks for, over an embedding of this size with the metadata behind it."""
        config = self.config
        arcface = {}
        if config.head == "arcface":
            has_bias = config.problem_type == MULTI_LABEL
            arcface = {"margin": config.arcface_margin, "scale": config.arcface_scale, "has_bias": has_bias}
        size = embedding_size + sum(len(values) + 1 for values in config.metadata.values())
        return build_head(config.head, size, num_labels, config.head_sizes, config.head_dropout, **arcface)

    def embed(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector a window, `[batch, embedding_size]`."""
        raise NotImplementedError(f"{type(self).__name__} has no embed")

    def embed_with_metadata(
        self, input_values: Tensor, attention_mask: Tensor | None = None, metadata: Tensor | None = None
    ) -> Tensor:
        """What the head sees: the embedding, and after it each field of the metadata one-hot."""
        embedding = self.embed(input_values, attention_mask)
        if not self.config.metadata:
            return embedding
        sizes = [len(values) + 1 for values in self.config.metadata.values()]
        if metadata is None:
            metadata = torch.zeros(len(embedding), len(sizes), dtype=torch.long, device=embedding.device)
        fields = [functional.one_hot(metadata[:, index], size) for index, size in enumerate(sizes)]
        return torch.cat([embedding, *(field.to(embedding.dtype) for field in fields)], dim=1)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        metadata: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Logits of windows, and with labels the loss.

        Args:
            input_values: what the model's feature extractor gives, `[batch, ...]`.
            attention_mask: of padded waveforms, where the model takes one.
            labels: float `[batch, classes]`, one-hot, multi-hot or anything between; or class indices `[batch]`.
            metadata: int64 `[batch, fields]`: 0 is unknown, k the k-th value of the field. All unknown where None.
        """
        if labels is not None and labels.ndim == 1:
            labels = functional.one_hot(labels.long(), self.config.num_labels)
        labels = None if labels is None else labels.to(torch.float32)
        logits = self.classifier(self.embed_with_metadata(input_values, attention_mask, metadata), labels)
        loss = None
        if labels is not None:
            multi_label = self.config.problem_type == MULTI_LABEL
            function = functional.binary_cross_entropy_with_logits if multi_label else functional.cross_entropy
            loss = function(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # transformers would draw from a normal distribution of standard deviation 0.02, far too narrow for small layers
        if isinstance(module, PLAIN_LAYERS):
            module.reset_parameters()

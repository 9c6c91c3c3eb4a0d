"""Captures the embeddings that a model's classifier gets for a batch, for losses on embeddings."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.models.lora import is_lora


class EmbeddingTap:
    """Stores the embedding of each forward pass in training until it is taken, for any class of model.

    The embedding is the input of the layer named `classifier`: the pooled hidden state of AST, Wav2Vec2 and similar
    models; for our own models, the embedding without the metadata after it.

    Args:
        model: stock, ours or with adapters; not yet wrapped for several processes or compiled.

    Raises:
        InputError: the model has no layer of that name.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        bare = model.get_base_model() if is_lora(model) else model
        classifier = getattr(bare, "classifier", None)
        if not isinstance(classifier, nn.Module):
            raise InputError(
                f"{type(bare).__name__} has no layer named classifier, whose input is the embedding: leave out "
                "--triplet_weight and --center_weight"
            )
        metadata = getattr(model.config, "metadata", None) or {}
        weights = next(
            weights for weights in classifier.parameters() if weights.ndim > 1
        )  # [out, in], or one per class
        given = getattr(classifier, "in_features", weights.shape[1])
        self.size = given - sum(len(values) + 1 for values in metadata.values())
        self._kept: Tensor | None = None
        classifier.register_forward_pre_hook(self._keep)

    def _keep(self, classifier: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if classifier.training:
            self._kept = arguments[0][:, : self.size]

    def take(self) -> Tensor:
        """The embedding `[batch, size]` of the last forward pass; can be taken once."""
        kept, self._kept = self._kept, None
        return kept

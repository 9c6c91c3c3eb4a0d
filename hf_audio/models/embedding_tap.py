"""What a model's classifier is given of a batch, for the losses that are of the embedding."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.models.lora import is_lora


class EmbeddingTap:
    """Keeps the embedding of each forward pass in training until it is taken, whatever class the model has.

    The embedding is what the layer called `classifier` is given: the pooled hidden state of AST, Wav2Vec2 and their
    like, and of our own models the embedding without the metadata behind it.

    Args:
        model: stock, ours or with adapters, before it is wrapped for several processes or compiled.

    Raises:
        InputError: it has no layer of that name.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        bare = model.get_base_model() if is_lora(model) else model
        classifier = getattr(bare, "classifier", None)
        if not isinstance(classifier, nn.Module):
            raise InputError(
                f"{type(bare).__name__} has no layer called classifier, before which its embedding would be: leave out "
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
        """The embedding `[batch, size]` of the last forward pass, once."""
        kept, self._kept = self._kept, None
        return kept

"""Saving the result of a run as a model repository, and loading the weights of its checkpoints."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from torch import Tensor
from transformers import FeatureExtractionMixin, PreTrainedModel

from hf_audio.models.lora import is_lora, merged_model, save_adapter
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.training.objective import Objective


def write_model(
    folder: Path,
    model: PreTrainedModel,
    state: dict[str, Tensor] | None,
    extractor: FeatureExtractionMixin,
    objective: Objective,
) -> None:
    """Writes a model repository: weights, config and extractor; with LoRA, the merged model and adapter/.

    Files are written to a temporary folder and renamed, so that readers never see a partial model.

    Args:
        model: the unwrapped model.
        state: its weights, if the model's own are sharded over processes.
    """
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    temporary = folder / ".model.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    if is_lora(model):
        save_adapter(model, temporary / "adapter")
        model = merged_model(model)
    published, weights = objective.published(model, state)
    save_model(published, temporary, weights)
    save_extractor(extractor, temporary)
    for path in temporary.iterdir():
        os.replace(path, folder / path.name)
    temporary.rmdir()


def load_weights(model: PreTrainedModel, checkpoint: str) -> None:
    """Loads all weights of a checkpoint into a model of its class.

    Trainer only warns about names that it does not know. Since transformers 5, files have AST's old names
    (`encoder.layer.0.attention.attention.query`) and the class has new ones (`layers.0.attention.q_proj`), so Trainer
    would load no layers at all. `from_pretrained` translates the names.
    """
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, use_safetensors=True)
    model.load_state_dict(saved.state_dict())

"""What a run leaves: a folder that is a model repository, and the weights of its checkpoints taken up again."""

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
    """Makes a run folder a model repository: weights, config, extractor; with LoRA the merged model and adapter/.

    Files are written beside the old ones and renamed, so that a reader never meets half a model.

    Args:
        model: unwrapped.
        state: its weights, where its own are sharded over processes.
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
    """The weights of a checkpoint, every one of them, put into a model of its class.

    Trainer compares the file's names with the model's and only warns of those it does not know. Since transformers 5
    files keep AST's first names (`encoder.layer.0.attention.attention.query`) and the class has new ones
    (`layers.0.attention.q_proj`), so it would load no layer at all; `from_pretrained` translates.
    """
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, use_safetensors=True)
    model.load_state_dict(saved.state_dict())

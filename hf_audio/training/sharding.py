"""Models that are sharded over processes: what FSDP needs to know about them, and what DeepSpeed must not do."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from hf_audio.errors import InputError
from hf_audio.models.lora import is_lora


def refuse_adapters() -> None:
    """Raises InputError: adapters are not supported with FSDP."""
    raise InputError("LoRA is not supported with FSDP: use recipes/accelerate/multi_gpu.yaml instead")


def load_whole() -> None:
    """Lets complete models, such as the best checkpoint for evaluation, be loaded in a run with DeepSpeed.

    Once a Trainer has been created for ZeRO 3, transformers would shard every model that is loaded.
    """
    unset_hf_deepspeed_config()


def name_blocks(plugin: Any, model: PreTrainedModel) -> None:
    """Tells accelerate's FSDP plugin the blocks of a model, if its config names none.

    Raises:
        InputError: the model has adapters.
    """
    if is_lora(model):
        refuse_adapters()
    if not plugin.transformer_cls_names_to_wrap:
        plugin.transformer_cls_names_to_wrap = blocks_of(model)
    if _input_embeddings(model) is None:
        model.get_input_embeddings = _none  # accelerate calls it, and audio models may raise


def blocks_of(model: PreTrainedModel) -> list[str]:
    """Classes of a model's blocks, from `_no_split_modules` of the model and its parts.

    A class may name blocks that the model does not have, such as Whisper's decoder layers if only the encoder is used:
    these are left out, as are modules with the input embeddings (named by AST), which FSDP 2 shards separately and must
    not shard twice. A model without blocks is sharded as one block.
    """
    embeddings = _input_embeddings(model)
    named = {
        name
        for part in model.modules()
        if isinstance(part, PreTrainedModel)
        for name in getattr(part, "_no_split_modules", None) or ()
    }
    there = {type(part).__name__ for part in model.modules() if all(one is not embeddings for one in part.modules())}
    return sorted(named & there)


def _input_embeddings(model: PreTrainedModel) -> nn.Module | None:
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def _none() -> None:
    return None

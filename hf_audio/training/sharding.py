"""Models that are divided among processes: what FSDP must know of them, and what DeepSpeed must not do with them."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from hf_audio.errors import InputError
from hf_audio.models.lora import is_lora


def refuse_adapters() -> None:
    """Raises InputError: adapters are not sharded."""
    raise InputError("LoRA under FSDP is not supported: adapters are small, use recipes/accelerate/multi_gpu.yaml")


def load_whole() -> None:
    """Lets models be loaded whole in a run under DeepSpeed, such as the best checkpoint, to be scored.

    Once a Trainer has been made for ZeRO 3, transformers would divide every model that is loaded among the processes.
    """
    unset_hf_deepspeed_config()


def name_blocks(plugin: Any, model: PreTrainedModel) -> None:
    """Tells accelerate's FSDP plugin a model's blocks, where its config names none.

    Raises:
        InputError: adapters, which are not sharded.
    """
    if is_lora(model):
        refuse_adapters()
    if not plugin.transformer_cls_names_to_wrap:
        plugin.transformer_cls_names_to_wrap = blocks_of(model)
    if _input_embeddings(model) is None:
        model.get_input_embeddings = _none  # accelerate asks for them, and those of a model of sound may raise


def blocks_of(model: PreTrainedModel) -> list[str]:
    """Classes of a model's blocks, by `_no_split_modules` of itself and of what it wraps; those that it really has.

    A class may name blocks that only its siblings have: Whisper's decoder layers, where only the encoder is used. And
    it may name what holds its input embeddings (AST does), which FSDP 2 shards by themselves and must not shard twice.
    A model without any is sharded as one block.
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

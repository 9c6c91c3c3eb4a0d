"""What fully sharded training (FSDP) must know of a model: the blocks that are gathered and freed one by one."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.models.lora import is_lora


def name_blocks(plugin: Any, model: PreTrainedModel) -> None:
    """Tells accelerate's FSDP plugin a model's blocks, where its config names none.

    Raises:
        InputError: adapters, which are not sharded.
    """
    if is_lora(model):
        raise InputError("LoRA under FSDP is not supported: adapters are small, use recipes/accelerate/multi_gpu.yaml")
    if not plugin.transformer_cls_names_to_wrap:
        plugin.transformer_cls_names_to_wrap = blocks_of(model)


def blocks_of(model: PreTrainedModel) -> list[str]:
    """Classes of a model's blocks, by `_no_split_modules` of itself and of what it wraps; those that it really has.

    A class may name blocks that only its siblings have: Whisper's decoder layers, where only the encoder is used. And
    it may name what holds its input embeddings (AST does), which FSDP 2 shards by themselves and must not shard twice.
    A model without any is sharded as one block.
    """
    embeddings = model.get_input_embeddings()
    named = {
        name
        for part in model.modules()
        if isinstance(part, PreTrainedModel)
        for name in getattr(part, "_no_split_modules", None) or ()
    }
    return sorted(
        named
        & {type(part).__name__ for part in model.modules() if all(one is not embeddings for one in part.modules())}
    )

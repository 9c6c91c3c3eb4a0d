"""LoRA (Hu et al. 2021, arXiv 2106.09685) for AST: train low-rank adapters and the head, keep the rest frozen."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedModel

from hf_audio.errors import InputError, unknown_name

if TYPE_CHECKING:
    from peft import PeftModel

# peft has no default for AST. Query and value are the choice of the LoRA paper; "all" takes every linear layer.
TARGETS = {"attention": ["q_proj", "v_proj"], "all": ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]}
HEAD = "classifier"
# The whole path, since peft matches by the end of a name and would take `patch_embeddings` a second time.
EMBEDDINGS = "audio_spectrogram_transformer.embeddings"

ADAPTER_CARD = """---
library_name: peft
{base_line}tags:
- lora
- audio-classification
---
The LoRA adapter of the model in the folder above, which has it merged in and loads alone. To put it on its base again,
where REPO is that folder or its Hub name:

```python
from peft import PeftModel
from transformers import AutoConfig, AutoModelForAudioClassification

base = AutoModelForAudioClassification.from_pretrained(
    "{base}", config=AutoConfig.from_pretrained("REPO"), ignore_mismatched_sizes=True
)
model = PeftModel.from_pretrained(base, "REPO", subfolder="adapter")
```

The adapter also holds the head and the position embeddings, which no base has for these classes and this window.
"""


def add_lora(
    model: PreTrainedModel, rank: int, alpha: int | None = None, dropout: float = 0.0, targets: str = "attention"
) -> PeftModel:
    """Freezes an AST, but for new adapters and the head.

    The adapter also carries the embeddings, frozen: resized position embeddings exist nowhere else, and a base model
    loaded for this window length has zeros in their place.

    Args:
        model: from `ast_from_checkpoint`.
        rank: of the adapters.
        alpha: adapters are scaled by alpha / rank; twice the rank where None.
        dropout: in front of the adapters.
        targets: "attention" (query and value) or "all" linear layers.

    Raises:
        InputError: peft is missing, the rank is not positive, or `targets` is unknown.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("LoRA needs the package peft: pip install peft") from None
    if targets not in TARGETS:
        raise unknown_name("LoRA target", targets, TARGETS)
    if rank < 1:
        raise InputError(f"LoRA needs a rank of at least 1, found {rank}: try 8")
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=TARGETS[targets],
        modules_to_save=[HEAD, EMBEDDINGS],
    )
    adapted = get_peft_model(model, config)
    # With a name here peft asks the Hub about it at every checkpoint; `save_adapter` fills it in.
    adapted.peft_config["default"].base_model_name_or_path = ""
    for name, parameter in adapted.named_parameters():
        if f".{EMBEDDINGS}." in name:
            parameter.requires_grad_(False)
    return adapted


def is_lora(model) -> bool:
    """Whether a model was made by `add_lora`, without importing peft."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")


def save_adapter(model: PeftModel, folder: str | Path) -> None:
    """Writes the adapter as peft reads it, with a card that says how to load it.

    It names its base, of a folder only the name: a path of this machine means nothing elsewhere.
    """
    base = str(model.get_base_model().name_or_path)
    is_folder = Path(base).is_dir()
    published_base = Path(base).name if is_folder else base
    config = model.peft_config["default"]
    config.base_model_name_or_path = published_base
    try:
        model.save_pretrained(folder, save_embedding_layers=False)  # the adapter carries them as `modules_to_save`
    finally:
        config.base_model_name_or_path = ""
    base_line = "" if is_folder else f"base_model: {base}\n"
    (Path(folder) / "README.md").write_text(ADAPTER_CARD.format(base_line=base_line, base=published_base), "utf-8")


def merged_model(model: PeftModel) -> PreTrainedModel:
    """A copy with the adapters added into the weights: a stock model that loads anywhere."""
    return copy.deepcopy(model).merge_and_unload()

"""LoRA (Hu et al. 2021, arXiv 2106.09685): train low-rank adapters and the head, and freeze all other weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from transformers import PreTrainedModel

from hf_audio.errors import InputError, unknown_name
from hf_audio.models.classifier import AudioClassifier
from hf_audio.models.origin import is_on_the_hub, origin_of
from hf_audio.models.transformer_backbone import AST, WHISPER
from hf_audio.models.transformer_classifier import TransformerClassifier
from hf_audio.privacy import write_published

if TYPE_CHECKING:
    from peft import PeftModel

# Names of linear layers in transformers' audio models, most of which peft has no default for. The LoRA paper adapts
# query and value. Our own models name their layers in `lora_targets`.
QUERY_AND_VALUE = ("q_proj", "v_proj", "linear_q", "linear_v", "query_proj", "value_proj")
OTHER_ATTENTION = ("k_proj", "o_proj", "out_proj", "linear_k", "linear_out", "key_proj")
FEED_FORWARD = ("fc1", "fc2", "intermediate_dense", "output_dense")
TARGETS = {"attention": QUERY_AND_VALUE, "all": (*QUERY_AND_VALUE, *OTHER_ATTENTION, *FEED_FORWARD)}
# WavLM's attention reads the weights of its layers without calling the layers: adapters there would have no effect.
SILENT_ATTENTION = ("wavlm",)
HEAD_MODULES = ("classifier", "projector")

ADAPTER_CARD = """---
library_name: peft
pipeline_tag: audio-classification
{base_line}tags:
- lora
- audio-classification
---
The LoRA adapter of the model in the parent folder. That model has the adapter merged in and loads without it. To load
the adapter on top of its base model, where REPO is the parent folder or its name on the Hub:

```
pip install peft transformers torch{packages}
```

```python
{code}
model = PeftModel.from_pretrained(base, "REPO", subfolder="adapter")
```

In addition to the LoRA weights, the adapter contains the layers that the base model lacks: the head for these classes
and, if they depend on the window length, the position embeddings.
"""

STOCK_BASE = """from peft import PeftModel
from transformers import AutoConfig, AutoModelForAudioClassification

base = AutoModelForAudioClassification.from_pretrained(
    "{base}", config=AutoConfig.from_pretrained("REPO"), ignore_mismatched_sizes=True
)"""

OWN_BASE = """from peft import PeftModel
from transformers import AutoConfig, AutoModelForAudioClassification

config = AutoConfig.from_pretrained("REPO", trust_remote_code=True)
# the code comes from REPO, and only the weights come from the base model
model_class = type(AutoModelForAudioClassification.from_config(config, trust_remote_code=True))
base = model_class.from_pretrained("{base}", config=config, ignore_mismatched_sizes=True)"""

STOCK_BACKBONE = """from peft import PeftModel
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification

config = AutoConfig.from_pretrained("REPO", trust_remote_code=True)
base = AutoModelForAudioClassification.from_config(config, trust_remote_code=True)
trained = AutoModel.from_pretrained("{base}", config=base.backbone.config, ignore_mismatched_sizes=True)
base.backbone.load_state_dict({encoder}.state_dict())"""


TIMM_BASE = """from peft import PeftModel
from transformers import AutoConfig, AutoModelForAudioClassification

config = AutoConfig.from_pretrained("REPO", trust_remote_code=True)
# the code comes from REPO, and the weights of {base} come from timm
model_class = type(AutoModelForAudioClassification.from_config(config, trust_remote_code=True))
base = model_class(config, pretrained=True)"""


def add_lora(
    model: PreTrainedModel, rank: int, alpha: int | None = None, dropout: float = 0.0, targets: str = "attention"
) -> PeftModel:
    """Freezes an audio classifier except new adapters and the head.

    The adapter also contains the embeddings of an AST, frozen: the resized position embeddings exist nowhere else, and
    a base model that is loaded for this window length has zeros in their place. It also contains batch norms, which are
    trained, since their statistics follow the new data anyway.

    Args:
        model: a trained audio classifier, stock or ours.
        rank: rank of the adapters.
        alpha: adapters are scaled by alpha / rank. None: twice the rank.
        dropout: before the adapters.
        targets: "attention" (query and value; for WavLM the feed-forward layers) or "all" linear layers of a
            transformer. Our own models always use their `lora_targets`.

    Raises:
        InputError: peft is missing, the rank is below 1, `targets` is unknown, or the model has no layers to adapt.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("LoRA needs the package peft: pip install peft") from None
    if rank < 1:
        raise InputError(f"LoRA needs a rank of at least 1, found {rank}: try 8")
    embeddings = _embeddings(model)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=target_names(model, targets),
        modules_to_save=[*(name for name, _ in model.named_children() if name in HEAD_MODULES), *embeddings]
        + [name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)],
    )
    adapted = get_peft_model(model, config)
    # If this were set, peft would query the Hub at each checkpoint; `save_adapter` fills it in.
    adapted.peft_config["default"].base_model_name_or_path = ""
    for name, parameter in adapted.named_parameters():
        if any(f".{part}." in name for part in embeddings):
            parameter.requires_grad_(False)
    return adapted


def target_names(model: PreTrainedModel, targets: str = "attention") -> list[str]:
    """Names of the layers of a model that get adapters, see `add_lora`.

    Raises:
        InputError: `targets` is unknown, or the model has no layers to adapt.
    """
    if targets not in TARGETS:
        raise unknown_name("LoRA target", targets, TARGETS)
    names = list(getattr(model, "lora_targets", QUERY_AND_VALUE))
    if names and (isinstance(model, TransformerClassifier) or not isinstance(model, AudioClassifier)):
        present = {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        wanted = TARGETS[targets]
        if _model_type(model) in SILENT_ATTENTION:
            wanted = FEED_FORWARD
        names = [name for name in wanted if name in present]
    if not names:
        raise InputError(
            f"A {type(model).__name__} of type {_model_type(model)} has no layers for LoRA: leave out --lora_rank"
        )
    return names


def _model_type(model: PreTrainedModel) -> str:
    """The model type; for our wrapper, that of its backbone."""
    return model.config.backbone["model_type"] if isinstance(model, TransformerClassifier) else model.config.model_type


def _embeddings(model: PreTrainedModel) -> list[str]:
    """The module with an AST's position embeddings, by its full path: peft matches the ends of names and would also
    match `patch_embeddings`."""
    return [f"{model.base_model_prefix}.embeddings"] if _model_type(model) == AST else []


def is_lora(model) -> bool:
    """Whether a model comes from `add_lora`; does not import peft."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")


def save_adapter(model: PeftModel, folder: str | Path) -> None:
    """Writes the adapter in peft's format, with a card that says how to load it.

    The adapter names its base model; for a local folder, only the folder's name, since paths differ between machines.
    """
    base_model = model.get_base_model()
    base = origin_of(base_model)["base_model"] or ""
    config = model.peft_config["default"]
    config.base_model_name_or_path = base
    try:
        model.save_pretrained(folder, save_embedding_layers=False)  # the adapter has them as `modules_to_save`
    finally:
        config.base_model_name_or_path = ""
    base_line = f"base_model: {base}\nbase_model_relation: adapter\n" if is_on_the_hub(base) else ""
    code = _loading_code(base_model).replace('"{base}"', json.dumps(base, ensure_ascii=False)).replace("{base}", base)
    packages = " timm" if "timm" in base_model.config.model_type else ""
    card = ADAPTER_CARD.format(base_line=base_line, packages=packages, code=code)
    write_published(Path(folder) / "README.md", card)


def merged_model(model: PeftModel) -> PreTrainedModel:
    """A copy with the adapters merged into the weights: a model of the original class, which needs no adapter."""
    return copy.deepcopy(model).merge_and_unload()


def _loading_code(model: PreTrainedModel) -> str:
    if not isinstance(model, AudioClassifier):
        return STOCK_BASE
    if hasattr(model, "pretrained_weights"):
        return TIMM_BASE
    if not getattr(model, "has_stock_base", False):
        return OWN_BASE
    return STOCK_BACKBONE.replace("{encoder}", "trained.encoder" if _model_type(model) == WHISPER else "trained")

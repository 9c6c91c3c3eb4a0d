"""The layers of any audio classifier in order, from input to head, with the parameters of each.

One rule per architecture:

    AST, Wav2Vec2 and similar models, Whisper  embeddings (convolutions and projections before the first layer, and all
                                               position embeddings), each transformer layer, head
    only their convolutions                    each convolution, head
    our CNN, and networks on vectors           each stage or layer, head
    recurrent networks                         each layer with both directions, head
    timm networks                              the blocks that timm names, starting with the stem, head; in parallel
                                               networks, blocks with the same number together

Parts between the last layer and the head, such as a final norm, belong to the last layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from torch.nn import Parameter
from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.models.foreign_checkpoint import is_of_head
from hf_audio.models.lora import is_lora
from hf_audio.models.timm_backbone import TimmClassifier
from hf_audio.models.timm_network import Backbone, parameter_blocks
from hf_audio.models.transformer_classifier import TransformerClassifier

LAYER = re.compile(r"(?:^|\.)(?:layers?|stages)\.(\d+)\.")
RECURRENT_LAYER = re.compile(r"(?:weight|bias)_[ih]h_l(\d+)(?:_reverse)?$")
CONVOLUTION = re.compile(r"(?:^|\.)conv_layers\.(\d+)\.")
# Position embeddings and mask tokens are used before the first layer, wherever they are stored in the model. Adapters
# of speech models come last.
EMBEDDED, ADAPTER = "embed", "adapter."
EMBEDDINGS, HEAD = "embeddings", "head"


class LayerGroup(NamedTuple):
    """A layer, or everything before the first layer: its name, and its parameters by their names in the model."""

    name: str
    parameters: dict[str, Parameter]


def layer_groups(model: PreTrainedModel) -> list[LayerGroup]:
    """The layers of a model from input to head. Each parameter of the model is in exactly one of them.

    Args:
        model: stock or ours. Parameters of adapters belong to the layer that they adapt.

    Raises:
        InputError: timm does not know the blocks of this network.
    """
    bare = model.get_base_model() if is_lora(model) else model
    parameters = dict(bare.named_parameters())
    layers = _timm_layers(bare) if isinstance(bare, TimmClassifier) else _layers_by_name(bare, list(parameters))
    numbers = sorted(set(layers.values()))
    groups = {number: EMBEDDINGS if number < 0 else f"layer {number + 1}" for number in numbers}
    of_layers = [
        LayerGroup(name, {one: parameters[one] for one, place in layers.items() if place == number})
        for number, name in groups.items()
    ]
    head = {name: one for name, one in parameters.items() if is_of_head(name)}
    return [*of_layers, LayerGroup(HEAD, head)]


def _layers_by_name(model: PreTrainedModel, names: list[str]) -> dict[str, int]:
    """The layer of each parameter except the head's: numbers from 0, and -1 for the embeddings."""
    names = [name for name in names if not is_of_head(name)]
    for pattern in (LAYER, RECURRENT_LAYER, CONVOLUTION):
        found = {name: pattern.search(name) for name in names if EMBEDDED not in name and ADAPTER not in name}
        layers = {name: int(match[1]) for name, match in found.items() if match}
        if layers:
            break
    else:
        return dict.fromkeys(names, 0)
    first, last = names.index(next(iter(layers))), max(layers.values())
    norm_is_first = _norm_is_first(model)
    for place, name in enumerate(names):
        is_norm = name.rpartition(".")[0].endswith("encoder.layer_norm")
        comes_before = norm_is_first if is_norm else place < first
        layers.setdefault(name, -1 if EMBEDDED in name or comes_before else last)
    return layers


def _norm_is_first(model: PreTrainedModel) -> bool:
    """Whether the encoder's norm is applied before the layers. Wav2Vec2 and similar models store it in the same place
    either way."""
    config = model.backbone.config if isinstance(model, TransformerClassifier) else model.config
    return not getattr(config, "do_stable_layer_norm", True)


def _timm_layers(model: TimmClassifier) -> dict[str, int]:
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, Backbone):
            for number, block in enumerate(_blocks(module)):
                layers |= {f"{name}.network.{one}": number for one in block}
    return layers


def _blocks(backbone: Backbone) -> Iterable[list[str]]:
    try:
        return parameter_blocks(backbone.network)
    except ValueError as error:
        architecture = backbone.network.pretrained_cfg["architecture"]
        raise InputError(
            f"timm does not say where the layers of {architecture} are: leave out --layer_decay, --head_learning_rate "
            "and --unfreeze_epochs, or use another network"
        ) from error

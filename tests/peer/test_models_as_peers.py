"""transformers' common tests of models and configs on every class of ours: python scripts/peer_tests.py."""

from __future__ import annotations

import copy
import importlib.util
import unittest

import pytest
import torch
from model_cases import CASES, Instance, ModelCase
from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto

from hf_audio.data.index.labels import SINGLE_LABEL

if importlib.util.find_spec("tests.test_modeling_common") is None:
    reason = "needs the source distribution of transformers: python scripts/peer_tests.py"
    pytest.skip(reason, allow_module_level=True)
from tests import test_configuration_common as configs
from tests import test_modeling_common as common

BATCH = 3
# Each class once, and again if a setting gives another network; "ast_stock" is for comparison.
NAMES = (
    *("deep_cnn", "batch_norm_cnn", "lstm", "lstm_over_bins", "timm_efficientnet", "timm_vit", "timm_parallel"),
    *("feature_mlp", "feature_cnn", "feature_rnn", "wav2vec2", "wav2vec2_convolutions", "whisper", "ast", "ast_stock"),
)
# The common tests change the number of classes, so groups of classes would not fit.
SETTINGS = {"timm_parallel": {"combine": "features", "groups": None, "num_backbones": 2}}


def single_label(case: ModelCase) -> Instance:
    """A model for the common tests: class indices as labels, and any number of classes."""
    return Instance(case, "linear", SINGLE_LABEL)


def config_of(case: ModelCase) -> PretrainedConfig:
    used = single_label(case).model().config
    config = type(used)(**used.to_dict())  # a config in which no model has set the attention
    for name, value in SETTINGS.get(case.name, {}).items():
        setattr(config, name, value)
    return config


class ModelTester:
    """The interface that the common tests expect: a config, inputs, and the shapes of layer outputs."""

    is_training, batch_size = True, BATCH

    def __init__(self, case: ModelCase, model_class: type) -> None:
        self.config, self.inputs = config_of(case), single_label(case).inputs(BATCH)
        with torch.no_grad():
            hidden_states = model_class(copy.deepcopy(self.config))(
                **self.inputs, output_hidden_states=True
            ).hidden_states
        self.seq_length, self.hidden_size = hidden_states[0].shape[-2:]
        self.encoder_seq_length, self.num_hidden_layers = self.seq_length, len(hidden_states) - 1
        self.num_attention_heads = getattr(self.config, "num_attention_heads", None)

    def prepare_config_and_inputs_for_common(self):
        return copy.deepcopy(self.config), {name: value.clone() for name, value in self.inputs.items()}


def peer(case: ModelCase) -> type:
    """The common tests of one model as a unittest class."""
    model = single_label(case).model()
    kind, config_class = type(model), type(model.config)
    properties = [name for name in ("hidden_size", "num_hidden_layers") if hasattr(config_class(), name)]

    class Peer(common.ModelTesterMixin, unittest.TestCase):
        case_name = case.name
        all_model_classes = (kind,)
        has_attentions = getattr(model, "has_attentions", True) and model.config.num_hidden_layers > 0
        test_resize_embeddings = False
        test_can_init_all_missing_weights_before_2023 = True

        def setUp(self) -> None:
            self.model_tester = ModelTester(case, kind)

        def test_config(self) -> None:
            configs.ConfigTester(self, config_class, False, properties).run_common_tests()

    Peer.__name__ = Peer.__qualname__ = f"Test_{case.name}"
    return Peer


for _case in CASES:
    if _case.name in NAMES:
        globals()[f"Test_{_case.name}"] = _peer = peer(_case)
        # The tests recognize classifiers by these lists of names.
        for _names in (
            modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
            modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        ):
            _names.setdefault(single_label(_case).model().config.model_type, _peer.all_model_classes[0].__name__)
del _peer

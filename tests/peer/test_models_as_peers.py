"""transformers' common tests of models and configs, on every model of model_cases.py: python scripts/peer_tests.py."""

from __future__ import annotations

import copy
import unittest

import pytest
import torch
from model_cases import CASES, Instance, ModelCase
from transformers.models.auto import modeling_auto

from hf_audio.data.index.labels import SINGLE_LABEL

REASON = "needs the source distribution of transformers: python scripts/peer_tests.py"
common = pytest.importorskip("tests.test_modeling_common", reason=REASON, exc_type=ImportError)
configs = pytest.importorskip("tests.test_configuration_common", reason=REASON, exc_type=ImportError)

BATCH = 3


def single_label(case: ModelCase) -> Instance:
    """A model as the common tests take it: with class indices as labels."""
    return Instance(case, case.heads[0], SINGLE_LABEL)


class ModelTester:
    """What the common tests ask of a model: a config, inputs, and the shape of what its layers give."""

    is_training, batch_size = True, BATCH

    def __init__(self, case: ModelCase) -> None:
        instance = single_label(case)
        model = instance.model()
        self.config, self.inputs = model.config, instance.inputs(BATCH)
        with torch.no_grad():
            hidden_states = model(**self.inputs, output_hidden_states=True).hidden_states
        self.seq_length, self.hidden_size = hidden_states[0].shape[-2:]
        self.encoder_seq_length, self.expected_num_hidden_layers = self.seq_length, len(hidden_states)
        self.num_hidden_layers = getattr(self.config, "num_hidden_layers", None)
        self.num_attention_heads = getattr(self.config, "num_attention_heads", None)

    def prepare_config_and_inputs_for_common(self):
        return copy.deepcopy(self.config), {name: value.clone() for name, value in self.inputs.items()}


def peer(case: ModelCase) -> type:
    """The common tests as a class of unittest for one model."""
    model = single_label(case).model()
    kind, config_class = type(model), type(model.config)
    properties = [name for name in ("hidden_size", "num_hidden_layers") if hasattr(config_class(), name)]

    class Peer(common.ModelTesterMixin, unittest.TestCase):
        case_name = case.name
        all_model_classes = (kind,)
        has_attentions = getattr(model, "has_attentions", True)
        test_resize_embeddings = False
        test_can_init_all_missing_weights_before_2023 = True

        def setUp(self) -> None:
            for names in (
                modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
                modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
            ):
                names.setdefault(config_class.model_type, kind.__name__)
            self.model_tester = ModelTester(case)

        def test_config(self) -> None:
            tester = configs.ConfigTester(self, config_class, False, properties)
            tester.run_common_tests()

    Peer.__name__ = Peer.__qualname__ = f"Test_{case.name}"
    return Peer


for _case in CASES:
    globals()[f"Test_{_case.name}"] = peer(_case)

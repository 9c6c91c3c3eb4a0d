"""Our model classes behave like those of transformers: tuples, hidden states, regression, new weights, export.

scripts/peer_tests.py runs transformers' common tests on them. These tests check what those do not.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from model_cases import ALL_TASKS, CASES, INSTANCES, NAMES, Instance, is_ours, wav2vec2_stock
from torch.nn import functional
from training_run import build_tiny_features, trainer_of
from transformers import pipeline

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.kinds.waveform import Waveform
from hf_audio.losses import loss_for
from hf_audio.models.classifier import AudioClassifierConfig
from hf_audio.models.heads import ArcFaceHead

OURS = [instance for instance in INSTANCES if instance.head in (instance.case.heads[0], "metadata")]
OURS = [instance for instance in OURS if "stock" not in instance.case.name]


def each(*names: str, instances: list[Instance] = OURS):
    chosen = [one for one in instances if not names or one.id.split("-")[0] in names or one.id in names]
    assert chosen
    return pytest.mark.parametrize("instance", chosen, ids=lambda instance: instance.id)


@each()
def test_outputs_are_objects_or_tuples_of_tensors(instance):
    model, inputs = instance.model(), instance.inputs()
    with torch.no_grad():
        whole = model(**inputs, labels=instance.targets(), output_hidden_states=True)
        as_tuple = model(**inputs, labels=instance.targets(), return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == 2
    torch.testing.assert_close(as_tuple, (whole.loss, whole.logits))
    assert all(isinstance(one, torch.Tensor) and len(one) == 3 for one in whole.hidden_states)
    assert len(whole.hidden_states) >= 2 or instance.case.name == "wav2vec2_convolutions"
    layers = getattr(model.config, "num_hidden_layers", None)
    assert layers is None or len(whole.hidden_states) == layers + 1
    model.config.return_dict = False
    assert isinstance(model(**inputs), tuple)


@each()
def test_attentions_are_returned_or_refused(instance):
    model, inputs = instance.model(), instance.inputs()
    if not model.has_attentions:
        with pytest.raises(ValueError, match=f"{type(model).__name__} has no attentions: leave out output_attentions"):
            model(**inputs, output_attentions=True)
        return
    model.set_attn_implementation("eager")
    found = model(**inputs, output_attentions=True)
    assert len(found.attentions) == model.config.num_hidden_layers
    assert all(one.shape[1] == model.config.num_attention_heads for one in found.attentions)


def test_hidden_size_of_configs_is_the_size_of_embeddings():
    for instance in OURS:
        model, inputs = instance.model(), instance.inputs(2)
        given = []
        model.classifier.register_forward_pre_hook(lambda _, arguments, given=given: given.append(arguments[0]))
        model(**inputs)
        size = given[0].shape[1] - sum(len(values) + 1 for values in model.config.metadata.values())
        factor = {"mean_max": 2}.get(getattr(model.config, "pooling", None), 1)
        factor *= 2 if getattr(model.config, "bidirectional", False) else 1
        assert size == factor * model.config.hidden_size, instance.id
        assert type(model.config)(**model.config.to_dict()).hidden_size == model.config.hidden_size


# The pipeline


@each("cnn-linear-single", "stereo_lstm", "timm_parallel-linear-multi", "feature_rnn", "wav2vec2-fluffy-multi", "ast")
def test_the_audio_pipeline_runs_our_models(instance):
    """Sound as arrays, dicts and lists of them, with top_k and function_to_apply."""
    extractor, random = instance.case.extractor(), np.random.default_rng(0)
    classify = pipeline("audio-classification", model=instance.model(), feature_extractor=extractor, device="cpu")
    rate = extractor.sampling_rate
    sounds = [(0.1 * random.standard_normal(round(seconds * rate))).astype(np.float32) for seconds in (0.6, 0.3)]
    answers = classify(sounds[0])
    assert sorted(one["label"] for one in answers) == sorted(NAMES)
    scores = [one["score"] for one in answers]
    assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
    assert [one["label"] for one in classify(sounds[0], top_k=1)] == [answers[0]["label"]]
    for same in (classify({"raw": sounds[0], "sampling_rate": rate}), classify(sounds)[0]):
        assert [one["score"] for one in same] == pytest.approx(scores, abs=1e-6)
    assert [len(one) for one in classify(sounds)] == [len(NAMES)] * 2
    for name in ("none", "sigmoid", "softmax"):
        raw = {one["label"]: one["score"] for one in classify(sounds[0], function_to_apply=name)}
        assert len(raw) == len(NAMES) and (name != "softmax" or sum(raw.values()) == pytest.approx(1, abs=1e-4))


# Weights missing from a checkpoint


@each(instances=[*OURS, *(one for one in INSTANCES if one.id.startswith("batch_norm"))])
def test_weights_missing_from_a_checkpoint_are_initialized_like_new(instance):
    """Checks all layers. transformers 5 leaves such weights uninitialized until it calls `_init_weights`."""
    new = instance.model()
    loaded = type(new).from_pretrained(None, config=copy.deepcopy(new.config), state_dict={}).state_dict()
    for name, wanted in new.state_dict().items():
        found = loaded[name].float()
        assert found.isfinite().all(), name
        if wanted.numel() >= 64 and wanted.is_floating_point():
            scale = wanted.square().mean().sqrt().item()
            assert found.square().mean().sqrt().item() == pytest.approx(scale, rel=0.35, abs=1e-6), name
        elif "norm" in name:
            assert torch.equal(loaded[name], wanted), name


def test_layers_of_other_sizes_are_initialized_and_others_are_loaded(tmp_path):
    instance = next(one for one in INSTANCES if one.case.name == "batch_norm_cnn")
    model = instance.model()
    with torch.no_grad():
        model.stages[0].first.norm.running_mean.fill_(0.5)
    model.save_pretrained(tmp_path)
    config = copy.deepcopy(model.config)
    config.channels = [8, 24]
    found = type(model).from_pretrained(tmp_path, config=config, ignore_mismatched_sizes=True).eval()
    assert (found.stages[0].first.norm.running_mean == 0.5).all()
    assert (found.stages[1].first.norm.weight == 1).all() and (found.stages[1].first.norm.running_var == 1).all()
    logits = found(**instance.inputs()).logits
    assert logits.isfinite().all() and logits.abs().max() < 100 and not torch.allclose(logits[0], logits[1])


# Losses


@each("cnn-linear-single", "timm_parallel-linear-multi", "lstm-metadata-multi")
def test_regression_uses_the_mean_squared_error(instance):
    config = instance.model().config
    config.problem_type, inputs = "regression", instance.inputs()
    model = type(instance.model())(config).train()
    numbers = torch.randn(3, len(NAMES))
    found = model(**inputs, labels=numbers)
    torch.testing.assert_close(found.loss, functional.mse_loss(found.logits, numbers))
    found.loss.backward()
    assert max(weights.grad.abs().max() for weights in model.classifier.parameters()) > 1e-3
    if "groups" not in config.to_dict():
        config.num_labels = 1
        alone = type(model)(config)(**inputs, labels=torch.tensor([1.0, 2.0, 3.0]))
        assert alone.logits.shape == (3, 1) and alone.loss.isfinite()


def test_arcface_refuses_regression():
    make = next(one for one in CASES if one.name == "cnn").make
    model = make(ALL_TASKS[0].labels, head="arcface")
    model.config.problem_type = "regression"
    with pytest.raises(ValueError, match="arcface head is for classes, but problem_type is regression"):
        type(model)(model.config)


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
def test_a_models_loss_equals_the_training_loss_with_unknown_labels(problem_type):
    instance = Instance(CASES[0], "linear", problem_type)
    model, inputs, targets = instance.model(), instance.inputs(), instance.targets()
    if problem_type == MULTI_LABEL:
        targets[0, 1] = targets[2, 3] = math.nan
    found = model(**inputs, labels=targets)
    torch.testing.assert_close(found.loss, loss_for(instance.labels)(found.logits, targets))


def test_labels_without_a_problem_type_are_taken_as_by_transformers():
    instance = Instance(CASES[0], "linear", SINGLE_LABEL)
    model, inputs = instance.model(), instance.inputs()
    model.config.problem_type = None
    logits, indices = model(**inputs).logits, torch.tensor([0, 3, 1])
    torch.testing.assert_close(model(**inputs, labels=indices).loss, functional.cross_entropy(logits, indices))
    several = functional.one_hot(indices, len(NAMES)).float()
    wanted = functional.binary_cross_entropy_with_logits(logits, several)
    torch.testing.assert_close(model(**inputs, labels=several).loss, wanted)
    assert AudioClassifierConfig().problem_type is None


def test_arcface_keeps_its_gradient_in_bfloat16():
    """For embeddings near their class: in bfloat16 a cosine above 0.998 rounds to 1, whose angle has no gradient."""
    torch.manual_seed(0)
    head = ArcFaceHead(32, 4).train()
    embedding = (head.weight[:3] + 0.01 * torch.randn(3, 32)).detach()
    found = []
    for enabled in (False, True):
        inputs = embedding.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = head(inputs, torch.eye(4)[:3])
        assert logits.dtype == torch.float32
        logits.diagonal().sum().backward()  # logits of the true classes
        found.append(inputs.grad)
    assert found[0].norm(dim=1).min() > 0.1
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


# Gradient checkpointing, and export


@each("wav2vec2-metadata-single", "wav2vec2_convolutions", "cnn-linear-single", "deep_cnn", "whisper", "ast")
def test_reentrant_checkpointing_loses_no_gradient(instance):
    """The default before transformers 5. Each weight's gradient equals that without checkpointing."""
    plain, inputs, targets = instance.model().train(), instance.inputs(), instance.targets()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    for model in (plain, checkpointed):
        instance.loss(model, inputs, targets).backward()
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(other.grad, one.grad, msg=lambda text, name=name: f"{name}: {text}")
    checkpointed.gradient_checkpointing_disable()
    inputs = {name: value for name, value in inputs.items() if name != "metadata"}
    assert all(not value.requires_grad for value in inputs.values())


def test_gradient_checkpointing_trains_the_first_layers_of_stock_models(tmp_path):
    """Their waveform needs no gradient, so the reentrant variant, transformers 4's default, would stop there."""
    folder = build_tiny_features(tmp_path / "features", SINGLE_LABEL, {"train": 4}, Waveform())
    features, moved = load_features(folder), []
    for again in (False, True):
        torch.manual_seed(0)
        model = wav2vec2_stock(features.labels)
        before = copy.deepcopy(model.state_dict())
        arguments = {"max_steps": 1, "gradient_checkpointing": again, "eval_strategy": "no", "save_strategy": "no"}
        arguments |= {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "warmup_steps": 0}
        trainer_of(features, tmp_path / str(again), model, arguments).train()
        functions = [getattr(module, "_gradient_checkpointing_func", None) for module in model.modules()]
        assert {one.keywords["use_reentrant"] for one in functions if one} == ({False} if again else set())
        moved.append({name: weights - before[name] for name, weights in model.state_dict().items()})
    first = moved[1]["wav2vec2.feature_extractor.conv_layers.0.conv.weight"]
    assert first.abs().max() > 0
    torch.testing.assert_close(moved[1], moved[0])


@each("cnn-metadata-single", "lstm-metadata-multi", "lstm_over_bins", "feature_rnn", "feature_mlp")
def test_a_model_can_be_exported_for_any_batch_size(instance):
    window = instance.case.windows[1]
    model, inputs = instance.model(), instance.inputs(3, window)
    shapes = {name: {0: torch.export.Dim("batch", min=2, max=64)} for name in inputs}
    program = torch.export.export(model, (), inputs, dynamic_shapes=shapes)
    for batch in (2, 7):
        others = instance.inputs(batch, window, seed=5)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(**others).logits, model(**others).logits)
    assert is_ours(model)

"""Two processes on the CPU against one: same loss, same gradient, same scores."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from gradient_run import ACCUMULATIONS, GLOBAL_BATCH, all_cases
from safetensors.torch import load_file
from training_run import build_tiny_features, in_shards, tiny_model
from transformers import AutoModelForAudioClassification

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.kinds.waveform import Waveform
from hf_audio.losses import class_weights_from_counts, loss_for
from hf_audio.metrics import average_per_clip

TESTS = Path(__file__).parent
CASES = [(task, accumulation) for task in ("single", "multi") for accumulation in ACCUMULATIONS]
CASES.append(("single", "compiled"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features of a single-label and a multi-label task, and sound. Each has 13 validation windows of 7 clips."""
    folder = tmp_path_factory.mktemp("features")
    for name, problem_type in (("single", SINGLE_LABEL), ("multi", MULTI_LABEL)):
        build_tiny_features(folder / name, problem_type)
    build_tiny_features(folder / "sound", SINGLE_LABEL, extractor=Waveform())
    return folder


def in_two_processes(forks, script: str, *arguments) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "ACCELERATE_USE_CPU": "true"}
    forks.ranks(2, TESTS / script, *arguments, env=environment)


@pytest.fixture(scope="module")
def two_processes(forks, folder):
    in_two_processes(forks, "gradient_run.py", folder, folder / "two.safetensors")
    found = load_file(folder / "two.safetensors")
    assert found["world_size"] == 2
    return found


@pytest.fixture(scope="module")
def one_process(folder):
    return all_cases(folder, world_size=1)


def by_hand(folder, task):
    """Loss and gradient of the first 8 windows in one forward pass of plain torch."""
    features = load_features(folder / task)
    batch = FeatureCollator(features.extractor, features.labels)(list(features.splits["train"].select(range(8))))
    assert len(batch["labels"]) == GLOBAL_BATCH
    model = tiny_model(features)
    weights = class_weights_from_counts(*features.class_counts("train"), features.labels) if task == "single" else None
    loss = loss_for(features.labels, weights)
    value = loss(model(batch["input_values"]).logits, batch["labels"])
    value.backward()
    return value.detach(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("task", "accumulation"), CASES)
@pytest.mark.parametrize("number", ["one_process", "two_processes"])
def test_loss_and_gradient_equal_those_of_the_global_batch(request, folder, number, task, accumulation):
    found = request.getfixturevalue(number)
    loss, gradient = by_hand(folder, task)
    assert gradient.norm() > 0.1
    torch.testing.assert_close(found[f"{task}.{accumulation}.loss"], loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[f"{task}.{accumulation}.gradient"], gradient, rtol=1e-5, atol=1e-5)


def test_parameters_of_a_loss_get_the_gradient_of_the_global_batch(one_process, two_processes):
    for name in ("loss", "gradient", "centers"):
        key = f"single.center.{name}"
        torch.testing.assert_close(two_processes[key], one_process[key], rtol=1e-4, atol=1e-6)
    assert one_process["single.center.centers"].norm(dim=1).min() > 1e-3, "all centers are trained"


@pytest.mark.parametrize("how", ["epochs", "optimized", "mean of epochs"])
def test_two_processes_have_the_epochs_of_one(one_process, two_processes, how):
    """Also with balanced sampling, gradual unfreezing, and averaged weights, which are evaluated."""
    one, two = one_process[f"single.{how}"], two_processes[f"single.{how}"]
    assert len(one) == 2 * (-(-38 // GLOBAL_BATCH) + 1)
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_two_processes_augment_like_one(one_process, two_processes):
    """Each process has 8 windows. All augmentations are on, with mixing and patch dropout."""
    for name in ("loss", "gradient"):
        key = f"augmented.{name}"
        torch.testing.assert_close(two_processes[key], one_process[key], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one_process["augmented.gradient"], one_process["multi.1.gradient"], rtol=0.1)


def test_two_processes_augment_waveforms_and_compute_features_like_one(one_process, two_processes):
    for name in ("loss", "gradient", "metrics", "clip_logits"):
        key = f"sound.{name}"
        torch.testing.assert_close(two_processes[key], one_process[key], rtol=1e-4, atol=1e-5)
    stored = one_process["single.1.clip_logits"]
    torch.testing.assert_close(one_process["sound.clip_logits"], stored, rtol=0, atol=0.02)
    assert not torch.allclose(one_process["sound.gradient"], one_process["single.1.gradient"], rtol=0.1)


@pytest.mark.parametrize("task", ["single", "multi"])
def test_two_processes_score_an_odd_number_of_windows_like_one(folder, one_process, two_processes, task):
    features = load_features(folder / task)
    assert len(features.splits["validation"]) % 2 == 1
    for name in ("metrics", "clip_keys", "clip_logits"):
        key = f"{task}.1.{name}"
        torch.testing.assert_close(two_processes[key], one_process[key], rtol=1e-5, atol=1e-6)
    assert len(two_processes[f"{task}.1.clip_keys"]) == 7
    assert len(two_processes[f"{task}.1.metrics"]) > 5


def test_a_streamed_run_of_two_processes_trains_one_model_and_resumes_in_an_epoch(forks, folder, tmp_path):
    """No process waits for one without windows left, and the saved model is the evaluated one."""
    shards, run, again = tmp_path / "shards", tmp_path / "run", tmp_path / "again"
    in_shards(folder / "single", shards, (3, 20, 15))
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 3, "disable_tqdm": True, "logging_steps": 1}
    arguments |= {"save_strategy": "steps", "save_steps": 5, "eval_strategy": "no"}
    arguments = ("--streaming", "--arguments", json.dumps(arguments | {"dataloader_num_workers": 1}))
    in_two_processes(forks, "training_run.py", shards, run, *arguments)
    outcome = json.loads((run / "outcome.json").read_text())
    assert outcome["steps"] == 2 * -(-38 // 6)
    shutil.copytree(run, again)
    (again / "outcome.json").unlink()
    shutil.rmtree(again / "checkpoints" / "checkpoint-14")
    assert (again / "checkpoints" / "checkpoint-10").exists(), "it is in the middle of an epoch of 7 steps"
    in_two_processes(forks, "training_run.py", shards, again, *arguments)
    assert json.loads((again / "outcome.json").read_text()) == outcome
    model = AutoModelForAudioClassification.from_pretrained(run).eval()
    features = load_features(folder / "single")
    batch = FeatureCollator(features.extractor, features.labels)(list(features.splits["test"]))
    with torch.no_grad():
        logits = model(batch["input_values"]).logits
    clips = average_per_clip(logits, batch["labels"], batch["clip_keys"])
    assert outcome["test"]["keys"] == clips.clip_keys.tolist()
    torch.testing.assert_close(torch.tensor(outcome["test"]["logits"]), torch.from_numpy(clips.logits).float())

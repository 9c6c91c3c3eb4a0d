"""Averaging the weights of trained models: the mean, the greedy choice by validation scores, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_run import build_tiny_features, trainer_of

from hf_audio.analysis.model_average import average_models
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.models import build_model

ROOT = Path(__file__).parents[1]
CNN = {"channels": [8, 8], "kernel_sizes": [3, 3], "strides": [2, 2], "pools": [2, 2], "depths": [1, 1]}


@pytest.fixture(scope="module")
def runs(tiny_features, tmp_path_factory):
    """Two runs from the same weights with different data orders, and one whose head is negated after training."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        arguments = {"num_train_epochs": 3, "learning_rate": 3e-3, "data_seed": int(name == "b")}
        trainer_of(tiny_features, folder / name, arguments=arguments).train_resumable()
    shutil.copytree(folder / "a", folder / "bad", ignore=shutil.ignore_patterns("checkpoints"))
    weights = load_file(folder / "bad" / "model.safetensors")
    weights |= {name: -5 * one for name, one in weights.items() if name.startswith("classifier.dense")}
    save_file(weights, folder / "bad" / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_mean_of_the_weights_is_a_run_folder_with_report_and_card(tiny_features, runs, tmp_path, forks):
    names = [str(runs / name) for name in ("a", "b")]
    script = ROOT / "scripts" / "average_models.py"
    options = ("--features", tiny_features.source, "--output_dir", tmp_path / "soup", "--device", "cpu")
    done = forks.run(script, *names, *options, "--license", "mit")
    assert done.returncode == 0, done.errors
    found, *parts = (load_file(Path(one) / "model.safetensors") for one in (tmp_path / "soup", *names))
    for name, one in found.items():
        torch.testing.assert_close(one, (parts[0][name] + parts[1][name]) / 2)
    report, card = read_json(tmp_path / "soup" / "report.json"), (tmp_path / "soup" / "README.md").read_text()
    assert report["training"]["published weights"] == "mean of the weights of 2 trained models"
    assert "mean of the weights of 2 trained models" in card and "license: mit" in card and str(runs) not in card
    assert report["training"]["models"] == "a, b" and set(report["results"]) == {"model", "linear", "prior"}
    again = forks.run(script, *names, *options)
    assert again.returncode == 2 and "already exists and is not empty" in again.errors


def test_a_greedy_choice_leaves_out_a_harmful_model(tiny_features, runs):
    names = [str(runs / name) for name in ("bad", "a", "b")]
    averaged = average_models(names, tiny_features, greedy=True, device="cpu")
    assert "bad" not in {Path(name).name for name in averaged.averaged}
    assert averaged.chosen_by.startswith("accuracy on validation, out of 3: 1.000")
    assert averaged.model.config.id2label == tiny_features.labels.id2label


@pytest.mark.parametrize(
    ("name", "options", "norm"),
    [("cnn", CNN, "stages.1.first.norm"), ("test_efficientnet", {}, "backbone.network.bn1")],
)
def test_batch_norm_statistics_are_recomputed_for_the_averaged_model(tiny_features, tmp_path, name, options, norm):
    for seed in (0, 1):
        model = build_model(name, tiny_features, options=options, seed=seed)
        arguments = {"max_steps": 2, "eval_strategy": "no", "save_strategy": "no"}
        trainer_of(tiny_features, tmp_path / str(seed), model, arguments).train_resumable()
    names = [str(tmp_path / "0"), str(tmp_path / "1")]
    model = average_models(names, tiny_features, device="cpu").model
    parts = [load_file(tmp_path / name / "model.safetensors") for name in "01"]
    plain = (parts[0][f"{norm}.running_mean"] + parts[1][f"{norm}.running_mean"]) / 2
    assert not torch.allclose(model.get_submodule(norm).running_mean, plain, rtol=0.1)
    assert not model.training and model.get_submodule(norm).momentum == 0.1


def test_models_that_differ_in_more_than_weights_are_refused(tiny_features, runs, tmp_path):
    def refused(*names, sentence, **options):
        with pytest.raises(InputError, match=sentence):
            average_models([str(runs / name) for name in names], tiny_features, device="cpu", **options)

    refused("a", sentence="two or more different models; found .*a")
    refused("a", "a", sentence="two or more different models")
    arguments = {"max_steps": 1, "eval_strategy": "no", "save_strategy": "no"}
    multi = load_features(build_tiny_features(tmp_path / "multi", MULTI_LABEL))
    trainer_of(multi, runs / "multi", arguments=arguments).train_resumable()
    refused(
        "a", "multi", sentence=r"multi cannot be averaged with .*a: problem_type is multi_label_classification, not"
    )
    cnn = build_model("cnn", tiny_features, options=CNN)
    trainer_of(tiny_features, runs / "cnn", cnn, arguments).train_resumable()
    refused("a", "cnn", sentence=r"cnn cannot be averaged with .*a: architecture is SpectrogramCNN, not ASTForAudio")
    other = runs / "b" / "preprocessor_config.json"
    write_json(other, {**(before := read_json(other)), "mean": 3.0})
    refused("a", "b", sentence=r"b cannot be averaged with .*: the extractor's mean is 3\.0, not")
    write_json(other, before)

"""Runs described in Python: settings as keywords, with the same checks as flags."""

from __future__ import annotations

from pathlib import Path

import pytest

import hf_audio
from hf_audio.config.reported import reported_command
from hf_audio.errors import InputError


def test_keywords_are_settings_and_the_command_line_is_ignored(monkeypatch):
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    recipe = hf_audio.make_recipe(output_dir=Path("runs/a"), data_dir=Path("mine"), model="cnn", num_train_epochs=5)
    assert (recipe.run_folder, recipe.corpus.data_dir, recipe.model.model) == (Path("runs/a"), "mine", "cnn")
    assert recipe.training.num_train_epochs == 5
    assert recipe.given == {"output_dir", "data_dir", "model", "num_train_epochs"}
    wanted = 'hf_audio.make_recipe(data_dir="mine", model="cnn", num_train_epochs=5)'
    assert reported_command(recipe, "ipykernel_launcher.py") == wanted
    assert hf_audio.make_recipe(output_dir="runs/b", classical_model="svm").classical.classical_model == "svm"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give make_recipe an output_dir"),
        ({"output_dir": "a", "num_epochs": 3}, "did you mean 'num_train_epochs'"),
        ({"output_dir": "a", "lora_alpha": 8}, "lora_alpha"),
        ({"output_dir": "a", "test_fraction": 2.0}, "test_fraction"),
    ],
)
def test_invalid_settings_and_those_without_effect_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        hf_audio.make_recipe(**settings)


def test_an_evaluation_refuses_settings_before_loading_models(tiny_folders):
    features = tiny_folders["single_label_classification"]
    for models, settings, said in (
        ("nowhere", {"window_s": 1.0}, "window_s would have no effect here: it is for recordings"),
        ("nowhere", {"agregation": "max"}, "did you mean 'aggregation'"),
        (["a", "b"], {"revision": "main"}, "revision applies to one model"),
    ):
        with pytest.raises(InputError, match=said):
            hf_audio.evaluate(models, features, **settings)

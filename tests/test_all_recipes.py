"""Every recipe trains for two steps on its corpus in the original layout, and for two on the demo's corpus."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from pathlib import Path

import pytest
from corpus_trees import TREES
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from hf_audio import parse_recipe
from hf_audio.corpora.irmas import INSTRUMENTS

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
QUICK = ("--report_to", "none", "--num_workers", "1")
TWO_STEPS = ("--max_steps", "2", "--per_device_train_batch_size", "4")  # flags of networks
SHORT = ("--window_s", "0.5", "--hop_s", "0.5")
# timm's pretrained weights are large, so tests load small models from the test Hub
UNTRAINED = {"timm/mobilenetv3_small_050": "mobilenets", "timm/efficientnet_b0": "test_efficientnet"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A function that creates a corpus once and returns its folder."""
    made = {}

    def make(corpus: str) -> Path:
        if corpus not in made:
            made[corpus] = TREES[corpus](tmp_path_factory.mktemp(corpus))
        return made[corpus]

    return make


@pytest.fixture(scope="module")
def midi(tmp_path_factory) -> Path:
    """A small version of the demo's corpus: three training clips and one test excerpt per instrument."""
    from hf_audio.corpora.general_midi import obtain

    root = tmp_path_factory.mktemp("midi")
    obtain(root, num_train_clips=33, num_test_clips=11)
    return root


@pytest.fixture
def checkpoints(hub, tmp_path) -> None:
    """Small models on the test Hub, under the names of the real ones."""
    speech = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    sizes = {"conv_dim": [16] * 7, "classifier_proj_size": 16, "num_conv_pos_embeddings": 16}
    small = {
        "MIT/ast-finetuned-audioset-10-10-0.4593": (
            ASTForAudioClassification(ASTConfig(**speech, num_labels=527)),
            ASTFeatureExtractor(),
        ),
        "facebook/wav2vec2-base": (
            Wav2Vec2Model(Wav2Vec2Config(**speech, **sizes)),
            Wav2Vec2FeatureExtractor(return_attention_mask=False),
        ),
    }
    for name, (model, extractor) in small.items():
        folder = tmp_path / name.split("/")[1]
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        hub.create("models", name, {path.name: path.read_bytes() for path in folder.iterdir()})


def run(recipe: Path, argv: list[str], monkeypatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    steps = () if recipe.name.startswith("svm_") else TWO_STEPS
    monkeypatch.setattr(sys, "argv", [f"recipes/{recipe.name}", "--output_dir", "run", *QUICK, *steps, *argv])
    runpy.run_path(str(recipe), run_name="__main__")


def check(folder: Path, values: dict, has_plots: bool) -> None:
    """A run writes a model, its extractor and a card, and a report unless it was pretraining."""
    assert (folder / "run" / "preprocessor_config.json").is_file()
    card = (folder / "run" / "README.md").read_text()
    assert str(folder) not in card
    if "objective" not in values:
        report = json.loads((folder / "run" / "report.json").read_text())
        assert {"prior"} < set(report["results"]) and report["evaluated_split"] == "test"
        assert (folder / "run" / "plots" / "f1_per_class.png").is_file() == has_plots
    assert any((folder / "run" / name).is_file() for name in ("model.safetensors", "model.skops"))


@pytest.fixture
def draws(monkeypatch, drawn):
    """A function that switches off plots, which take seconds, except for the first run of a kind; true for that one."""

    def once(kind: str) -> bool:
        is_first = kind not in drawn
        drawn.add(kind)
        if not is_first:
            monkeypatch.setattr("hf_audio.analysis.evaluation.write_plots", lambda *_, **__: [])
        return is_first

    return once


@pytest.fixture(scope="module")
def drawn() -> set[str]:
    return set()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains_two_steps_on_its_corpus(recipe, tree, checkpoints, draws, monkeypatch, tmp_path):
    values = runpy.run_path(str(recipe), run_name="imported")["VALUES"]
    argv = ["--data_dir", str(tree(values["corpus"])), *SHORT]
    model = values.get("model", "")
    if model.startswith("timm/"):
        argv += ["--model", UNTRAINED.get(model, "test_resnet")]
    if values.get("step_s"):
        argv += ["--step_s", "0.25"]
    has_plots = draws("classical" if recipe.name.startswith("svm_") else values["corpus"])
    run(recipe, argv, monkeypatch, tmp_path)
    check(tmp_path, values, has_plots)


def test_a_finished_run_is_kept_and_can_be_repeated_from_its_config(tree, monkeypatch, tmp_path):
    recipe = ROOT / "recipes" / "mlp_gtzan.py"
    run(recipe, ["--data_dir", str(tree("gtzan")), *SHORT], monkeypatch, tmp_path)
    first = {name: (tmp_path / "run" / name).read_bytes() for name in ("model.safetensors", "config.yaml")}
    checkpoint = tmp_path / "run/checkpoints/checkpoint-2/complete.json"
    was_written = checkpoint.stat().st_mtime_ns
    for more in ([], ["--output_dir", "again"]):
        monkeypatch.setattr(sys, "argv", ["recipes/mlp_gtzan.py", "--config", "run/config.yaml", *more])
        runpy.run_path(str(recipe), run_name="__main__")
    assert checkpoint.stat().st_mtime_ns == was_written, "a finished run is not trained again"
    assert (tmp_path / "run" / "config.yaml").read_bytes() == first["config.yaml"]
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first["model.safetensors"]
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("run", "again")]
    assert reports[0]["results"] == reports[1]["results"] and reports[0]["settings"] == reports[1]["settings"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains_two_steps_of_its_demo(recipe, midi, hub, draws, monkeypatch, tmp_path, tmp_path_factory):
    content = runpy.run_path(str(recipe), run_name="imported")
    if "DEMO" not in content:
        pytest.skip("this recipe is for your own recordings and has no demo")
    recipe_of = parse_recipe(content["VALUES"], content["DEMO"], argv=["--demo"])
    settings = json.dumps([vars(recipe_of.features), vars(recipe_of.mixing), recipe_of.data.clip_s])
    name = hashlib.sha256(settings.encode()).hexdigest()[:12]
    features = tmp_path_factory.getbasetemp() / "demo-features" / name  # shared by recipes with the same features
    argv = ["--demo", "--data_dir", str(midi), "--features_dir", str(features)]
    has_plots = draws("general_midi")
    run(recipe, argv, monkeypatch, tmp_path)
    check(tmp_path, content["VALUES"], has_plots)
    if recipe.stem == "ast_irmas":  # as in `make demo`
        assert not hub.log.requests, "the demo needs no network"
        assert json.loads((tmp_path / "run" / "report.json").read_text())["task"]["labels"] == list(INSTRUMENTS)

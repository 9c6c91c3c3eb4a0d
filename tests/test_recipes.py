"""Recipes from end to end, launched as users do: two steps each, on small recordings, over HTTP with a Hub."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import corpus_trees
import pytest
import torch
from corpus_trees import write_sound
from huggingface_hub import ModelCard
from process_tree import run_tree
from token_traces import holding, written_below, written_on
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from hf_audio.corpora.irmas import INSTRUMENTS
from hf_audio.stored_scores import read_scores

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
CHECKPOINT = "MIT/ast-finetuned-audioset-10-10-0.4593"
QUICK = ("--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--num_workers", "1")


def launch(script: str, *argv: str, env: dict[str, str], cwd: Path, config: str | None = None) -> str:
    """Runs `accelerate launch SCRIPT` on the CPU, and returns what it printed."""
    how = ("--config_file", str(ROOT / "recipes" / "accelerate" / config)) if config else ("--num_processes", "1")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *how, str(ROOT / script), *argv]
    on_cpu = {"ACCELERATE_USE_CPU": "true"} if torch.accelerator.is_available() else {}  # else they detect it
    return run_tree(command, {**env, **on_cpu}, timeout_s=280, cwd=cwd)


@pytest.fixture(scope="module")
def irmas_tree(tmp_path_factory) -> Path:
    """IRMAS in its real layout: 11 class folders of 3 s clips, and test excerpts, each with a .txt file."""
    return corpus_trees.irmas_tree(tmp_path_factory.mktemp("IRMAS"))


@pytest.fixture
def checkpoint(hub, tmp_path) -> str:
    """A small AST on the tests' Hub with the real checkpoint's patch grid, head size and name."""
    config = ASTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=527)
    ASTForAudioClassification(config).save_pretrained(tmp_path / "checkpoint")
    ASTFeatureExtractor().save_pretrained(tmp_path / "checkpoint")
    hub.create("models", CHECKPOINT, {path.name: path.read_bytes() for path in (tmp_path / "checkpoint").iterdir()})
    return CHECKPOINT


RELOAD = """
import sys
import json, numpy as np, soundfile
from datasets import load_dataset
from transformers import pipeline
model, dataset, wav = sys.argv[1:]
classifier = pipeline("audio-classification", model=model)
sound, sample_rate = soundfile.read(wav, dtype="float32")
sound = {"raw": sound.mean(axis=1), "sampling_rate": sample_rate}
answers = classifier(sound, top_k=None, function_to_apply="sigmoid")  # given above, old releases ignore it
row = next(iter(load_dataset(dataset, split="train", streaming=True)))
log_mel = row["offset"] + row["scale"] * np.flipud(row["features"]).T
print(json.dumps({"scores": {one["label"]: one["score"] for one in answers}, "shape": log_mel.shape}))
"""


def test_irmas_from_recordings_through_the_hub_to_a_pipeline(
    irmas_tree, checkpoint, hub, hub_env, tmp_path, forks, forks_without_hf_audio
):
    """The whole way: build and push, train, publish; stream, train adapters, publish; load without hf_audio."""
    names = ("--hub_model_id", "alice/ast-irmas", "--hub_dataset_id", "alice/irmas-fbank")
    job = ("--data_dir", str(irmas_tree), "--output_dir", str(tmp_path / "run"), *names, *QUICK)
    refused = forks.run(ROOT / "recipes" / "ast_irmas.py", *job, "--push_to_hub", env=hub_env, cwd=tmp_path)
    assert refused.returncode == 2
    assert "CC BY-NC-SA 3.0" in refused.errors, "IRMAS must not become public by mistake"
    assert "--hub_private_repo" in refused.errors
    assert not (tmp_path / "run" / "features").exists(), "the license is checked before any work is done"

    in_words = ("--push_to_hub", "--hub_private_repo", "true")
    printed = launch("recipes/ast_irmas.py", *job, *in_words, env=hub_env, cwd=tmp_path)
    published = set(hub.repo("models", "alice/ast-irmas").paths())
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "report.json"} <= published
    assert not [path for path in published if path.startswith(("checkpoints", "tensorboard", "features"))]
    assert hub.repo("datasets", "alice/irmas-fbank").private and hub.repo("models", "alice/ast-irmas").private
    card = ModelCard(hub.repo("models", "alice/ast-irmas").read("README.md").decode())
    assert card.data.base_model == CHECKPOINT and card.data.datasets == ["alice/irmas-fbank"]
    assert card.data.eval_results, "the Hub shows results of the card's model-index"

    hub.log.clear()
    streamed = ("--dataset", "alice/irmas-fbank", "--output_dir", str(tmp_path / "lora"), "--lora_rank", "4", *QUICK)
    publish = (*in_words, "--hub_model_id", "alice/ast-irmas-lora", "--hub_token", hub.token("alice"))
    adapted = forks.run(ROOT / "recipes" / "ast_irmas.py", *streamed, *publish, env=hub_env, cwd=tmp_path)
    assert adapted.returncode == 0, adapted.errors[-4000:]
    ranges = [entry.range for entry in hub.log.matching("GET", origin="storage") if entry.range]
    assert ranges, "the train split is streamed by ranges, not downloaded"
    adapter = set(hub.repo("models", "alice/ast-irmas-lora").paths())
    assert {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "model.safetensors"} <= adapter

    excerpt = irmas_tree / "IRMAS-TestingData-Part1" / "Part1" / "(00) a song-0.wav"  # as long as one window
    for model, run in (("alice/ast-irmas", "run"), ("alice/ast-irmas-lora", "lora")):
        result = forks_without_hf_audio.run(RELOAD, model, "alice/irmas-fbank", excerpt, env=hub_env, cwd=tmp_path)
        assert result.returncode == 0, result.errors[-3000:]
        loaded = json.loads(result.output.splitlines()[-1])
        assert loaded["shape"] == [298, 128]
        stored = read_scores(tmp_path / run)
        clip = next(place for place, clip_id in enumerate(stored.clip_ids) if clip_id.endswith("a song-0.wav"))
        scored = dict(zip(stored.labels.names, stored.probabilities[clip], strict=True))
        for code in INSTRUMENTS:
            assert loaded["scores"][code] == pytest.approx(scored[code], abs=0.01), "scores of the report"

    said = {"what it says": "".join((refused.errors, printed, adapted.output, adapted.errors)).encode()}
    for suffix in ("README.md", "report.json", "handler.py", "run.json", "clips.parquet", "optimizer.pt"):
        assert list(tmp_path.rglob(f"*{suffix}")), suffix
    assert not holding(hub.token("alice"), {**said, **written_below(tmp_path), **written_on(hub)})


@pytest.fixture(scope="module")
def folder_of_recordings(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(("bell", "flute", "tuba")):
        for recording in range(8):
            path = root / name / f"{recording}.wav"
            write_sound(path, 1.0 + 0.2 * (recording % 3), recording, [200.0 * 3**number], sample_rate=22_050)
    (root / "tuba" / "broken.wav").write_bytes(b"RIFF no sound")
    return root


def test_own_recordings_with_two_processes(folder_of_recordings, hub_env, tmp_path, forks):
    job = ("--data_dir", str(folder_of_recordings), "--output_dir", "run", *QUICK)
    printed = launch("recipes/ast_folder.py", *job, env=hub_env, cwd=tmp_path, config="two_cpu.yaml")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["training"]["num_processes"] == 2 and report["training"]["steps"] == 2
    assert set(report["results"]) == {"model", "linear", "prior"}
    assert "tuba/broken.wav" in (tmp_path / "run" / "features" / "excluded.csv").read_text()
    assert "this model" in printed and "excluded.csv" in printed
    for name in (
        "README.md",
        "plots/training.png",
        "plots/f1_per_class.png",
        "plots/confusion.png",
        "plots/roc_pr.png",
    ):
        assert (tmp_path / "run" / name).stat().st_size > 500
    assert str(tmp_path) not in (tmp_path / "run" / "README.md").read_text() + json.dumps(report), "no local path"
    reloaded = ASTForAudioClassification.from_pretrained(tmp_path / "run")
    assert list(reloaded.config.id2label.values()) == ["bell", "flute", "tuba"]

    job = ("--data_dir", folder_of_recordings, "--features_dir", "one", "--num_workers", "1")
    alone = forks.run(ROOT / "scripts" / "build_features.py", *job, cwd=tmp_path)
    assert alone.returncode == 0, alone.errors[-4000:]
    folders = (tmp_path / "one", tmp_path / "run" / "features")
    one, two = ({path.name: path.read_bytes() for path in folder.rglob("*.*")} for folder in folders)
    made_of_them = {name for name in one if name.endswith((".md", ".png"))}
    assert one.keys() - made_of_them == two.keys() - made_of_them and len(one.keys() - made_of_them) > 5
    assert all(one[name] == two[name] for name in one.keys() - made_of_them), "two processes build the same"
    assert "load_dataset" in one["README.md"].decode()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--data_dir", "nowhere"), "nowhere does not exist"),
        ((), "No data to train on: give --data_dir"),
        (("--data_dir", "{data}", "--window_s", "60"), "window of 60 s is longer than every clip"),
        (("--data_dir", "{data}", "--model", "ast-mni"), "did you mean 'ast-mini'"),
        (("--dataset", "{other}"), "num_mel_bins is 64"),
        (("--data_dir", "{data}", "--push_to_hub", "--hub_token", "hf_wrong"), "does not accept the token"),
        (
            ("--data_dir", "{data}", "--push_to_hub", "--hub_model_id", "bob/x"),
            "alice is not allowed to write to bob/x",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_sentence(
    folder_of_recordings, features_of_64_bins, token, tmp_path, monkeypatch, capsys, argv, sentence
):
    places = {"data": folder_of_recordings, "other": features_of_64_bins}
    argv = ["--output_dir", str(tmp_path / "run"), *QUICK, *(word.format(**places) for word in argv)]
    monkeypatch.setattr(sys, "argv", ["recipes/ast_folder.py", *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "recipes" / "ast_folder.py"), run_name="__main__")
    assert ended.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0], errors


@pytest.fixture(scope="module")
def features_of_64_bins(folder_of_recordings, tmp_path_factory) -> Path:
    from hf_audio import DataConfig, FeatureConfig, build_corpus_features

    data = DataConfig(data_dir=str(folder_of_recordings), num_workers=1)
    folder = tmp_path_factory.mktemp("features") / "of_64_bins"
    return build_corpus_features(data, folder, FeatureConfig(num_mel_bins=64))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe, monkeypatch):
    """Its values are known settings, its docstring has the command and what to expect; importing it runs nothing."""
    from hf_audio import parse_recipe

    content = runpy.run_path(str(recipe), run_name="imported")
    parsed = parse_recipe(content["VALUES"], content.get("DEMO"), argv=["--demo"] if "DEMO" in content else [])
    assert Path(parsed.training.output_dir).parent == Path("runs")
    assert f"accelerate launch recipes/{recipe.name}" in content["__doc__"]
    told = [line.partition(": ") for line in content["__doc__"].rstrip().splitlines()[-3:]]
    assert [name for name, _, said in told if said] == ["Hardware", "Time", "Expected score"], "or: not measured"

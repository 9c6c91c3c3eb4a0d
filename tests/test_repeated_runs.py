"""All that can change a run's scores is compared: flags, recordings, tables, weights, launcher and recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_trees import write_sound

import hf_audio
from hf_audio import InputError
from hf_audio.finished_work import differences
from hf_audio.repeated_runs import RepeatedRuns

ROOT = Path(__file__).parents[1]


@pytest.fixture
def recordings(tmp_path) -> Path:
    for number, name in enumerate(("high", "low")):
        for take in range(3):
            write_sound(tmp_path / "data" / name / f"{take}.wav", 0.2, take, [900.0 - 600.0 * number], 16_000)
    return tmp_path / "data"


def runs_of(recordings: Path, *flags: str, **options) -> RepeatedRuns:
    return RepeatedRuns(str(ROOT / "recipes" / "cnn_folder.py"), ["--data_dir", str(recordings), *flags], **options)


def changed(before: dict, runs: RepeatedRuns, *flags: str) -> list[str]:
    """Names of the facts that have changed."""
    return [one.split(" was ")[0] for one in differences(before, runs.decides(flags))]


def test_everything_that_can_change_the_scores_is_compared(recordings, tmp_path, monkeypatch):
    table, model = tmp_path / "o.csv", tmp_path / "model"
    table.write_text("clip_id,label\nhigh/0.wav,low\n")
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    flags = ["--label_overrides", str(table), "--model", str(model)]
    before = runs_of(recordings).decides(flags)
    assert json.loads(json.dumps(before)) == before
    assert str(tmp_path / "data") in before.values() and str(model) not in json.dumps(before)

    assert changed(before, runs_of(recordings), *flags) == []
    same = ("--features_dir", "elsewhere", "--num_workers", "1", "--logging_steps", "3", "--report_to", "none")
    assert changed(before, runs_of(recordings), *flags, *same) == [], "place and speed do not change the scores"
    assert changed(before, runs_of(recordings), *flags, "--weight_decay", "0.3") == ["weight_decay"]
    assert changed(before, runs_of(recordings), *flags, "--validation_fraction", "0.3") == ["validation_fraction"]
    table.write_text("clip_id,label\nhigh/1.wav,low\n")
    assert changed(before, runs_of(recordings), *flags) == ["label_overrides"]
    table.write_text("clip_id,label\nhigh/0.wav,low\n")
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    assert changed(before, runs_of(recordings), *flags) == ["model"]
    (model / "model.safetensors").write_bytes(b"weights")
    write_sound(recordings / "high" / "0.wav", 0.2, 7, [500.0], 16_000)
    assert changed(before, runs_of(recordings), *flags) == ["recordings"], "a file replaced by one of the same size"
    write_sound(recordings / "high" / "9.wav", 0.2, 7, [500.0], 16_000)
    assert {"clips", "groups", "labels"} <= set(changed(before, runs_of(recordings), *flags))


def test_the_launcher_the_recipe_and_hf_audio_itself_are_compared_too(recordings, tmp_path, monkeypatch):
    before = runs_of(recordings).decides([])
    config = str(ROOT / "recipes" / "accelerate" / "two_cpu.yaml")
    assert changed(before, runs_of(recordings, config_file=config)) == ["processes"]
    mine = tmp_path / "cnn_folder.py"
    mine.write_text((ROOT / "recipes" / "cnn_folder.py").read_text() + "\n# changed\n")
    assert changed(before, RepeatedRuns(str(mine), ["--data_dir", str(recordings)])) == ["recipe's text"]
    monkeypatch.setattr("hf_audio.repeated_runs.__version__", "9.9")
    assert changed(before, runs_of(recordings)) == ["hf_audio"]


def test_negatives_are_compared_too(recordings, tmp_path):
    """A changed folder of noises under the same corpus name."""
    write_sound(tmp_path / "noise" / "a" / "0.wav", 0.2, 1, [100.0], 16_000)
    flags = ["--negatives", "folder", "--negatives_dir", str(tmp_path / "noise"), "--several_labels"]
    before = runs_of(recordings, *flags).decides([])
    write_sound(tmp_path / "noise" / "a" / "1.wav", 0.2, 2, [200.0], 16_000)
    found = changed(before, runs_of(recordings, *flags))
    assert {"clips of negatives", "recordings of negatives"} <= set(found) and "clips" not in found


def test_a_failed_run_is_resumed_with_the_same_settings_only(recordings, tmp_path, monkeypatch):
    started = []

    def run(self, what, folder, flags):
        started.append(what)
        if len(started) == 1:
            raise InputError(f"{what} failed")
        folder.mkdir()
        (folder / "report.json").write_text('{"score": 1}')

    monkeypatch.setattr(RepeatedRuns, "_run", run)
    folder = tmp_path / "runs" / "first"
    with pytest.raises(InputError, match="The run of first failed"):
        runs_of(recordings).report("The run of first", folder, [])
    with pytest.raises(InputError, match=r"differs in: seed was 42 and is now 7; give another --output_dir, or remove"):
        runs_of(recordings).report("The run of first", folder, ["--seed", "7"])
    assert runs_of(recordings).report("The run of first", folder, []) == {"score": 1}
    assert runs_of(recordings).report("The run of first", folder, []) == {"score": 1} and len(started) == 2
    assert hf_audio.__version__ == json.loads((tmp_path / "runs" / "first.json").read_text())["hf_audio"]

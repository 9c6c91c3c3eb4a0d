"""scripts/self_train.py: models label recordings they were not trained on; validation and test are never learned."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from corpus_trees import write_sound

from hf_audio import run_network
from hf_audio.data.index.pseudo_labels import CONFIDENCE
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.repeated_runs import RepeatedRuns

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "self_train.py"
RECIPE = ROOT / "recipes" / "cnn_folder.py"
SMALL = {"channels": [8, 16], "kernel_sizes": [3, 3], "strides": [2, 1], "pools": [2, 1], "depths": [1, 1]}
QUICK = ["--num_train_epochs", "25", "--per_device_train_batch_size", "8", "--learning_rate", "0.03"]
QUICK += ["--warmup_steps", "0", "--report_to", "none", "--num_workers", "1", "--window_s", "0.4", "--use_cpu"]
QUICK += ["--num_mel_bins", "32", "--model_options", json.dumps({**SMALL, "norm": "batch"}), "--save_strategy", "no"]
QUICK += ["--eval_strategy", "no", "--validation_fraction", "0.2", "--label_smoothing_factor", "0"]
# the recipe's augmentation, with which such a small network cannot learn in a few steps
QUICK += ["--time_shift", "false", "--mixup_alpha", "0", "--noise_probability", "0", "--equalizer_db", "0"]
QUICK += ["--frequency_shift_bins", "0", "--time_stretch", "0", "--gain_db", "0", "--time_mask_s", "0"]


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Two easily separated classes, more recordings of them without labels, a copy of a test clip, a broken file."""
    for number, name in enumerate(("high", "low")):
        for take in range(10):
            write_sound(tmp_path / "data" / name / f"{take}.wav", 0.4, take, [2000.0 - 1700.0 * number], 16_000)
        for take in range(4):
            path = tmp_path / "more" / f"{name}{take}.wav"
            write_sound(path, 0.4, 100 + 10 * number + take, [2000.0 - 1700.0 * number], 16_000)
    (tmp_path / "more" / "broken.wav").write_bytes(b"RIFF no sound")
    return tmp_path


@pytest.fixture
def self_train(recordings, tmp_path, monkeypatch):
    """Runs the script with its recipes in this process: importing everything again would take minutes."""
    ran = []

    def run(self, what: str, folder: Path, flags) -> None:
        ran.append((what, [*flags]))
        run_network(self.values["VALUES"], argv=[*self.flags, "--output_dir", str(folder), *flags])

    def start(*argv: str) -> list[tuple[str, list[str]]]:
        ran.clear()
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, str(RECIPE), *argv, "--", *QUICK])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return list(ran)

    monkeypatch.setattr(RepeatedRuns, "_run", run)
    monkeypatch.setattr("hf_audio.analysis.evaluation.write_plots", lambda *_, **__: [])
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(tmp_path)
    return start


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_rounds_label_recordings_not_trained_on(self_train, recordings, tmp_path, capsys):
    from hf_audio import corpus_clips, parse_recipe

    values = runpy.run_path(str(RECIPE), run_name="read")["VALUES"]
    labeled = corpus_clips(parse_recipe(values, argv=["--data_dir", str(recordings / "data"), *QUICK]).data).clips
    tested = [row["clip_id"] for row in labeled.to_pylist() if row["split"] == "test"]
    shutil.copy(recordings / "data" / tested[0], recordings / "more" / "copy.wav")

    job = ["--data_dir", str(recordings / "data"), "--unlabeled", str(recordings / "more"), "--num_folds", "2"]
    job += ["--output_dir", "out", "--confidence", "0.6"]
    ran = self_train(*job)
    assert [what for what, _ in ran] == [
        *(f"Fold {fold} of round {number}" for number in (1, 2) for fold in (1, 2)),
        *("The run with labels only", "The run with pseudo-labels"),
    ]
    told = (tmp_path / "out" / "self_training.md").read_text()
    assert re.search(r"10 recordings without labels: 8 .*, 1 cannot be decoded .* 1 were excluded as copies", told)
    assert "Round 2: " in told and "the models of this round are this confident for" in told
    assert "| labels only |" in told and "| labels and pseudo-labels |" in told

    final = rows_of(tmp_path / "out" / "pseudo_labels.csv")
    assert len(final) >= 6 and all(row["path"].startswith(row["labels"]) for row in final), "labels are right"
    assert not {"copy.wav", "broken.wav"} & {row["path"] for row in final}
    said = {
        fold: {row["path"] for row in rows_of(tmp_path / "out" / f"round_2/fold_{fold}_says.csv")} for fold in (1, 2)
    }
    learned = {
        fold: {row["path"] for row in rows_of(tmp_path / "out" / f"round_2/without_fold_{fold}.csv")} for fold in (1, 2)
    }
    for fold in (1, 2):
        assert said[fold] and learned[fold] and not said[fold] & learned[fold], "no model labels its own training clips"
        left_out = {row["clip_id"] for row in rows_of(tmp_path / "out" / f"without_fold_{fold}.csv")}
        features = load_features(tmp_path / f"out/round_2/fold_{fold}/features")
        trained = set(features.splits["train"]["clip_id"])
        assert left_out and not left_out & trained and {f"pseudo/{path}" for path in learned[fold]} <= trained
        assert not trained & set(tested)
    features = load_features(tmp_path / "out" / "with_pseudo_labels" / "features")
    assert sum(one is not None for one in features.splits["train"][CONFIDENCE]) == len(final)
    for split in ("validation", "test"):
        assert set(features.splits[split][CONFIDENCE]) == {None}
    report = json.loads((tmp_path / "out" / "with_pseudo_labels" / "report.json").read_text())
    assert f"{len(final)} more recordings with pseudo-labels" in report["data"]["corpus"]["protocol"]
    assert str(tmp_path) not in json.dumps(report) and str(tmp_path) not in told

    assert self_train(*job) == [], "finished runs are not repeated"
    assert (tmp_path / "out" / "self_training.md").read_text() == told


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more"),
        (["--confidence", "0.4"], "--confidence must be above 0.5"),
        (["--unlabeled", "nowhere"], "--unlabeled nowhere is not a folder"),
        (["--unlabeled", "data"], "fewer"),
    ],
)
def test_bad_commands_are_one_sentence(self_train, recordings, flags, sentence, capsys):
    (recordings / "empty").mkdir()
    flags = [flag if flag != "data" else "empty" for flag in flags]
    with pytest.raises(SystemExit):
        self_train("--data_dir", str(recordings / "data"), "--unlabeled", str(recordings / "more"), *flags)
    assert (sentence if "empty" not in flags else "has no recordings") in capsys.readouterr().err

"""scripts/ablate.py compares tricks with the baseline over seeds and folds. A failed run does not stop the others."""

from __future__ import annotations

import json
import math
import os
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_trees import write_sound

from hf_audio import InputError, parse_recipe, repeated_runs
from hf_audio.data.tables import written_rows

ROOT = Path(__file__).parents[1]
RECIPE = str(ROOT / "recipes" / "cnn_folder.py")
QUICK = ("--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--num_workers", "1")


@pytest.fixture
def ablation(monkeypatch):
    """The module that aggregates and plots results."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import _ablation

    return _ablation


@pytest.fixture
def recordings(tmp_path) -> Path:
    rows = ["path,label,group"]
    for number, name in enumerate(("high", "low")):
        for take in range(6):
            write_sound(tmp_path / "data" / f"{name}{take}.wav", 0.6, take, [900.0 - 600.0 * number], 16_000)
            rows.append(f"{name}{take}.wav,{name},{name}{take}")
    (tmp_path / "data" / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "data"


@pytest.fixture
def ablate(ablation, monkeypatch, forks, tmp_path, capsys):
    """Runs the script in this process and each recipe in a fork; gives exit code, output and the recipes' flags."""
    started = []

    def launched(command, check, **options):
        """Replaces accelerate's launcher. It kills seed 1 once, if a file named kill exists."""
        assert command[1:3] == ["-m", "accelerate.commands.launch"] and RECIPE in command
        flags = command[command.index(RECIPE) + 1 :]
        started.append(flags)
        env = {**os.environ, "ACCELERATE_USE_CPU": "true"}
        process = forks.start(Path(RECIPE), *flags, env=env, cwd=tmp_path)
        if "--seed=1" in flags and (tmp_path / "kill").exists():
            (tmp_path / "kill").unlink()
            folder = Path(flags[flags.index("--output_dir") + 1])
            while not (folder / "checkpoints").exists() and process.poll(0.01) is None:
                pass
            process.kill()
        process.wait()
        options["stdout"].write((process.output + process.errors).encode())
        return subprocess.CompletedProcess(command, process.returncode)

    monkeypatch.setattr(repeated_runs.subprocess, "run", launched)
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, list]:
        started.clear()
        monkeypatch.setattr(sys, "argv", ["ablate.py", RECIPE, *argv])
        code = runpy.run_path(str(ROOT / "scripts" / "ablate.py"))["main"]()
        return code, capsys.readouterr().out, list(started)

    return run


def test_tricks_are_compared_per_run_and_resumed_after_a_kill(ablate, recordings, tmp_path, capsys):
    (tmp_path / "tricks.yaml").write_text(
        "baseline: {mixup_alpha: 0}\nfocal: {loss: focal}\nwrong: {los: focal}\n"
        "late: {loss: family, families: none.yaml}\nboth: [focal, equal]\nequal: {class_weights: balanced}\n"
    )
    (tmp_path / "kill").touch()
    job = ("--tricks", "tricks.yaml", "--seeds", "0", "1", "--output_dir", "runs", "--only", "focal", "wrong", "late")
    job += ("--data_dir", str(recordings), *QUICK)
    with pytest.raises(InputError, match=r"baseline, seed 1 failed: .*seed-1.log"):
        ablate(*job)
    told = capsys.readouterr().out
    assert "wrong will not run: Unknown" in told, "before the first run"
    assert "2 tricks and the baseline, 2 runs each: 6 runs in runs" in told
    code, printed, started = ablate(*job)
    assert code == 1 and "2 of 3 tricks failed: wrong, late" in printed
    assert len(started) == 4, "seed 1 of the baseline, both seeds of focal, seed 0 of late"
    table = (tmp_path / "runs" / "ablation.md").read_text()
    assert table in printed + "\n"
    assert "failed: Unknown setting" in table or "failed: Unknown flag" in table
    assert "failed: late, seed 0 failed: none.yaml cannot be read" in table

    reports = {
        name: [json.loads((tmp_path / "runs" / name / f"seed-{seed}" / "report.json").read_text()) for seed in (0, 1)]
        for name in ("baseline", "focal")
    }
    scores = {
        name: [one["results"]["model"][one["evaluated_split"]]["f1_macro"] for one in found]
        for name, found in reports.items()
    }
    assert [one["training"]["seed"] for one in reports["focal"]] == [0, 1]
    assert reports["focal"][0]["training"]["settings"]["loss"] == "focal"
    (line,) = (
        row
        for row in written_rows(tmp_path / "runs" / "ablation.csv")
        if (row["trick"], row["metric"]) == ("focal", "f1_macro")
    )
    pairs = [focal - plain for focal, plain in zip(scores["focal"], scores["baseline"], strict=True)]
    assert float(line["mean"]) == pytest.approx(statistics.mean(scores["focal"]), abs=1e-5)
    assert float(line["difference"]) == pytest.approx(statistics.mean(pairs), abs=1e-5)
    assert float(line["standard error"]) == pytest.approx(statistics.stdev(pairs) / math.sqrt(2), abs=1e-5)
    assert len(list(written_rows(tmp_path / "runs" / "runs.csv"))) == 4
    assert (tmp_path / "runs" / "ablation.svg").read_text().startswith("<?xml") and "focal" in printed
    features = {path.parent for path in (tmp_path / "runs" / "features").rglob("manifest.json")}
    assert len(features) == 1, "the runs share one feature set"

    code, again, started = ablate(*job)
    assert (code, again.split("\n")[-8:]) == (1, printed.split("\n")[-8:]) and len(started) == 1, "only the failed run"
    with pytest.raises(InputError, match="baseline/seed-0 holds another run, which differs in: weight_decay"):
        ablate(*job, "--weight_decay", "0.3")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "ablations").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_trick_is_a_flag_of_its_recipe(ablation, path):
    values = runpy.run_path(str(ROOT / "recipes" / f"{path.stem.split('_')[0]}_folder.py"))["VALUES"]
    tricks = ablation.read_tricks(path)
    assert tricks[0].name == "baseline" and len(tricks) > 5
    for trick in tricks:
        recipe = parse_recipe(values, argv=[*repeated_runs.as_words(trick.flags), "--seed=1"])
        assert recipe.given >= {name for name, value in trick.own.items() if value is not None}
        for name, value in trick.flags.items():
            assert recipe.chosen.get(name, values.get(name)) in (value, None), trick.name


def test_a_trick_can_leave_out_a_flag_of_the_baseline(ablation, tmp_path):
    (tmp_path / "t.yaml").write_text(
        "baseline: {mixup_alpha: 10, mixup_probability: 0.5}\nno mixup: {mixup_alpha: 0, mixup_probability: null}\n"
    )
    baseline, trick = ablation.read_tricks(tmp_path / "t.yaml")
    assert baseline.flags == {"mixup_alpha": 10, "mixup_probability": 0.5} and trick.flags == {"mixup_alpha": 0}
    for one in (baseline, trick):
        one.scores = {("0", ""): {"accuracy": 0.5}}
    assert "`--mixup_alpha=0 without --mixup_probability`" in ablation.as_markdown([baseline, trick], "accuracy")


def tricks_of(ablation, scores, speeds=(10.0, 10.0, 10.0), busy=(0.0, 0.0, 0.0)):
    found = []
    for name, numbers in scores.items():
        places = [(str(seed), "") for seed in range(len(numbers))]
        one = ablation.Trick(name, {"loss": name}, {"loss": name})
        one.scores = {place: {"accuracy": number} for place, number in zip(places, numbers, strict=True)}
        one.speeds = dict(zip(places, speeds, strict=False))
        one.busy = dict(zip(places, busy, strict=False))
        found.append(one)
    return found


def test_differences_are_paired_and_speeds_on_a_busy_machine_are_marked(ablation):
    tricks = tricks_of(ablation, {"baseline": [0.5, 0.7, 0.6], "a*b": [0.55, 0.76, 0.64]})
    line = ablation.line_of(tricks[1], tricks[0], "accuracy")
    assert line.difference == pytest.approx(0.05) and line.error == pytest.approx(0.01 / math.sqrt(3))
    assert line.sd == pytest.approx(statistics.stdev([0.55, 0.76, 0.64]))
    table = ablation.as_markdown(tricks, "accuracy")
    assert r"| a\*b | `'--loss=a*b'` | 3 | 0.650 ± 0.105 | +0.050 ± 0.006 | 1.00 |" in table
    tricks[1].speeds, tricks[1].busy[("1", "")] = dict.fromkeys(tricks[1].speeds, 8.0), 0.4
    assert ablation.speed_of(tricks[1], tricks[0]) == (0.8, True) and "0.80 (busy)" in ablation.as_markdown(
        tricks, "accuracy"
    )
    tricks[0].busy[("0", "")] = None
    assert ablation.speed_of(tricks[1], tricks[0]) == (0.8, None)
    (bars,) = [one for one in ablation.plot_of(tricks, "accuracy").axes[0].containers if hasattr(one, "patches")]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.05]) and bars.errorbar is not None
    alone = tricks_of(ablation, {"baseline": [0.5], "focal": [0.6]})
    assert "| 1 | 0.600 | +0.100 | 1.00 |" in ablation.as_markdown(alone, "accuracy")
    assert "nan" not in ablation.as_csv(alone, ["accuracy"])


def test_cpu_time_of_other_programs_is_measured(ablation):
    measured = ablation.OtherWork()
    share = measured.share()
    assert share is None or 0 <= share <= 1.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("baseline: {loss: focal}", "has no tricks: expected lines such as"),
        ("focal: 3", "has no flags for 'focal': expected a mapping"),
        ("focal: {loss: }", "'focal' has no value for loss: give one"),
        ("baseline: {loss: }\nfocal: {loss: focal}", "'baseline' has no value for loss"),
        ("a: {loss: focal}\nboth: [a, b]", "'both' combines 'b', which has no flags of its own"),
        ("a: {loss: focal}\nb: {loss: x}\nboth: [a, b]", "'both' combines two values of loss, focal and x"),
        ("a: {seed: 3}", "--seed of a is set by this script for each run"),
    ],
)
def test_an_invalid_file_of_tricks_is_refused(ablate, tmp_path, text, sentence):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        ablate("--tricks", "t.yaml")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--only", "foca"), "Unknown trick 'foca': did you mean 'focal'"),
        (("--seeds", "1", "1"), "has duplicates"),
        (("--metric", "accurracy"), "Unknown metric 'accurracy': did you mean 'accuracy'"),
        (("--num_folds", "1"), "--num_folds draws 2 or more folds"),
        (("--folds",), "The corpus has no folds: draw some with --num_folds 3"),
        (("--output_dir", "x", "--features_dir", "y"), "--features_dir of the command line is set by this script"),
        (("--num_epochs", "3"), "Unknown flag '--num_epochs'"),
    ],
)
def test_unsuitable_flags_are_refused_at_once(ablate, recordings, tmp_path, flags, sentence):
    (tmp_path / "t.yaml").write_text("focal: {loss: focal}")
    with pytest.raises(InputError, match=sentence):
        ablate("--tricks", "t.yaml", *flags, "--data_dir", str(recordings))


def test_folds_are_drawn_for_every_seed(ablation, recordings, monkeypatch):
    script = runpy.run_path(str(ROOT / "scripts" / "ablate.py"))
    argv = ["ablate.py", RECIPE, "--tricks", "t.yaml", "--seeds", "3", "4", "--num_folds", "2"]
    monkeypatch.setattr(sys, "argv", [*argv, "--data_dir", str(recordings)])
    options = script["parse_options"]()
    runs = repeated_runs.RepeatedRuns(RECIPE, options.recipe_flags)
    places = script["places_of"](runs, options)
    assert list(places) == [("3", "1"), ("3", "2"), ("4", "1"), ("4", "2")]
    assert places["4", "2"] == ["--seed=4", "--num_folds=2", "--fold=2"]
    keys = [runs.decides_features(flags) for flags in places.values()]
    assert keys[0] == keys[2] != keys[1] == keys[3], "all seeds of a fold share its features"
    assert runs.decides_features(["--loss=focal", *places["3", "1"]]) == keys[0]
    assert runs.decides_features(["--num_mel_bins=32", *places["3", "1"]]) not in keys

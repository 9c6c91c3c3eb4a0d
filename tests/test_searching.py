"""scripts/tune.py as users run it: killed and resumed, in parallel, pruned, over folds, with cheap trials first."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest
import yaml
from corpus_trees import write_sound

from hf_audio import parse_recipe
from hf_audio.data.tables import written_rows
from hf_audio.searching.space_file import read_space
from hf_audio.searching.study import Study

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "cnn_folder.py"
SMALL = ("--model", "cnn-concert", "--per_device_train_batch_size", "4", "--num_workers", "1", "--num_mel_bins", "32")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Eighteen tones, four of them for validation and four for test."""
    folder, rows = tmp_path_factory.mktemp("tones"), ["path,label,group,split"]
    for number, name in enumerate(("high", "low")):
        for take in range(9):
            split = "train" if take < 5 else "validation" if take < 7 else "test"
            write_sound(folder / f"{name}{take}.wav", 0.3, take, [900.0 - 600.0 * number], 16_000)
            rows.append(f"{name}{take}.wav,{name},{name}{take},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def tune(forks, recordings, tmp_path):
    """Starts a search in its own process."""

    def start(space: str, *flags: str, recipe: Path = RECIPE):
        (tmp_path / "space.yaml").write_text(space)
        argv = [recipe, "--space", "space.yaml", "--output_dir", "found", "--data_dir", recordings, *flags]
        env = {**os.environ, "ACCELERATE_USE_CPU": "true"}
        return forks.start(ROOT / "tests" / "forked_runs.py", "tune.py", *argv, env=env, cwd=tmp_path)

    return start


def rows_of(folder: Path, name: str = "found") -> list[dict[str, str]]:
    return list(written_rows(folder / name / "trials.csv"))


def children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def until(holds, process) -> None:
    while not holds():
        assert process.poll(0.02) is None, process.output + process.errors


def test_a_killed_search_resumes_in_parallel_and_runs_no_trial_twice(tune, tmp_path):
    space = "learning_rate: {low: 1e-4, high: 1e-2, log: true}\nloss: [focal, cross_entropy]\n"
    job = (space, "--trials", "4", "--pruner", "none", "--num_train_epochs", "3", *SMALL)
    trials = tmp_path / "found" / "trials"
    first = tune(*job)
    until(lambda: list(trials.glob("00000/checkpoints/checkpoint-*/complete.json")), first)
    orphans = children_of(first.pid)
    first.kill()
    assert orphans and not psutil.wait_procs(orphans, timeout=20)[1], "a trial must end with its search"

    second, third = tune(*job), tune(*job)
    found: list[psutil.Process] = []
    until(lambda: found.extend(children_of(second.pid) + children_of(third.pid)) or found, second)
    found[0].kill()  # as the system does when memory runs out
    assert (second.wait(), third.wait()) == (0, 0), second.errors + third.errors

    rows = rows_of(tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert sorted(row["state"] for row in rows) == ["complete"] * 3 + ["failed"]
    assert len({(row["learning_rate"], row["loss"]) for row in rows}) == 4
    (failed,) = (row for row in rows if row["state"] == "failed")
    assert "SIGKILL, which the system sends when memory runs out" in failed["reason"]
    said = first.output + second.output + third.output
    assert all(said.count(f"Trial {number}: learning_rate") == 1 + (number == "0") for number in "0123")
    assert len(list((tmp_path / "found" / "features").glob("*/manifest.json"))) == 1, "features are built once"

    scores = {row["trial"]: float(row["score"]) for row in rows if row["state"] == "complete"}
    best = max(scores, key=lambda number: (scores[number], -int(number)))
    reports = {path.parent.name: json.loads(path.read_text()) for path in trials.glob("*/report.json")}
    assert all(list(one["results"]["model"]) == ["validation"] for one in reports.values())
    assert {path.parent.name for path in trials.glob("*/checkpoints")} == {f"{int(best):05d}"}, "only of the best"
    report = json.loads((tmp_path / "found" / "best" / "report.json").read_text())
    assert report["evaluated_split"] == "test" and "best of 4 trials" in report["notes"][0]
    assert report["results"]["model"]["validation"]["accuracy"] == pytest.approx(scores[best])
    assert "best of 4 trials" in (tmp_path / "found" / "best" / "README.md").read_text()

    written = yaml.safe_load((tmp_path / "found" / "best.yaml").read_text())
    recipe = parse_recipe(
        {"output_dir": "runs/x", "model": "cnn"}, argv=["--config", str(tmp_path / "found" / "best.yaml")]
    )
    assert recipe.training.learning_rate == pytest.approx(float(rows[int(best)]["learning_rate"]), rel=1e-5)
    assert (recipe.loss.loss, recipe.run.searched_trials) == (rows[int(best)]["loss"], 4)
    assert "data_dir" not in written and str(tmp_path) not in (tmp_path / "found" / "best.yaml").read_text()
    page = (tmp_path / "found" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4 and 'src="http' not in page and str(tmp_path) not in page

    other = tune(space, "--trials", "4", "--num_train_epochs", "9", *SMALL)
    assert other.wait() == 2 and "num_train_epochs was 3.0 and is now 9.0" in other.errors


def test_a_trial_worse_than_others_is_stopped_during_training(tune, tmp_path):
    text = "weight_decay: {low: 0.0, high: 0.5}\n"
    (tmp_path / "space.yaml").write_text(text)
    others = Study(str(tmp_path / "journal.log"), "cnn_folder", read_space(tmp_path / "space.yaml"), [True])
    for _ in range(5):  # trials of another machine with impossibly good scores
        trial = others.ask()
        for epoch in range(1, 51):
            others.report(trial.number, epoch, 1.5)
        others.complete(trial.number, [1.5])
    flags = ("--trials", "6", "--storage", "journal.log", "--num_train_epochs", "50", "--no_final")
    search = tune(text, *flags, *SMALL)
    assert search.wait() == 0, search.errors
    row = rows_of(tmp_path)[-1]
    assert (row["trial"], row["state"]) == ("5", "pruned") and 1 <= int(row["evaluations"]) < 50
    assert {path.name for path in (tmp_path / "found" / "trials" / "00005").iterdir()} == {"trial.jsonl"}


def test_a_search_over_folds_uses_their_mean_and_tests_on_all(tune, tmp_path):
    steps, drawn = ("--max_steps", "2", *SMALL), ("--split", "random", "--validation_fraction", "0.4")
    search = tune("weight_decay: [0.0, 0.1]\n", "--num_folds", "2", *drawn, "--trials", "1", *steps)
    assert search.wait() == 0, search.errors
    (row,) = rows_of(tmp_path)
    reports = [
        json.loads((tmp_path / "found" / "trials" / "00000" / f"fold-{fold}" / "report.json").read_text())
        for fold in (1, 2)
    ]
    scores = [one["results"]["model"]["validation"]["accuracy"] for one in reports]
    assert float(row["score"]) == pytest.approx(sum(scores) / 2, rel=1e-4)
    assert "mean ± standard deviation" in search.output
    assert (tmp_path / "found" / "best" / "fold-2" / "report.json").exists()


def test_trials_train_on_growing_shares_of_the_clips_and_the_last_score_counts(tune, tmp_path):
    search = tune("weight_decay: [0.1]\n", "--fidelity", "train_fraction", "--no_final", "--max_steps", "2", *SMALL)
    assert search.wait() == 0, search.errors
    (row,) = rows_of(tmp_path)
    folder = tmp_path / "found" / "trials" / "00000"
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert names == ["fraction-1-of-9", "fraction-3-of-9", "fraction-9-of-9"]
    report = json.loads((folder / names[-1] / "report.json").read_text())
    assert float(row["score"]) == report["results"]["model"]["validation"]["accuracy"]
    assert row["evaluations"] == "2", "it could have been stopped after 1/9 and 1/3"
    assert len(list((tmp_path / "found" / "features").glob("*/manifest.json"))) == 1

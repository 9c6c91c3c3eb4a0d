"""Trains the best settings of a search again (or once per fold), and scores only them on the test split."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from hf_audio.files import read_json, write_json
from hf_audio.locks import locked
from hf_audio.markdown import table
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.repeated_runs import folder_names
from hf_audio.searching.plan import Plan, PlannedRun
from hf_audio.searching.trials import Trial
from hf_audio.terminal import show

BEST = "best"


def train_best(plan: Plan, best: Trial, num_trials: int) -> dict[str, dict[str, Any]]:
    """Trains a trial's settings as the recipe does, and reports on the test split; the card has the number of trials.

    Earlier results of other settings or fewer trials are removed.

    Returns:
        Reports by fold name; without folds, one with the name "".

    Raises:
        InputError: a run failed, or another process trains the same settings.
    """
    folder = plan.folder / BEST
    with locked(plan.folder / "best.lock", "training the best settings", wait=False):
        _claim(folder, {"trial": best.number, "trials": num_trials})
        reports = {}
        for name, below in zip(plan.folds, folder_names([f"fold-{name}" for name in plan.folds]), strict=True):
            flags = plan.flags_of_run(best.params, PlannedRun(name, tuple(plan.folds[name])))
            where = folder / below if name else folder
            told = f"The run of the best settings{f', fold {name}' if name else ''}"
            reports[name] = plan.runs.report(told, where, [*flags, f"--searched_trials={num_trials}"])
    return reports


def as_table(reports: dict[str, dict[str, Any]]) -> str:
    """The test scores in Markdown: those of the model and its baselines, or of each fold and their mean."""
    some = next(iter(reports.values()))
    split, metrics = some["evaluated_split"], main_metrics(some["task"]["problem_type"])
    if list(reports) == [""]:
        rows = [
            [title, *(_number(some["results"][row][split][name]) for name in metrics)]
            for row, title in some["rows"].items()
        ]
    else:
        scores = {name: report["results"]["model"][report["evaluated_split"]] for name, report in reports.items()}
        rows = [[f"fold {name}", *(_number(one[metric]) for metric in metrics)] for name, one in scores.items()]
        rows.append(
            ["mean ± standard deviation", *(_mean([one[metric] for one in scores.values()]) for metric in metrics)]
        )
    return table([split, *(METRIC_NAMES[name] for name in metrics)], rows)


def _claim(folder: Path, facts: dict[str, int]) -> None:
    """Removes earlier results of other settings, or of fewer trials than there are now."""
    written = folder.with_name(f"{BEST}.trial.json")
    if written.exists() and read_json(written) != facts:
        show(f"{folder} has the best settings of an earlier stage of this search; they will be trained again")
        written.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{BEST}.json").unlink(missing_ok=True)
    write_json(written, facts)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mean(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    if len(found) < 2:
        return _number(found[0] if found else None)
    return f"{statistics.mean(found):.3f} ± {statistics.stdev(found):.3f}"

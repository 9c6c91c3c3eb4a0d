"""The files with the results of a search: trials.csv, and best.yaml, which can be passed to --config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from hf_audio.config.reported import FIELDS, REPORTED_FLAGS
from hf_audio.config.setting import HUB_OR_PATH, NAMES, PATH
from hf_audio.data.tables import csv_text
from hf_audio.errors import one_line
from hf_audio.files import write_atomically
from hf_audio.searching.plan import Plan
from hf_audio.searching.trials import REASON, REPEATS, Trial


def trials_csv(trials: Sequence[Trial], plan: Plan) -> str:
    """A row per trial: its state, values, settings, duration, and number of evaluations."""
    names = [one.name for one in plan.space.all_dimensions]
    heads = ["trial", "state", *plan.objectives, *names, "duration_s", "begun", "evaluations", "reason"]
    rows: list[Sequence[object]] = [heads]
    for one in trials:
        if REPEATS in one.facts:
            continue
        values = [_cell(value) for value in one.values] or [""] * len(plan.objectives)
        drawn = [_cell(one.params.get(name)) for name in names]
        rest = [_cell(one.duration_s), one.begun or "", len(one.steps) or "", one.facts.get(REASON, "")]
        rows.append([one.number, one.state, *values, *drawn, *rest])
    return csv_text(rows)


def write_best(path: Path, plan: Plan, best: Trial, num_trials: int) -> None:
    """Writes the settings of a trial and those of all trials as a file for --config.

    The settings of only this trial are also written to tricks.yaml beside it, with which scripts/ablate.py compares
    them to the recipe's own over several seeds.

    Paths of this machine are omitted; give them on the command line.
    """
    drawn = plan.space.flags(best.params, plan.json_flags)
    write_atomically(path.with_name("tricks.yaml"), yaml.safe_dump({"found": drawn}, sort_keys=False))
    settings = {**shared_settings(plan), **drawn}
    text = yaml.safe_dump({**settings, "searched_trials": num_trials}, sort_keys=False, allow_unicode=True)
    recipe = Path(plan.runs.recipe).name
    told = ", ".join(f"{name} {value:.4g}" for name, value in zip(plan.objectives, best.values, strict=True))
    head = (
        f"# Trial {best.number} of {num_trials}, the best on validation: {told}\n"
        f"#   accelerate launch recipes/{recipe} --config {path.name} --data_dir DIR\n"
    )
    write_atomically(path, head + text)


def shared_settings(plan: Plan) -> dict[str, Any]:
    """The settings of all trials, except private ones such as paths."""
    chosen = plan.runs.settings.chosen
    found = {
        name: chosen[name] for name in REPORTED_FLAGS if chosen.get(name) is not None and _may_be_told(name, chosen)
    }
    return {name: _plain(value) for name, value in found.items()}


def _may_be_told(name: str, chosen: Mapping[str, Any]) -> bool:
    named, value = NAMES.get(FIELDS.get(name)), chosen[name]
    if name == "demo" or named == PATH:
        return False
    parts = value if isinstance(value, list) else [value]
    return named != HUB_OR_PATH or not any(Path(str(part)).expanduser().exists() for part in parts)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _cell(value: Any) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value if isinstance(value, int) else one_line(value)

"""The objectives of a search: a metric on the validation split, and the cost of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_audio.errors import InputError, unknown_name
from hf_audio.metrics import METRIC_NAMES

SCORE = "score"  # the metric that selects the best checkpoint
COSTS = {"parameters": "num_parameters", "milliseconds": "milliseconds"}  # their names in a trial's report
COST_TITLES = {"parameters": "parameters", "milliseconds": "milliseconds per window"}
LESS_IS_BETTER = {*COSTS, "hamming_loss"}


def checked_objectives(names: Sequence[str], *, is_classical: bool, num_jobs: int) -> tuple[str, ...]:
    """The objectives by name.

    Raises:
        InputError: an objective is unknown or given twice, none is a metric, or a cost would be meaningless.
    """
    for name in names:
        if name not in (SCORE, *COSTS, *METRIC_NAMES):
            raise unknown_name("objective", name, (SCORE, *COSTS, *METRIC_NAMES))
    if len(set(names)) < len(names):
        raise InputError(f"--objectives {' '.join(names)} has duplicates: give each once")
    if set(names) <= COSTS.keys():
        raise InputError(
            f"--objectives {' '.join(names)} has no measure of quality: add score, e.g. --objectives score {names[0]}"
        )
    if is_classical and "parameters" in names:
        raise InputError("--objectives parameters is for networks, not classical models: give score milliseconds")
    if "milliseconds" in names and num_jobs > 1:
        raise InputError(
            "--objectives milliseconds is measured, and parallel trials slow each other down: give --jobs 1"
        )
    return tuple(names)


def is_maximized(objective: str) -> bool:
    """Whether larger values are better."""
    return objective not in LESS_IS_BETTER


def values_of(report: Mapping[str, Any], objectives: Sequence[str]) -> list[float]:
    """The value of each objective in a trial's report.

    Raises:
        InputError: a metric is undefined on this validation split.
    """
    return [_value_of(report, name) for name in objectives]


def _value_of(report: Mapping[str, Any], objective: str) -> float:
    if objective in COSTS:
        return float(report["cost"][COSTS[objective]])
    scores = report["results"]["model"][report["evaluated_split"]]
    name = report["main"] if objective == SCORE else objective
    if scores.get(name) is None:
        known = [one for one in METRIC_NAMES if scores.get(one) is not None]
        raise InputError(f"{name} is undefined on this validation split: give --objectives {known[0]}")
    return float(scores[name])


def score_while_training(said: Mapping[str, Any], objective: str) -> float | None:
    """The value of an objective in a line of trial.jsonl; None if the line has none."""
    value = said["scores"].get(said.get("main") if objective == SCORE else objective)
    return float(value) if isinstance(value, int | float) else None


def title_of(objective: str, metric: str | None = None) -> str:
    """Title of an objective in figures.

    Args:
        objective: its name.
        metric: the metric behind `score`, if it is known.
    """
    if objective in COST_TITLES:
        return COST_TITLES[objective]
    name = (metric or SCORE) if objective == SCORE else objective
    return f"{METRIC_NAMES.get(name, name)} on validation"

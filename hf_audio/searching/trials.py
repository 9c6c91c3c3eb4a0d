"""The trials of a search, independent of their storage, and which of them are best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_audio.searching.space import Params

# Facts about trials: number of an equal trial, reason of a failure, whether its machine was lost
REPEATS, REASON, LOST = "repeats", "reason", "lost"

MAX_FAILURES = 5  # failures for the same reason before any trial has a score
LOG_NAME = re.compile(r" \(\d+\.log\)$")


@dataclass(frozen=True)
class Trial:
    """A stored trial.

    Attributes:
        number: from 0.
        state: "complete", "pruned", "failed", "running" or "waiting".
        values: one per objective, or empty.
        params: its settings.
        steps: scores during training, by progress.
        begun: start time in ISO format; None if it has not started.
        duration_s: None if it has not ended.
        facts: other facts.
    """

    number: int
    state: str
    values: tuple[float, ...]
    params: Params
    steps: dict[int, float] = field(default_factory=dict)
    begun: str | None = None
    duration_s: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_tried(self) -> bool:
        """Whether it counts: it is not a repeated draw, and its machine was not lost."""
        return self.state != "waiting" and REPEATS not in self.facts and LOST not in self.facts

    @property
    def key(self) -> tuple:
        """Its settings, for comparison."""
        return key_of(self.params)


def key_of(params: Mapping[str, Any]) -> tuple:
    """A combination for comparison: 1 and True are different, 0.3 and 0.1 + 2 * 0.1 are equal."""
    return tuple(sorted((name, type(value).__name__, _rounded(value)) for name, value in params.items()))


def _rounded(value: Any) -> Any:
    return float(f"{value:.12g}") if isinstance(value, float) else value


def always_fail(trials: Sequence[Trial], reasons: Sequence[str]) -> bool:
    """Whether no trial has a score and the last ones all failed for the same reason, so that others would fail too."""
    has_scores = any(one.state in ("complete", "pruned") for one in trials)
    return not has_scores and len(reasons) >= MAX_FAILURES and len({LOG_NAME.sub("", one) for one in reasons}) == 1


def best_of(trials: Sequence[Trial], maximized: Sequence[bool]) -> list[Trial]:
    """The Pareto-optimal complete trials; for one objective the best, or the first of equally good ones."""
    complete = [one for one in trials if one.state == "complete"]
    signs = [1.0 if more else -1.0 for more in maximized]
    signed = {one.number: [sign * value for sign, value in zip(signs, one.values, strict=True)] for one in complete}
    if len(signs) == 1:
        return [max(complete, key=lambda one: (signed[one.number][0], -one.number))] if complete else []

    def is_beaten(one: Trial) -> bool:
        mine = signed[one.number]
        return any(
            other != mine and all(theirs >= own for theirs, own in zip(other, mine, strict=True))
            for other in signed.values()
        )

    front = [one for one in complete if not is_beaten(one)]
    return sorted(front, key=lambda one: signed[one.number], reverse=True)

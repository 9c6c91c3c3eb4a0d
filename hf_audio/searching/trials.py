"""Trials as a search knows them, whatever stores them, and which of them are best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_audio.searching.space import Params

REPEATS, REASON, LOST = "repeats", "reason", "lost"  # facts of trials: the number of an equal one; why one failed

MAX_FAILURES = 5  # for one reason, before anything has a score
LOG_NAME = re.compile(r" \(\d+\.log\)$")


@dataclass(frozen=True)
class Trial:
    """A trial as it is stored.

    Attributes:
        number: from 0.
        state: "complete", "pruned", "failed", "running" or "waiting".
        values: one for each objective; empty where it has none.
        params: what it drew.
        steps: scores while it was trained, by how far it was.
        begun, duration_s: when it began, ISO; None where it has not, or has not ended.
        facts: what else is known of it.
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
        """Whether it counts: not a draw that was tried before, and not one whose machine was lost."""
        return self.state != "waiting" and REPEATS not in self.facts and LOST not in self.facts

    @property
    def key(self) -> tuple:
        """What it drew, to be compared."""
        return key_of(self.params)


def key_of(params: Mapping[str, Any]) -> tuple:
    """A combination, to be compared: 1 and True are two values, 0.3 and 0.1 + 2 * 0.1 are one."""
    return tuple(sorted((name, type(value).__name__, _rounded(value)) for name, value in params.items()))


def _rounded(value: Any) -> Any:
    return float(f"{value:.12g}") if isinstance(value, float) else value


def always_fail(trials: Sequence[Trial], reasons: Sequence[str]) -> bool:
    """Whether no trial has a score and those that failed just now all did for one reason, as others then would too."""
    has_scores = any(one.state in ("complete", "pruned") for one in trials)
    return not has_scores and len(reasons) >= MAX_FAILURES and len({LOG_NAME.sub("", one) for one in reasons}) == 1


def best_of(trials: Sequence[Trial], maximized: Sequence[bool]) -> list[Trial]:
    """The complete trials that none beats in all objectives: of one objective the best, the first of equal ones."""
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

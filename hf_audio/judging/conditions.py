"""The degradations that recordings are evaluated with, as a command asks for them, and their description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.degradations import DEGRADATIONS, Around


class Condition(NamedTuple):
    """A degradation of DEGRADATIONS and how strong it is, in its unit."""

    degradation: str
    strength: float


def conditions_of(asked: Sequence[str], around: Around) -> tuple[list[Condition], dict[str, str]]:
    """The conditions that are asked for, or all that act here.

    Args:
        asked: a degradation with strengths, "white_noise=20,10", or without, which are then its usual ones; none for
            all.
        around: what the model hears, and the background.

    Returns:
        Conditions, and of those that nobody asked for and that would change nothing, why.

    Raises:
        InputError: another degradation, a strength that is not a number, or one that would change nothing.
    """
    conditions, left_out = [], {}
    for text in asked or DEGRADATIONS:
        name, has_strengths, given = text.partition("=")
        if name not in DEGRADATIONS:
            raise unknown_name("degradation", name, DEGRADATIONS)
        found = DEGRADATIONS[name]
        for strength in _strengths(name, given) if has_strengths else found.strengths:
            why = found.idle(strength, around)
            if why and given:
                raise InputError(f"{name}={strength:g} would have no effect here: {why}")
            if why:
                left_out[f"{name} {strength:g} {found.unit}".strip()] = why
            else:
                conditions.append(Condition(name, strength))
        if asked and name not in {condition.degradation for condition in conditions}:
            raise InputError(f"{name} cannot act here: {found.idle(found.strengths[0], around)}")
    return list(dict.fromkeys(conditions)), left_out


def _strengths(name: str, given: str) -> list[float]:
    try:
        return [float(one) for one in given.split(",")]
    except ValueError:
        raise InputError(f"Found {name}={given}, expected numbers: {name}=20,10") from None


def notes_of(table: Mapping[str, Any]) -> list[str]:
    """What a reader of the table must know, one sentence each."""
    idle = [_named(row) for row in table["conditions"] if not row["num_changed"]]
    clipped = [
        f"{_named(row)} cuts off {row['clipped_share']:.1%} of the samples"
        for row in table["conditions"]
        if row.get("clipped_share")
    ]
    notes = [f"Not tested: {name}, because {why}." for name, why in table["left_out"].items()]
    if idle:
        notes.append(f"No recording is changed by {', '.join(idle)}.")
    return notes + [f"{one[0].upper()}{one[1:]}." for one in clipped]


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['degradation'].replace('_', ' ')} {row['strength']:g} {row['unit']}".strip()

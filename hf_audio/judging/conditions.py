"""Parses the degradations requested by a command's arguments, and describes them for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.degradations import DEGRADATIONS, Around


class Condition(NamedTuple):
    """A degradation of DEGRADATIONS and its strength, in its unit."""

    degradation: str
    strength: float


def conditions_of(degradations: Sequence[str], around: Around) -> tuple[list[Condition], dict[str, str]]:
    """The requested conditions, or all that have an effect.

    Args:
        degradations: names with strengths, "white_noise=20,10", or without, which uses the default strengths; an empty
            sequence requests all.
        around: the model's input format, and the background.

    Returns:
        The conditions, and why others that were not requested by strength are left out: they would have no effect.

    Raises:
        InputError: an unknown degradation, a strength that is not a number, or one that would have no effect.
    """
    conditions, left_out = [], {}
    for text in degradations or DEGRADATIONS:
        name, has_strengths, given = text.partition("=")
        if name not in DEGRADATIONS:
            raise unknown_name("degradation", name, DEGRADATIONS)
        found = DEGRADATIONS[name]
        for strength in _strengths(name, given) if has_strengths else found.strengths:
            why = found.idle(strength, around)
            if why and given:
                raise InputError(f"{name}={strength:g} cannot be used here: {why}")
            if why:
                left_out[f"{name} {strength:g} {found.unit}".strip()] = why
            else:
                conditions.append(Condition(name, strength))
        if degradations and name not in {condition.degradation for condition in conditions}:
            raise InputError(f"{name} cannot be used here: {found.idle(found.strengths[0], around)}")
    return list(dict.fromkeys(conditions)), left_out


def _strengths(name: str, given: str) -> list[float]:
    try:
        return [float(one) for one in given.split(",")]
    except ValueError:
        raise InputError(f"Found {name}={given}, expected numbers, such as {name}=20,10") from None


def notes_of(table: Mapping[str, Any]) -> list[str]:
    """Notes on the table for its reader, one sentence each."""
    idle = [condition_name(row) for row in table["conditions"] if not row["num_changed"]]
    clipped = [
        f"{condition_name(row)} clips {row['clipped_share']:.1%} of the samples"
        for row in table["conditions"]
        if row.get("clipped_share")
    ]
    notes = [f"Not tested: {name}, because {why}." for name, why in table["left_out"].items()]
    if idle:
        notes.append(f"No recording is changed by {', '.join(idle)}.")
    return notes + [f"{one[0].upper()}{one[1:]}." for one in clipped]


def condition_name(row: Mapping[str, Any]) -> str:
    """The name of a degradation in tables: "white noise 10 dB SNR"."""
    return f"{row['degradation'].replace('_', ' ')} {row['strength']:g} {row['unit']}".strip()

"""Settings that make rare classes count more. A run has at most one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hf_audio.config.needs import Needs

OFF = {"balanced_sampling": "none", "class_weights": "none", "logit_adjustment": 0.0}

RARE_CLASSES_NEED = Needs(
    tuple(OFF),
    lambda run: sum(getattr(run, name) != off for name, off in OFF.items()) < 2,
    "--balanced_sampling, --class_weights and --logit_adjustment all make rare classes count more: give only one",
)


def replaced_by_given(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Switches off the settings in OFF that only the recipe sets, if the user gives another one.

    Args:
        values: of all settings.
        given: names of the settings that the user gave.
    """
    if not any(name in given and values.get(name) != off for name, off in OFF.items()):
        return {}
    return {name: off for name, off in OFF.items() if name in values and name not in given}

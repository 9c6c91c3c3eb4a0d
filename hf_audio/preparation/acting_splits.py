"""Refuses settings of the split that would have no effect because of a corpus's own splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from hf_audio.config import SplitConfig
from hf_audio.errors import InputError


def require_acting_splits(
    data: SplitConfig, official: Sequence[Collection[str]], given: Collection[str] | None = None
) -> None:
    """Refuses settings that would have no effect.

    Args:
        official: each corpus's own splits or folds, empty if they are not used. With several corpora, a setting has no
            effect if it has none for all of them.
        given: names of the settings that a user gave; None: settings that differ from their defaults.

    Raises:
        InputError: names the first such setting, the reason, and what to do.
    """
    if given is None:
        given = [one.name for one in dataclasses.fields(SplitConfig) if getattr(data, one.name) != one.default]
    idle = [dict(_idle(data, of_one)) for of_one in official]
    for name, why in idle[0].items():
        if name in given and all(name in of_one for of_one in idle):
            raise InputError(f"--{name} would have no effect here: {why}")


def _idle(data: SplitConfig, official: Collection[str]) -> list[tuple[str, str]]:
    """The settings that have no effect, each with the reason and what to do."""
    chosen = next((name for name in ("test_groups", "num_folds", "fold") if getattr(data, name)), None)
    draws_test = chosen is None and "test" not in official
    draws_validation = data.validation_fraction > 0 and (chosen is not None or "validation" not in official)
    idle = []
    if not draws_test:
        why = f"--{chosen} sets the test split" if chosen else "the corpus has an official test split"
        idle.append(("test_fraction", f"{why}; leave it out{'' if chosen else ', or add --split random'}"))
    if chosen is None and "validation" in official and data.validation_from == "train":
        why = "the corpus has an official validation split; leave it out, or add --split random"
        idle.append(("validation_fraction", why))
    draws = (
        draws_test
        or draws_validation
        or data.num_folds
        or data.inner_folds
        or data.test_to_train
        or data.train_fraction < 1
    )
    if not draws:
        idle.append(("split_seed", "nothing is random, since all splits exist; leave it out"))
    return idle

"""Checks before the first trial: conflicting flags, refused values, a missing validation split."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

from hf_audio.config import Recipe
from hf_audio.data.index.columns import names_in
from hf_audio.errors import InputError
from hf_audio.preparation import corpus_clips
from hf_audio.recipe_features import check_classes
from hf_audio.recipe_model import require_possible_model
from hf_audio.repeated_runs import as_words
from hf_audio.searching.plan import OWN, Plan
from hf_audio.searching.space import Params, Space

MAX_CHECKED = 300  # combinations that are checked before the first trial


def check_trials(plan: Plan, source: str) -> None:
    """Parses combinations of the space as the recipe will: first their flags only, then with the clips.

    They include every value of every setting, and the ends of ranges; for a small space, all combinations.

    Args:
        plan: the search.
        source: name of the space, for messages.

    Raises:
        InputError: a combination is refused (names its values), or there is no validation split.
    """
    _check_whose_flags(plan, source)
    asked: list[tuple[Params, Recipe]] = []
    for params in _samples(plan.space):
        with _naming(source, params):
            words = as_words(plan.space.flags(params, plan.json_flags))
            asked.append((params, plan.runs.parsed([*words, *plan.runs_of_trial()[0].flags])))
            require_possible_model(asked[-1][1])
    if not plan.runs.settings.stored_features:
        _check_with_clips(plan, source, asked)


def _check_whose_flags(plan: Plan, source: str) -> None:
    settings = plan.runs.settings
    taken = sorted(settings.given & (OWN - {"demo", "output_dir"}))
    if taken or settings.push_to_hub:
        raise InputError(f"--{[*taken, 'push_to_hub'][0]} is set by this script for each trial: remove it")
    of_runs = {word.lstrip("-").partition("=")[0] for run in plan.runs_of_trial() for word in run.flags}
    for flag in sorted(of_runs & settings.given):
        raise InputError(f"--{flag} is set by --fidelity or --folds: remove one of the two")
    for one in plan.space.all_dimensions:
        flag = one.flag.partition(".")[0]
        if flag in OWN:
            raise InputError(f"{source} searches --{flag}, which this script sets for each trial: remove it")
        if flag in of_runs:
            raise InputError(f"{source} searches --{flag}, which --fidelity or --folds sets: remove one of the two")


def _check_with_clips(plan: Plan, source: str, asked: list[tuple[Params, Recipe]]) -> None:
    """Refuses a corpus without a validation split, and settings that do not fit its classes."""
    settings = plan.runs.parsed(plan.runs_of_trial()[0].flags)
    found = corpus_clips(settings.data, token=settings.token, given=settings.given)
    searches_split = any(one.flag.startswith("validation") for one in plan.space.all_dimensions)
    if "validation" not in names_in(found.clips["split"]) and not searches_split:
        raise InputError(
            f"{found.card.name} has no validation split, on which trials are compared: give --validation_fraction 0.15"
        )
    for params, recipe in asked if settings.classical is None else ():
        with _naming(source, params):
            check_classes(recipe, found.labels, found.card.name)


@contextlib.contextmanager
def _naming(source: str, params: Params) -> Iterator[None]:
    """Adds the values of a combination to error messages."""
    try:
        yield
    except InputError as error:
        shown = ", ".join(f"{name} {value}" for name, value in params.items())
        raise InputError(f"{source}, with {shown}: {error}") from None


def _samples(space: Space) -> Iterator[Params]:
    """Combinations with each value of each setting and random other values; for a small space, all combinations."""
    if space.size is not None and space.size <= MAX_CHECKED:
        yield from space.combinations()
        return
    drawn = random.Random(0)
    for wanted in itertools.islice(space.all_dimensions, MAX_CHECKED):
        for value in wanted.ends[:MAX_CHECKED]:
            end = partial(_end, name=wanted.name, value=value, drawn=drawn)
            for _ in range(50):  # alternatives are random: draws until one has the setting
                params = space.draw(end)
                if wanted.name in params:
                    yield params
                    break


def _end(one: Any, name: str, value: Any, drawn: random.Random) -> Any:
    return value if one.name == name else drawn.choice(one.ends)

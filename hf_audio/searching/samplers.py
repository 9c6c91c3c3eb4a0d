"""The samplers that draw the next trial, and the pruners that stop a trial early."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Sequence
from typing import Any

from hf_audio.errors import InputError, unknown_name
from hf_audio.searching.evolution import drawn_by_evolution
from hf_audio.searching.space import Choice, Params, Space
from hf_audio.searching.trials import Trial, key_of

SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsga2")
PRUNERS = ("median", "hyperband", "none")
REDUCTION = 3  # of successive halving: one of this many trials continues
MAX_ENUMERATED = 100_000  # maximum number of combinations to search for an untried one


def check_sampler(sampler: str, space: Space, num_objectives: int) -> None:
    """Raises InputError if a sampler does not fit a space."""
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    if sampler == "grid" and not (space.is_flat and space.size):
        raise InputError(
            "--sampler grid tries every combination, but this space is infinite or has an `either`: list the values "
            "of each setting, or give --sampler tpe"
        )
    choices = [one.name for one in space.dimensions if isinstance(one, Choice)]
    if sampler == "cmaes" and (choices or len(space.dimensions) < 2):
        raise InputError(
            "--sampler cmaes searches two or more ranges of numbers, but this space has "
            f"{'the choices ' + ', '.join(choices) if choices else 'only one'}: write {{low: ..., high: ...}}, or give "
            "--sampler tpe"
        )
    if sampler == "cmaes" and num_objectives > 1:
        raise InputError("--sampler cmaes supports one objective: give --sampler nsga2 for several")


def sampler_of(optuna: Any, name: str, space: Space, *, seed: int, num_trials: int, population: int) -> Any:
    """Optuna's sampler for the next trial. Its draws do not depend on the process, so a resumed search continues them.

    Args:
        optuna: the library.
        name: name of the sampler.
        space: the search space.
        seed: of the search.
        num_trials: number of existing trials.
        population: of NSGA-II.
    """
    samplers, drawn_seed = optuna.samplers, zlib.crc32(f"{seed} {num_trials}".encode())
    if name == "grid":
        return samplers.GridSampler({one.name: list(one.ladder) for one in space.dimensions}, seed=seed)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=drawn_seed, population_size=population)
    if name == "tpe":
        return samplers.TPESampler(seed=drawn_seed, constant_liar=True)
    return samplers.RandomSampler(seed=drawn_seed)


def proposed(name: str, space: Space, trials: Sequence[Trial], maximized: bool, seed: int) -> Params | None:
    """The next combination of a sampler that is not Optuna's; None for Optuna's samplers."""
    return drawn_by_evolution(space, trials, maximized, seed) if name == "cmaes" else None


def an_untried(space: Space, trials: Sequence[Trial], seed: int) -> Params | None:
    """A random untried combination among the first MAX_ENUMERATED; None if there is none."""
    tried = {one.key for one in trials if one.is_tried}
    found = itertools.islice(space.combinations(), MAX_ENUMERATED)
    left = [params for params in found if key_of(params) not in tried]
    return random.Random(seed).choice(left) if left else None


def pruner_of(optuna: Any, name: str, min_resource: int, max_resource: int) -> Any:
    """Optuna's pruner; "halving" is successive halving.

    Args:
        optuna: the library.
        name: name of the pruner.
        min_resource, max_resource: progress of a trial before it may be pruned, and at its end.
    """
    pruners = optuna.pruners
    if name == "median":
        return pruners.MedianPruner()
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource, max_resource, reduction_factor=REDUCTION)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource, reduction_factor=REDUCTION)
    return pruners.NopPruner()

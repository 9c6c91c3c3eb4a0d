"""Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421): does the score depend on the relevant parts?

The window is divided into blocks. They are deleted (set to the baseline) or inserted (into the baseline) in order of
relevance, and the score of the class is computed after each step. The area under the curve is compared with random
orders of the blocks: with a faithful method, the score falls or rises faster than with random orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.explaining.questions import Question

BLOCKS_OVER_TIME, BLOCKS_OVER_BANDS = 24, 12
NUM_STEPS, NUM_ORDERS = 10, 5


class Curves(NamedTuple):
    """Scores after each step of deletion and of insertion, from no blocks to all: float64 `[..., points]`."""

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """The areas under the deletion and insertion curves, with equal steps from 0 to 1."""
        return tuple(np.trapezoid(scores, dx=1 / NUM_STEPS, axis=-1) for scores in self)


def random_curves(question: Question, seed: int) -> Curves:
    """The curves of NUM_ORDERS random orders of the blocks, `[orders, points]`, which all methods are compared with."""
    random, blocks = np.random.default_rng(seed), blocks_of(question)
    found = [_curves_of(question, blocks, random.permutation(blocks.max() + 1)) for _ in range(NUM_ORDERS)]
    return Curves(*map(np.stack, zip(*found, strict=True)))


def curves_of(question: Question, relevance: np.ndarray) -> Curves:
    """The curves with blocks in order of relevance, the most relevant first.

    Args:
        relevance: `[steps, bands]`.
    """
    blocks = blocks_of(question)
    return _curves_of(question, blocks, np.argsort(-np.bincount(blocks.ravel(), relevance.ravel()), kind="stable"))


def blocks_of(question: Question) -> np.ndarray:
    """The block of each cell, int64 `[steps, bands]`."""
    grid = question.grid
    over_time = np.arange(grid.num_steps) * min(BLOCKS_OVER_TIME, grid.num_steps) // grid.num_steps
    over_bands = np.arange(grid.num_bands) * min(BLOCKS_OVER_BANDS, grid.num_bands) // grid.num_bands
    return over_time[:, None] * (over_bands.max() + 1) + over_bands


def _curves_of(question: Question, blocks: np.ndarray, order: np.ndarray) -> Curves:
    """The curves of one order of the blocks."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    places = place[blocks]
    counts = [round(len(order) * step / NUM_STEPS) for step in range(NUM_STEPS + 1)]
    scores = question.scores(_changed(question, places, counts))
    return Curves(scores[: len(counts)], scores[len(counts) :])


def _changed(question: Question, places: np.ndarray, counts: list[int]) -> Iterator[Tensor]:
    """Inputs with the first blocks deleted, then inputs with only these."""
    for is_insertion in (False, True):
        for count in counts:
            chosen = question.grid.spread((places < count)[None], question.values)
            first, second = question.values, question.baseline
            yield torch.where(chosen, first, second) if is_insertion else torch.where(chosen, second, first)

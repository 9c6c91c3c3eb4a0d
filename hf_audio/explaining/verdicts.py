"""The result of an explanation's checks in one sentence, so that no unfaithful explanation goes unmarked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hf_audio.explaining.perturbation_curves import Curves
from hf_audio.explaining.randomized_weights import SAME


class Verdict(NamedTuple):
    """The verdict on one method for one recording.

    Attributes:
        says_something: whether the explanation is faithful: it passed both checks.
        sentence: why, or why not.
        deletion_area, insertion_area: means over windows.
        random_deletion_area, random_insertion_area: of random orders.
        correlation: with random weights in all layers.
    """

    says_something: bool
    sentence: str
    deletion_area: float
    insertion_area: float
    random_deletion_area: float
    random_insertion_area: float
    correlation: float


def verdict_of(
    curves: Sequence[tuple[Curves, Curves]], correlations: Sequence[float], is_flat: bool = False
) -> Verdict:
    """The verdict on one method.

    Args:
        curves: for each window, the curves of the method and those of random orders.
        correlations: rank correlations with explanations from more and more random weights.
        is_flat: whether the relevance is the same everywhere, so that the order of the blocks is arbitrary.
    """
    own, others = zip(*curves, strict=True)
    deletion, insertion = np.mean([one.areas for one in own], axis=0)
    of_random = np.mean([np.stack(one.areas) for one in others], axis=0)  # [2, orders]
    deletes_faster, inserts_faster = deletion < of_random[0].min(), insertion > of_random[1].max()
    means, last = of_random.mean(axis=1), correlations[-1]
    is_same = last >= SAME
    numbers = (float(deletion), float(insertion), float(means[0]), float(means[1]), float(last))
    if is_flat:
        sentence = "Not faithful: the relevance is the same everywhere."
    elif not (deletes_faster or inserts_faster):
        sentence = "Not faithful: the score depends no more on the blocks marked as relevant than on random ones."
    elif not (deletes_faster and inserts_faster):
        does, not_ = ("falls", "rise") if deletes_faster else ("rises", "fall")
        sentence = (
            f"Hardly faithful: the score {does} faster than with random orders but does not {not_} faster; one of the "
            "two happens by chance about one time in three."
        )
    elif is_same:
        sentence = (
            f"Hardly faithful: with random weights, the explanation stays nearly the same (rank correlation "
            f"{last:.2f}), so it shows the sound rather than what the model has learned."
        )
    else:
        sentence = (
            "Faithful: the score falls and rises faster than with random orders, and the explanation changes with "
            f"random weights (rank correlation {last:.2f})."
        )
    says_something = deletes_faster and inserts_faster and not (is_same or is_flat)
    return Verdict(bool(says_something), sentence, *numbers)

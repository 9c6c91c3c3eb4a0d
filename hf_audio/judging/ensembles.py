"""Ensembles: the mean of the probabilities of several models, with equal weights or weights fitted on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.aligning import aligned, check_names
from hf_audio.judging.judged_clips import JudgedClips

WEIGHTS = {
    "mean": "all models have the same weight",
    "validation": "weights with the smallest log loss on validation; a model that adds nothing gets 0",
}
MIN_PROBABILITY = 1e-12  # of an ensemble, and 1 minus this is the maximum, so that its logits are finite


class Ensemble(NamedTuple):
    """The combined scores of several models.

    Attributes:
        judged: in the form of one model's scores, with one window per clip.
        weights: by model name, 0 to 1; they sum to 1.
    """

    judged: JudgedClips
    weights: dict[str, float]


def ensemble(
    judged: Sequence[JudgedClips],
    weights: str = "mean",
    *,
    validation: Sequence[JudgedClips] | None = None,
    aggregation: str = "mean_logits",
    name: str | None = None,
) -> Ensemble:
    """The weighted mean of the probabilities of two or more models.

    Args:
        judged: the same clips for each model, matched by clip_id.
        weights: one of WEIGHTS.
        validation: for "validation", the scores of the same models (by name) for clips that are not evaluated.
        aggregation: from windows to clips, for each model.
        name: name of the ensemble.

    Raises:
        InputError: fewer than two models, models with other clips or classes, validation that is missing or would have
            no effect, scores that are not probabilities.
    """
    if weights not in WEIGHTS:
        raise unknown_name("kind of weights", weights, WEIGHTS)
    _check(judged, weights, validation, aggregation)
    models = aligned(judged)
    probabilities = [clip_probabilities(one, aggregation) for one in models]
    shares = np.full(len(models), 1 / len(models))
    if validation is not None:
        shares = _best_weights(validation, [one.name for one in models], aggregation)
    together = np.tensordot(shares, np.stack(probabilities), axes=1)
    names = [one.name for one in models]
    kind = "mean" if weights == "mean" else "weighted mean"
    one = _as_judged(models[0], together, name or f"{kind} of {' and '.join(names)}")
    return Ensemble(one, dict(zip(names, shares.tolist(), strict=True)))


def require_ensemble(aggregation: str) -> None:
    """Raises InputError if an aggregation does not give probabilities, which ensembles need."""
    if aggregation == "sum_normalized":
        raise InputError(
            "Scores of sum_normalized are not probabilities, which an ensemble needs: use another aggregation, or "
            "leave out the ensemble"
        )


def best_weights(probabilities: Sequence[np.ndarray], targets: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """The model weights that minimize the log loss of the weighted mean; 0 or more, with a sum of 1.

    The problem is convex, so the minimum is global: the loss is -log of a weighted mean of the probabilities that the
    models give to the truth.

    Args:
        probabilities: `[clips, classes]` of validation, for each model.
        targets: `[clips, classes]`, NaN where unknown.

    Returns:
        float64 `[models]`.

    Raises:
        InputError: no clip has a known label.
    """
    true = targets > 0.5
    counts = ~np.isnan(targets) if labels.is_multi_label else true
    if not counts.any():
        raise InputError("No validation clip has known labels, so the weights of the models cannot be fitted")
    of_truth = np.stack([np.where(true, one, 1 - one)[counts] for one in probabilities], axis=1)
    of_truth = np.maximum(of_truth, MIN_PROBABILITY)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mean = of_truth @ weights
        return -float(np.log(mean).mean()), -(of_truth / mean[:, None]).mean(axis=0)

    num = len(probabilities)
    of_sum = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    found = minimize(
        loss,
        np.full(num, 1 / num),
        jac=True,
        bounds=[(1e-9, 1.0)] * num,
        constraints=of_sum,
        method="SLSQP",
        options={"ftol": 1e-10, "maxiter": 500},
    )
    shares = np.where(found.x < 1e-6, 0.0, found.x)
    return shares / shares.sum()


def _check(
    judged: Sequence[JudgedClips], weights: str, validation: Sequence[JudgedClips] | None, aggregation: str
) -> None:
    if len(judged) < 2:
        raise InputError(f"Found {len(judged)} models; an ensemble needs two or more")
    check_names(judged)
    if (weights == "validation") != (validation is not None):
        problem = "need validation clips, but none were given" if validation is None else "do not use validation clips"
        raise InputError(
            f"Weights by {weights!r} {problem}: give the clips of a validation split only with 'validation'"
        )
    require_ensemble(aggregation)


def _best_weights(validation: Sequence[JudgedClips], names: Sequence[str], aggregation: str) -> np.ndarray:
    check_names(validation)
    of_name = {one.name: one for one in validation}
    if set(of_name) != set(names):
        raise InputError(
            f"The validation scores are from {', '.join(of_name)}, but the models are {', '.join(names)}: give the "
            "same models for both"
        )
    models = aligned([of_name[name] for name in names])
    return best_weights([clip_probabilities(one, aggregation) for one in models], models[0].targets, models[0].labels)


def _as_judged(first: JudgedClips, probabilities: np.ndarray, name: str) -> JudgedClips:
    """Scores whose sigmoid or softmax is `probabilities`."""
    probabilities = np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    logits = np.log(probabilities)
    if first.labels.is_multi_label:
        logits -= np.log1p(-probabilities)
    return dataclasses.replace(
        first,
        name=name,
        window_logits=logits.astype(np.float32),
        clip_of_window=np.arange(len(first)),
        window_starts_s=np.zeros(len(first)),
    )

"""Out-of-class detection: whether a model's scores separate known clips from sounds of none of its classes.

    max_probability   largest probability (Hendrycks and Gimpel 2017, arXiv 1610.02136)
    entropy           negative entropy; in multi-label tasks summed over the binary decisions
    max_logit         largest logit (Hendrycks et al. 2022, arXiv 1911.11132)
    energy            log of the sum of the exponentials (Liu et al. 2020, arXiv 2010.03759); in multi-label tasks the
                      sum over classes of log(1 + exp) (Wang et al. 2021, arXiv 2107.02363)

Each score is larger for sounds that seem known to the model. In multi-label tasks, a confident "no" to all classes has
as little entropy as a confident "yes", so the ROC AUC of entropy may be below 0.5. That is a finding, not an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import entr, logsumexp
from sklearn.metrics import roc_auc_score

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

TRUE_POSITIVE_RATE = 0.95  # at which false positives are counted


def in_class_scores(logits: np.ndarray, labels: LabelSpace) -> dict[str, np.ndarray]:
    """Each score, float64 `[clips]` by name, from logits `[clips, classes]`."""
    logits = np.asarray(logits, dtype=np.float64)
    energy = np.logaddexp(0, logits).sum(axis=1) if labels.is_multi_label else logsumexp(logits, axis=1)
    return {
        **_of_probabilities(labels.probabilities(logits), labels),
        "max_logit": logits.max(axis=1),
        "energy": energy,
    }


def known_against_unknown(
    known: np.ndarray, unknown: np.ndarray, labels: LabelSpace, *, are_logits: bool = True
) -> dict[str, Any]:
    """How well scores separate sounds of the model's classes from others, ready for JSON.

    Args:
        known: logits `[clips, classes]` of sounds that have one of the classes.
        unknown: logits of sounds that have none.
        labels: the classes, and whether one or several apply.
        are_logits: False if both are probabilities, which have no max_logit and no energy.

    Returns:
        num_known, num_unknown, and scores, by name:
            roc_auc: the probability that a known sound has a higher score than an unknown one; 0.5 is chance.
            fpr_at_95_tpr: the share of unknown sounds that are accepted when 95% of the known ones are.
            threshold: the score at which 95% of the known ones are accepted.

    Raises:
        InputError: no known or no unknown clips, shapes that do not match the classes, or numbers that are not finite.
    """
    known, unknown = (np.asarray(one, dtype=np.float64) for one in (known, unknown))
    for name, one in (("known", known), ("unknown", unknown)):
        if one.ndim != 2 or one.shape[1] != len(labels) or not len(one):
            raise InputError(
                f"Found {name} sounds of shape {one.shape}: expected [clips, {len(labels)} classes] with at least one "
                "clip"
            )
        if not np.isfinite(one).all():
            raise InputError(f"The model's scores for {name} sounds are not finite and cannot be compared")
    scored = in_class_scores if are_logits else _of_probabilities
    of_known, of_unknown = scored(known, labels), scored(unknown, labels)
    return {
        "num_known": len(known),
        "num_unknown": len(unknown),
        "scores": {name: _separation(of_known[name], of_unknown[name]) for name in of_known},
    }


def _of_probabilities(probabilities: np.ndarray, labels: LabelSpace) -> dict[str, np.ndarray]:
    entropy = entr(probabilities)
    if labels.is_multi_label:
        entropy = entropy + entr(1 - probabilities)
    return {"max_probability": probabilities.max(axis=1), "entropy": -entropy.sum(axis=1)}


def _separation(known: np.ndarray, unknown: np.ndarray) -> dict[str, float]:
    is_known = np.repeat([1, 0], [len(known), len(unknown)])
    threshold = np.sort(known)[::-1][int(np.ceil(TRUE_POSITIVE_RATE * len(known))) - 1]
    return {
        "roc_auc": float(roc_auc_score(is_known, np.concatenate([known, unknown]))),
        "fpr_at_95_tpr": float((unknown >= threshold).mean()),
        "threshold": float(threshold),
    }

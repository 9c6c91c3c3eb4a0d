"""One model's answers for the evaluated clips: probabilities, thresholds and decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.aggregation import clip_probabilities, fitted_settings
from hf_audio.judging.deciding import choose_thresholds, decisions_of
from hf_audio.judging.judged_clips import JudgedClips

THRESHOLDS = {
    "validation": "the one with the best micro F1 on validation; without validation, the model's own",
    "per_class": "one per class, each with the best F1 of its class on validation",
    "model": "the one in the model's config, or 0.5 if it has none",
}
Aggregate = Callable[[JudgedClips], np.ndarray]


class ModelAnswers(NamedTuple):
    """One model's answers for the evaluated clips.

    Attributes:
        judged: the scores of the clips.
        validation: the scores of the validation clips; None if the data have none.
        probabilities: float64 `[clips, classes]`.
        decisions: int8 `[clips, classes]`.
        thresholds: float64 `[classes]`.
        thresholds_from: their source, in words.
        aggregate: from windows to probabilities, with fitted settings.
        told: the fitted settings of the aggregation, by name.
    """

    judged: JudgedClips
    validation: JudgedClips | None
    probabilities: np.ndarray
    decisions: np.ndarray
    thresholds: np.ndarray
    thresholds_from: str
    aggregate: Aggregate
    told: dict[str, Any]


def model_answers(
    judged: JudgedClips,
    validation: JudgedClips | None,
    aggregation: str,
    thresholds: str,
    own: Mapping[str, float],
) -> ModelAnswers:
    """Aggregates the scores of one model per clip, and decides on classes.

    Args:
        judged, validation: the scores of the evaluated and of the validation clips.
        aggregation: from windows to clips, in AGGREGATIONS.
        thresholds: source of multi-label thresholds, in THRESHOLDS.
        own: the models' own thresholds, by name.

    Raises:
        InputError: an unknown aggregation or source, or thresholds per class without validation.
    """
    labels, told = judged.labels, fitted_settings(aggregation, validation)
    aggregate: Callable[[JudgedClips], np.ndarray] = partial(clip_probabilities, aggregation=aggregation, **told)
    probabilities = aggregate(judged)
    chosen, source = np.full(len(labels), 0.5), "the class with the largest score"
    if thresholds not in THRESHOLDS:
        raise unknown_name("source of thresholds", thresholds, THRESHOLDS)
    if labels.is_multi_label or thresholds == "per_class":
        chosen, source = _thresholds(judged.name, validation, aggregate, thresholds, own, labels)
    decisions = decisions_of(probabilities, labels, chosen)
    return ModelAnswers(judged, validation, probabilities, decisions, chosen, source, aggregate, told)


def _thresholds(
    name: str,
    validation: JudgedClips | None,
    aggregate: Aggregate,
    source: str,
    own: Mapping[str, float],
    labels: LabelSpace,
) -> tuple[np.ndarray, str]:
    """Thresholds `[classes]`, and their source in words."""
    if source == "per_class" and validation is None:
        raise InputError("Thresholds per class need a validation split, which these data lack: use the model's own")
    if source != "model" and validation is not None:
        probabilities = aggregate(validation)
        chosen = choose_thresholds(probabilities, validation.targets, labels, per_class=source == "per_class")
        of = "one threshold per class" if source == "per_class" else "one threshold for all classes"
        return chosen, f"{of}, with the best F1 on validation"
    if name in own:
        return np.full(len(labels), own[name]), "the model's own threshold"
    return np.full(len(labels), 0.5), "0.5, since there is no validation split and the model has no threshold"

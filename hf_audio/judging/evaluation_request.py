"""The settings of an evaluation, checked before models run, which may take hours."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import require_aggregation
from hf_audio.judging.calibrated_models import check_calibration, places_of_classes
from hf_audio.judging.class_mapping import GivenMap, map_classes
from hf_audio.judging.conditions import conditions_of
from hf_audio.judging.degradations import Around
from hf_audio.judging.ensembles import require_ensemble
from hf_audio.judging.evaluation_data import VALIDATION, EvaluationData
from hf_audio.judging.intervals import check_draws
from hf_audio.judging.report import known_metric
from hf_audio.judging.selective import check_selective
from hf_audio.predictor import Predictor


@dataclass(frozen=True)
class EvaluationRequest:
    """How models are evaluated.

    Attributes:
        label_map: a file, see `class_mapping`.
        protocol: name of a protocol.
        allow_training_data: evaluate even on data that a model was trained on, and say so in the report.
        window_s, hop_s, num_threads: for recordings, see `score`.
        unknown: sounds of none of the classes.
        robustness: degradations to test, an empty sequence for all; None skips the test.
        robustness_clips: the approximate number of clips to degrade.
        calibrate: kind of scaling to save the model with, in `calibrated_model`; for a single model.
    """

    label_map: str | None = None
    protocol: str | None = None
    allow_training_data: bool = False
    window_s: float | None = None
    hop_s: float | None = None
    num_threads: int | None = None
    unknown: EvaluationData | None = None
    robustness: Sequence[str] | None = None
    robustness_clips: int = 100
    calibrate: str | None = None
    calibrated_model: str = ""


def check_judging(
    name: str,
    splits: Collection[str],
    split: str,
    labels: LabelSpace,
    *,
    calibrate: str | None = None,
    aggregation: str = "mean_logits",
    thresholds: str = "validation",
    metric: str | None = None,
    ensemble: str | None = None,
    risk: float | None = None,
    coverage: float | None = None,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    **_: Any,
) -> None:
    """Checks the settings of a report against the classes and splits of the data.

    Args:
        name: name of the data.
        splits: the splits of the data; `split` is evaluated.
        calibrate: see `EvaluationRequest`; all others are settings of `judged_report`.

    Raises:
        InputError: a setting that is invalid, or that these data do not allow.
    """
    check_draws(num_draws, confidence)
    known_metric(metric, labels)
    require_aggregation(aggregation, labels)
    if ensemble:
        require_ensemble(aggregation)
    if risk is not None or coverage is not None:
        check_selective(risk, coverage)
    if seed < 0:
        raise InputError(f"Found --seed {seed}, expected 0 or more")
    if thresholds != "validation" and not labels.is_multi_label:
        raise InputError(
            f"--thresholds {thresholds} would have no effect here: each clip has one class, and the largest score "
            "decides; leave it out"
        )
    fitted = {"risk": risk is not None, "coverage": coverage is not None, "calibrate": calibrate is not None}
    fitted |= {f"ensemble {VALIDATION}": ensemble == VALIDATION, "thresholds per_class": thresholds == "per_class"}
    for flag, is_given in fitted.items():
        if is_given and (VALIDATION not in splits or split == VALIDATION):
            raise InputError(
                f"--{flag} is fitted on a validation split other than the evaluated one, and {name} has none: leave it "
                "out, or give data with a validation split (a recipe draws one with --validation_fraction)"
            )


def check_model(
    predictor: Predictor, data: EvaluationData, request: EvaluationRequest, given: GivenMap | None = None
) -> None:
    """Checks that a model can be evaluated on some data as requested.

    Args:
        given: the entries of a label map for this model.

    Raises:
        InputError: the model has none of the classes, cannot read the features, or cannot be saved with the scaling; or
            degradations would have no effect on its input.
    """
    mapping = map_classes(predictor.labels, data.labels, given, model=predictor.name, data=data.name)
    if len(mapping.labels) < 2:  # map_classes accepts a single class of multi-label data
        raise InputError(
            f"{predictor.name} and {data.name} share only one class, {mapping.labels.names[0]!r}, but two are needed: "
            "give --label_map FILE.yaml with a line for each class of the data"
        )
    if data.features is not None:
        predictor.check_reads(predictor.as_read(data.features))
    if request.calibrate:
        check_calibration(predictor, request.calibrate, request.calibrated_model)
        places_of_classes(predictor, mapping.labels)
    if request.robustness is not None:
        conditions_of(request.robustness, Around(predictor.sample_rate, predictor.is_stereo))

"""What is asked of an evaluation, and whether it is possible: checked before models run, which may take hours."""

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
from hf_audio.judging.selective import require_sureness
from hf_audio.predictor import Predictor


@dataclass(frozen=True)
class Asked:
    """What is asked of models beside their scores.

    Attributes:
        label_map: file, see `class_mapping`.
        protocol: its name.
        allow_training_data: evaluate on what a model was trained on, and say so.
        window_s, hop_s, num_threads: of recordings, see `score`.
        unknown: sounds of none of the classes.
        robustness: degradations, none for all; None does without.
        robustness_clips: about so many are heard in worse states.
        calibrate: kind of scaling that the model, which is the only one, is saved with in `calibrated_model`.
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
    """Refuses what clips of such classes and splits cannot be judged by.

    Args:
        name: of the data.
        splits: that they have; `split` is evaluated.
        calibrate: see `Asked`; the others are settings of `judged_report`.

    Raises:
        InputError: see above.
    """
    check_draws(num_draws, confidence)
    known_metric(metric, labels)
    require_aggregation(aggregation, labels)
    if ensemble:
        require_ensemble(aggregation)
    if risk is not None or coverage is not None:
        require_sureness(risk, coverage)
    if seed < 0:
        raise InputError(f"Found --seed {seed}, expected 0 or more")
    if thresholds != "validation" and not labels.is_multi_label:
        raise InputError(
            f"--thresholds {thresholds} would do nothing here: each clip has one class, and the largest score decides; "
            "leave it out"
        )
    fitted = {"risk": risk is not None, "coverage": coverage is not None, "calibrate": calibrate is not None}
    fitted |= {f"ensemble {VALIDATION}": ensemble == VALIDATION, "thresholds per_class": thresholds == "per_class"}
    for flag, is_asked in fitted.items():
        if is_asked and (VALIDATION not in splits or split == VALIDATION):
            raise InputError(
                f"--{flag} is fitted on a validation split that is not evaluated itself, and {name} has none: leave it "
                "out, or give data that have one (a recipe draws one with --validation_fraction)"
            )


def check_model(predictor: Predictor, data: EvaluationData, asked: Asked, given: GivenMap | None = None) -> None:
    """Refuses what a model cannot be asked of some data.

    Args:
        given: lines of a label map for this model.

    Raises:
        InputError: it has no classes of the data, does not read the features, cannot be saved with the calibration, or
            degradations would not act on what it hears.
    """
    mapping = map_classes(predictor.labels, data.labels, given, model=predictor.name, data=data.name)
    if len(mapping.labels) < 2:  # of several labels, one can be mapped
        raise InputError(
            f"{predictor.name} and {data.name} share one class only, {mapping.labels.names[0]!r}: nothing can be told "
            "apart; give --label_map FILE.yaml with a line for each class of the data"
        )
    if data.features is not None:
        predictor.check_reads(predictor.as_read(data.features))
    if asked.calibrate:
        check_calibration(predictor, asked.calibrate, asked.calibrated_model)
        places_of_classes(predictor, mapping.labels)
    if asked.robustness is not None:
        conditions_of(asked.robustness, Around(predictor.sample_rate, predictor.is_stereo))

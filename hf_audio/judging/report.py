"""The evaluation of one or several models on the same clips, as one report of plain values.

    report = judge(models, split="test", data={"name": "IRMAS"})
    write_json(folder / "report.json", report)
    write_page(folder, report)

A report holds every number that its page shows, and says how each came about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.aggregation import clip_probabilities, fitted_settings
from hf_audio.judging.comparing import compare
from hf_audio.judging.deciding import choose_thresholds, decisions_of
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.model_facts import Asked, Drawn, model_facts
from hf_audio.metrics import choose_threshold, classification_metrics, main_metrics
from hf_audio.privacy import public_value

THRESHOLDS = {
    "validation": "the one with the best micro F1 on validation; without validation the model's own",
    "per_class": "one per class, each with the best F1 of its class on validation",
    "model": "the one in the model's config, else 0.5",
}
VALIDATION = "validation"
Aggregate = Callable[[JudgedClips], np.ndarray]
FEW_GROUPS = 20  # intervals from drawing fewer are rough


class Answers(NamedTuple):
    """What one model says of the clips that are judged.

    Attributes:
        judged: the clips.
        validation: the model's clips of validation; None where the data have none.
        probabilities: float64 `[clips, classes]`.
        decisions: int8 `[clips, classes]`.
        thresholds: float64 `[classes]`.
        thresholds_from: where they come from, in words.
        aggregate: from windows to probabilities, told what it needs to be told.
        told: that, by name.
    """

    judged: JudgedClips
    validation: JudgedClips | None
    probabilities: np.ndarray
    decisions: np.ndarray
    thresholds: np.ndarray
    thresholds_from: str
    aggregate: Aggregate
    told: dict[str, Any]


def judge(
    models: Sequence[JudgedClips],
    *,
    split: str,
    data: Mapping[str, Any] | None = None,
    aggregation: str = "mean_logits",
    thresholds: str = "validation",
    own_thresholds: Mapping[str, float] | None = None,
    metric: str | None = None,
    protocol: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    risk: float | None = None,
    coverage: float | None = None,
    unknown: Mapping[str, JudgedClips] | None = None,
    robustness: Mapping[str, Mapping[str, Any]] | None = None,
    windows_s: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The report of some models on the clips of one split, which must be the same clips for all of them.

    Args:
        models: what each says of the clips of the split and, where the data have them, of validation, which thresholds
            and calibration are fitted on.
        split: that is judged.
        data: what is said of the data: name; dataset_id, config and revision on the Hub; question, what was asked.
        aggregation: from windows to clips, in AGGREGATIONS.
        thresholds: where those of multi-label decisions come from, in THRESHOLDS.
        own_thresholds: of models by their names.
        metric: the main one; by default the task's.
        protocol: of the corpus, as the protocols of this package say it.
        notes: sentences that the reader must know.
        num_draws, confidence, seed: of the bootstrap.
        risk, coverage: for which of the two the confidence is chosen below which a model says "don't know".
        unknown: by model what it says of sounds that have none of the classes.
        robustness: by model what became of its scores in worse recordings.
        windows_s: by model how long its windows are.

    Returns:
        JSON-able: data, settings, metric, baseline, models (by name: all that is known of one), comparison (None of
        one model), notes.

    Raises:
        InputError: no models or clips, other clips or classes, one class only, or settings that do not act.
    """
    clips = _same_clips(models, split)
    labels, asked = clips[0].labels, Asked(risk, coverage, Drawn(num_draws, confidence, seed))
    metric = known_metric(metric, labels)
    validation = [model.of_split(VALIDATION) if split != VALIDATION else None for model in models]
    answers = {
        one.name: _answers(one, held_out if held_out else None, aggregation, thresholds, own_thresholds or {})
        for one, held_out in zip(clips, validation, strict=True)
    }
    given = {"unknown": unknown, "robustness": robustness, "window_s": windows_s}
    facts = {}
    for name, one in answers.items():
        of_model: dict[str, Any] = {key: (by_name or {}).get(name) for key, by_name in given.items()}
        facts[name] = model_facts(one, asked, aggregation=aggregation, **of_model)
    settings = {"aggregation": aggregation, **asked.drawn._asdict()}
    settings["num_draws_of_parts"] = asked.drawn.for_parts().num_draws  # of slices and durations
    report = {
        "data": {**public_value(data or {}), **_data_facts(clips[0], split)},
        "settings": settings | ({"thresholds": thresholds} if labels.is_multi_label else {}),
        "protocol": protocol,
        "metric": metric,
        "baseline": _baseline(clips[0], validation[0]),
        "models": facts,
        "comparison": _comparison(answers, metric, asked.drawn),
        "notes": [*notes, *_notes(answers)],
    }
    return ready_for_json(report)


def ready_for_json(value: Any) -> Any:
    """Plain values of NumPy's and of intervals; what is not a number is None."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): ready_for_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [ready_for_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _same_clips(models: Sequence[JudgedClips], split: str) -> list[JudgedClips]:
    """The clips of the split, of each model.

    Raises:
        InputError: there are none, or those of two models differ.
    """
    if not models:
        raise InputError("There is no model to evaluate: name one or more")
    if len({model.name for model in models}) < len(models):
        raise InputError("Two models have the same name: give each model a name of its own")
    clips = [model.of_split(split) for model in models]
    first = clips[0]
    if not len(first):
        found = sorted({str(one) for one in models[0].clips["split"].to_pylist()})
        raise InputError(f"There are no clips in split {split!r}; found {', '.join(found) or 'no clips at all'}")
    for one in clips[1:]:
        if one.labels != first.labels or not one.clips["clip_id"].equals(first.clips["clip_id"]):
            raise InputError(f"{one.name} and {first.name} were not scored on the same clips and classes")
    if len(first.labels) < 2:
        raise InputError(f"There is only one class, {first.labels.names[0]!r}; evaluation needs two or more")
    if not (first.targets > 0.5).any():
        raise InputError(f"No clip in split {split!r} has a known label, so there is nothing to evaluate on")
    return clips


def known_metric(metric: str | None, labels: LabelSpace) -> str:
    """The metric that is asked for, or the task's main one; raises InputError where there is none of its name."""
    main = main_metrics(labels.problem_type)
    known = tuple(dict.fromkeys((*main, "accuracy", "f1_micro", "f1_samples", "lrap", "hamming_loss")))
    if metric is not None and metric not in known:
        raise unknown_name("metric", metric, known)
    return metric or known[0]


def _answers(
    judged: JudgedClips,
    validation: JudgedClips | None,
    aggregation: str,
    thresholds: str,
    own: Mapping[str, float],
) -> Answers:
    labels, told = judged.labels, fitted_settings(aggregation, validation)
    aggregate: Callable[[JudgedClips], np.ndarray] = partial(clip_probabilities, aggregation=aggregation, **told)
    probabilities = aggregate(judged)
    chosen, source = np.full(len(labels), 0.5), "the class with the largest score"
    if thresholds not in THRESHOLDS:
        raise unknown_name("source of thresholds", thresholds, THRESHOLDS)
    if labels.is_multi_label or thresholds == "per_class":
        chosen, source = _thresholds(judged.name, validation, aggregate, thresholds, own, labels)
    decisions = decisions_of(probabilities, labels, chosen)
    return Answers(judged, validation, probabilities, decisions, chosen, source, aggregate, told)


def _thresholds(
    name: str,
    validation: JudgedClips | None,
    aggregate: Aggregate,
    asked: str,
    own: Mapping[str, float],
    labels: LabelSpace,
) -> tuple[np.ndarray, str]:
    """Thresholds `[classes]`, and where they come from."""
    if asked == "per_class" and validation is None:
        raise InputError("Thresholds per class need a validation split, which these data lack: use the model's own")
    if asked != "model" and validation is not None:
        probabilities = aggregate(validation)
        chosen = choose_thresholds(probabilities, validation.targets, labels, per_class=asked == "per_class")
        of = "one threshold per class" if asked == "per_class" else "one threshold for all classes"
        return chosen, f"{of}, with the best F1 on validation"
    if name in own:
        return np.full(len(labels), own[name]), "the model's own threshold"
    return np.full(len(labels), 0.5), "0.5, since there is no validation split and the model has no threshold"


def _data_facts(judged: JudgedClips, split: str) -> dict[str, Any]:
    known, labels = ~np.isnan(judged.targets), judged.labels
    support = (judged.targets > 0.5).sum(axis=0)
    seconds = np.array([one or 0.0 for one in judged.clips["duration_s"].to_pylist()])
    return {
        "split": split,
        "num_clips": len(judged),
        "num_groups": judged.num_groups,
        "drawn_by": "group" if judged.groups_known else "clip",
        "seconds": float(seconds.sum()) if (seconds > 0).all() else None,
        "classes": list(labels.names),
        "problem_type": labels.problem_type,
        "support": dict(zip(labels.names, support.tolist(), strict=True)),
        "known_share": float(known.mean()),
    }


def _baseline(judged: JudgedClips, validation: JudgedClips | None) -> dict[str, Any]:
    """Scores of the class-prior baseline, which predicts the frequency of each class for every clip."""
    source = validation if validation else judged
    labels, known = judged.labels, ~np.isnan(source.targets)
    frequencies = ((source.targets > 0.5) & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    threshold = 0.5
    if labels.is_multi_label:
        threshold = choose_threshold(np.tile(frequencies, (len(source), 1)), source.targets)
    scores = classification_metrics(np.tile(frequencies, (len(judged), 1)), judged.targets, labels, threshold)
    return {
        "frequencies_of": VALIDATION if validation else "the evaluated clips",
        "metrics": {name: value for name, value in scores.items() if name not in ("per_class", "threshold")},
    }


def _comparison(answers: Mapping[str, Answers], metric: str, drawn: Drawn) -> dict[str, Any] | None:
    if len(answers) < 2:
        return None
    judged = next(iter(answers.values())).judged
    said = {name: (one.probabilities, one.decisions) for name, one in answers.items()}
    return compare(said, judged.targets, judged.labels, judged.groups, metric=metric, **drawn._asdict())


def _notes(answers: Mapping[str, Answers]) -> list[str]:
    """What limits the numbers, in sentences."""
    first = next(iter(answers.values()))
    judged, notes = first.judged, []
    if not judged.groups_known:
        notes.append(
            "No grouping of the clips (by song, recording or speaker) is known, so intervals are computed by "
            "resampling clips; they are too narrow if some clips belong together."
        )
    if judged.num_groups == 1:
        notes.append("All clips are in one group, so no confidence intervals can be computed.")
    elif judged.num_groups < FEW_GROUPS:
        what = "groups" if judged.groups_known else "clips"
        notes.append(f"There are only {judged.num_groups} {what} to resample, so the intervals are rough.")
    has_clips: Any = (judged.targets > 0.5).any(axis=0)
    without = [name for name, has in zip(judged.labels.names, has_clips, strict=True) if not has]
    if without:
        notes.append(f"No clip is known to have {', '.join(without)}; averages over classes exclude these classes.")
    share = float(np.isnan(judged.targets).mean())
    if share:
        notes.append(f"{share:.1%} of all clip-class pairs are not annotated and do not count.")
    for name, one in answers.items():
        if judged.labels.is_multi_label and one.thresholds_from.startswith("0.5"):
            notes.append(
                f"The decision threshold of {name} is 0.5, since there is no validation split to choose it on."
            )
    return notes

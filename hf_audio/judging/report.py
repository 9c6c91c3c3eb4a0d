"""The evaluation of one or several models on the same clips, as a report of plain values.

    report = judge(models, split="test", data={"name": "IRMAS"})
    write_json(folder / "report.json", report)
    write_page(folder, report)

A report holds all numbers that its page shows, and how they were computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.comparing import compare
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.model_answers import ModelAnswers, model_answers
from hf_audio.judging.model_facts import Drawn, ReportSettings, model_facts
from hf_audio.metrics import choose_threshold, classification_metrics, main_metrics
from hf_audio.privacy import public_value

VALIDATION = "validation"
FEW_GROUPS = 20  # with fewer, intervals are rough


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
    """Evaluates models on the clips of one split, which must be the same for all models.

    Args:
        models: the scores of each model on the clips of the split and, if the data have them, of validation, which
            thresholds and calibration are fitted on.
        split: the split to evaluate.
        data: a description of the data: name; dataset_id, config and revision on the Hub; question, an introduction.
        aggregation: from windows to clips, in AGGREGATIONS.
        thresholds: source of the thresholds for multi-label decisions, in THRESHOLDS.
        own_thresholds: the models' own thresholds, by model name.
        metric: the main metric; by default that of the task.
        protocol: `Protocol.facts` of the corpus.
        notes: sentences for the reader.
        num_draws, confidence, seed: of the bootstrap.
        risk, coverage: one of the two determines the confidence below which a model answers "don't know".
        unknown: by model, the scores for sounds that have none of the classes.
        robustness: by model, the results on degraded recordings.
        windows_s: by model, the length of its windows.

    Returns:
        For JSON: data, settings, protocol, metric, baseline, models (all results by model name), comparison (None for
        one model), notes.

    Raises:
        InputError: no models or clips, clips or classes that differ between models, a single class, or settings that
            would have no effect.
    """
    clips = _same_clips(models, split)
    metric, drawn = known_metric(metric, clips[0].labels), Drawn(num_draws, confidence, seed)
    validation = [model.of_split(VALIDATION) if split != VALIDATION else None for model in models]
    answers = {
        one.name: model_answers(one, held_out if held_out else None, aggregation, thresholds, own_thresholds or {})
        for one, held_out in zip(clips, validation, strict=True)
    }
    given = {"unknown": unknown, "robustness": robustness, "window_s": windows_s}
    report = {
        "data": {**public_value(data or {}), **_data_facts(clips[0], split)},
        "settings": _settings(aggregation, thresholds if clips[0].labels.is_multi_label else None, drawn),
        "protocol": protocol,
        "metric": metric,
        "baseline": _baseline(clips[0], validation[0]),
        "models": _facts_of_models(answers, ReportSettings(risk, coverage, drawn), aggregation, given),
        "comparison": _comparison(answers, metric, drawn),
        "notes": [*notes, *_notes(answers)],
    }
    return ready_for_json(report)


def _settings(aggregation: str, thresholds: str | None, drawn: Drawn) -> dict[str, Any]:
    """The settings that have an effect; subsets of the clips, such as slices, have fewer draws."""
    found = {"aggregation": aggregation, **drawn._asdict(), "num_draws_of_parts": drawn.for_parts().num_draws}
    return found | ({} if thresholds is None else {"thresholds": thresholds})


def _facts_of_models(
    answers: Mapping[str, ModelAnswers],
    request: ReportSettings,
    aggregation: str,
    given: Mapping[str, Mapping[str, Any] | None],
) -> dict[str, dict[str, Any]]:
    """`model_facts` by model name; `given` holds further arguments of it, each by model name or None."""
    facts = {}
    for name, one in answers.items():
        of_model: dict[str, Any] = {key: (by_name or {}).get(name) for key, by_name in given.items()}
        facts[name] = model_facts(one, request, aggregation=aggregation, **of_model)
    return facts


def ready_for_json(value: Any) -> Any:
    """Converts NumPy values and named tuples to plain ones; numbers that are not finite become None."""
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
    """The clips of the split for each model.

    Raises:
        InputError: there are none, or models have different ones.
    """
    if not models:
        raise InputError("There is no model to evaluate: name at least one")
    if len({model.name for model in models}) < len(models):
        raise InputError("Two models have the same name: give each model its own name")
    clips = [model.of_split(split) for model in models]
    first = clips[0]
    if not len(first):
        found = sorted({str(one) for one in models[0].clips["split"].to_pylist()})
        raise InputError(f"There are no clips in split {split!r}; found splits: {', '.join(found) or 'none'}")
    for one in clips[1:]:
        if one.labels != first.labels or not one.clips["clip_id"].equals(first.clips["clip_id"]):
            raise InputError(f"{one.name} and {first.name} were not scored on the same clips and classes")
    if len(first.labels) < 2:
        raise InputError(f"There is only one class, {first.labels.names[0]!r}; evaluation needs two or more")
    if not (first.targets > 0.5).any():
        raise InputError(f"No clip in split {split!r} has a known label, so there is nothing to evaluate on")
    return clips


def known_metric(metric: str | None, labels: LabelSpace) -> str:
    """The requested metric, or the main one of the task; raises InputError if there is no metric with that name."""
    main = main_metrics(labels.problem_type)
    known = tuple(dict.fromkeys((*main, "accuracy", "f1_micro", "f1_samples", "lrap", "hamming_loss")))
    if metric is not None and metric not in known:
        raise unknown_name("metric", metric, known)
    return metric or known[0]


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


def _comparison(answers: Mapping[str, ModelAnswers], metric: str, drawn: Drawn) -> dict[str, Any] | None:
    if len(answers) < 2:
        return None
    judged = next(iter(answers.values())).judged
    scores = {name: (one.probabilities, one.decisions) for name, one in answers.items()}
    return compare(scores, judged.targets, judged.labels, judged.groups, metric=metric, **drawn._asdict())


def _notes(answers: Mapping[str, ModelAnswers]) -> list[str]:
    """Limitations of the results, one sentence each."""
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

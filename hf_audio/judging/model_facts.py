"""All results of a report for one model, each computed by the module it is named after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hf_audio.errors import InputError
from hf_audio.judging.calibration import calibration_facts
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.durations import by_duration, by_seconds_heard, by_seconds_joined
from hf_audio.judging.intervals import intervals
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.model_answers import ModelAnswers
from hf_audio.judging.out_of_class import known_against_unknown
from hf_audio.judging.per_class import confused_pairs, confusion, curves
from hf_audio.judging.per_clip import per_clip
from hf_audio.judging.scaling import fit_scaling
from hf_audio.judging.selective import answered_facts, choose_confidence, risk_coverage
from hf_audio.judging.slices import slices, unsliced, worst_groups
from hf_audio.metrics import mean_of_clips

DEFAULT_COVERAGE = 0.8  # share of clips to answer, if neither risk nor coverage is given


class Drawn(NamedTuple):
    """Settings of the bootstrap."""

    num_draws: int
    confidence: float
    seed: int

    def for_parts(self) -> Drawn:
        """Fewer draws for the intervals of many subsets of the clips: enough for a plot and the confidence level."""
        needed = round(10 / (1 - self.confidence))
        return self._replace(num_draws=min(self.num_draws, max(needed, 200)))


class ReportSettings(NamedTuple):
    """Settings of a report: the risk or coverage of selective prediction, and the bootstrap."""

    risk: float | None
    coverage: float | None
    drawn: Drawn


def model_facts(
    answers: ModelAnswers,
    request: ReportSettings,
    *,
    aggregation: str,
    unknown: JudgedClips | None = None,
    robustness: Mapping[str, Any] | None = None,
    window_s: float | None = None,
) -> dict[str, Any]:
    """All results of one model; those that the data do not allow are None.

    Args:
        unknown: the model's scores for sounds that have none of the classes.
        robustness: results on degraded recordings, from `robustness`.
        window_s: length of the model's windows.

    Raises:
        InputError: a risk or coverage without validation.
    """
    judged, probabilities, decisions = answers.judged, answers.probabilities, answers.decisions
    labels, of_clips = judged.labels, (probabilities, decisions, judged.targets, judged.labels)
    drawn = intervals(*of_clips, judged.groups, **request.drawn._asdict())
    few = request.drawn.for_parts()._asdict()
    of_lengths = {**few, "aggregate": answers.aggregate}
    clip_ids = judged.clips["clip_id"].to_pylist()
    thresholds = dict(zip(labels.names, answers.thresholds, strict=True)) if labels.is_multi_label else None
    return {
        "metrics": drawn["metrics"],
        "per_class": drawn["per_class"],
        "thresholds": thresholds,
        "thresholds_from": answers.thresholds_from,
        "aggregation_told": answers.told,
        "confusion": confusion(decisions, judged.targets, labels),
        "confused_pairs": confused_pairs(*of_clips, clip_ids),
        "curves": curves(probabilities, judged.targets, labels),
        "calibration": _calibration(answers, aggregation),
        "scaled": _scaled(answers, aggregation),
        "risk_coverage": risk_coverage(*of_clips),
        "answered": _answered(answers, request),
        "per_clip": per_clip(*of_clips),
        "slices": slices(judged, probabilities, decisions, **few),
        "unsliced": unsliced(judged),
        "worst_groups": worst_groups(judged, decisions) if judged.groups_known else [],
        "durations": by_duration(judged, probabilities, decisions, **few),
        "seconds_heard": by_seconds_heard(judged, answers.thresholds, window_s, **of_lengths) if window_s else None,
        "seconds_joined": by_seconds_joined(judged, answers.thresholds, **of_lengths),
        "out_of_class": _out_of_class(judged, unknown),
        "robustness": robustness,
    }


def _logits(judged: JudgedClips) -> Any:
    """Mean logits per clip, float64 `[clips, classes]`."""
    return mean_of_clips(judged.window_logits, judged.clip_of_window, len(judged))


def _calibration(answers: ModelAnswers, aggregation: str) -> dict[str, Any] | None:
    """None if the scores of clips are not probabilities."""
    judged = answers.judged
    if aggregation == "sum_normalized":
        return None
    return calibration_facts(answers.probabilities, judged.targets, judged.labels)


def _scaled(answers: ModelAnswers, aggregation: str) -> dict[str, Any]:
    """Calibration after temperature scaling fitted on validation, or the reason why there is none."""
    judged, validation = answers.judged, answers.validation
    if validation is None:
        return {"reason": "there is no validation split to fit a temperature on"}
    if aggregation != "mean_logits":
        return {"reason": f"it applies to mean logits, but clips are scored by {aggregation}"}
    try:
        scaling = fit_scaling("temperature", _logits(validation), validation.targets, validation.labels)
    except InputError as error:
        return {"reason": str(error)}
    scaled = scaling.probabilities(_logits(judged))
    return {**scaling.facts(), "calibration": calibration_facts(scaled, judged.targets, judged.labels)}


def _answered(answers: ModelAnswers, request: ReportSettings) -> dict[str, Any] | None:
    """Results of selective prediction with a confidence chosen on validation; None without validation."""
    validation = answers.validation
    if validation is None:
        if request.risk is not None or request.coverage is not None:
            raise InputError(
                'The confidence below which a model answers "don\'t know" is chosen on a validation split, which these '
                "data lack: leave out the risk or coverage, or give data with a validation split"
            )
        return None
    coverage = DEFAULT_COVERAGE if request.risk is None and request.coverage is None else request.coverage
    probabilities = answers.aggregate(validation)
    decisions = decisions_of(probabilities, validation.labels, answers.thresholds)
    of_validation = (probabilities, decisions, validation.targets, validation.labels)
    chosen = choose_confidence(*of_validation, risk=request.risk, coverage=coverage)
    judged = answers.judged
    facts = answered_facts(answers.probabilities, answers.decisions, judged.targets, judged.labels, chosen.threshold)
    return {"asked_risk": request.risk, "asked_coverage": coverage, "on_validation": chosen, **facts}


def _out_of_class(judged: JudgedClips, unknown: JudgedClips | None) -> dict[str, Any] | None:
    return None if unknown is None else known_against_unknown(_logits(judged), _logits(unknown), judged.labels)

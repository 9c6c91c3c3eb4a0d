"""The report of an evaluation: the results of `judge`, with the data and settings of each model."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from hf_audio import __version__
from hf_audio.data.index.columns import is_file
from hf_audio.judging.ensembles import ensemble as ensemble_of
from hf_audio.judging.evaluation_data import VALIDATION, EvaluationData
from hf_audio.judging.playing import Recording
from hf_audio.judging.report import judge, ready_for_json
from hf_audio.judging.scoring import ScoredModel

PACKAGES = ("torch", "transformers", "datasets", "numpy", "scikit-learn")


def judged_report(
    scored: Sequence[ScoredModel],
    split: str,
    data: Mapping[str, Any],
    notes: Sequence[str],
    *,
    ensemble: str | None = None,
    aggregation: str = "mean_logits",
    **judging: Any,
) -> dict[str, Any]:
    """The report of `judge`, with an ensemble of the models as an additional model.

    Args:
        data, notes, judging: arguments of `judge`.
        ensemble: the weights of an ensemble, see `ensembles.WEIGHTS`; None for no ensemble.

    Raises:
        InputError: see `judge` and `ensemble`.
    """
    judged = [one.judged for one in scored]
    weights = None
    if ensemble:
        validation = [one.of_split(VALIDATION) for one in judged] if ensemble == VALIDATION else None
        together = ensemble_of(judged, ensemble, validation=validation, aggregation=aggregation)
        judged, weights = [*judged, together.judged], together.weights
    own = {one.judged.name: one.threshold for one in scored}
    windows_s = {one.judged.name: its for one in scored if (its := one.facts.get("window_s"))}
    settings: dict[str, Any] = {
        "aggregation": aggregation,
        "own_thresholds": own,
        "windows_s": windows_s,
        "notes": notes,
    }
    report = judge(judged, split=split, data=data, **settings, **judging)
    if weights:
        report["models"][judged[-1].name]["weights"] = weights
    for one in scored:
        report["models"][one.judged.name] |= {"asked": ready_for_json(one.facts), "told": list(one.told)}
    report["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report["versions"] = {"hf_audio": __version__, "python": platform.python_version()}
    report["versions"] |= {name: version(name) for name in PACKAGES}
    return report


def said_of(data: EvaluationData) -> dict[str, Any]:
    """The description of the data for report and card."""
    return {
        "name": data.corpus if data.features is not None else data.name,
        "corpus": data.corpus,
        "source": data.name,
        "dataset_id": data.source or None,
        "revision": data.revision or None,
        "stored_features": data.features is not None,
    }


def recordings_of(data: EvaluationData) -> dict[str, Recording]:
    """The files of clips that are on this machine, by clip_id."""
    if data.features is not None:
        return {}
    clips = data.evaluated
    clips = clips.filter(is_file(clips))
    columns = (clips[name].to_pylist() for name in ("clip_id", "audio", "start_s", "end_s"))
    return {clip_id: Recording(path, start_s, end_s) for clip_id, path, start_s, end_s in zip(*columns, strict=True)}

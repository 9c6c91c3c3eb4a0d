"""The last stage of every recipe: scores the trained model and two baselines per clip, and writes the report."""

from __future__ import annotations

import contextlib
import json
import math
import platform
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from hf_audio import __version__
from hf_audio.analysis.corpus_scores import corpus_note, scores_by_corpus
from hf_audio.analysis.plots import write_plots
from hf_audio.analysis.report import ROW_TITLES, Report
from hf_audio.analysis.resampling import low_rates_note, resampling_facts
from hf_audio.baselines import linear_scores, prior_scores
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.about_clips import about_stored_clips
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.loading.training_digests import write_training_data
from hf_audio.errors import InputError
from hf_audio.kinds import STORED_SOUND
from hf_audio.metrics import (
    METRIC_NAMES,
    ClipScores,
    WindowScores,
    choose_threshold,
    classification_metrics,
    decide,
    main_metrics,
)
from hf_audio.models.usage import Usage, write_usage
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name, write_published
from hf_audio.ranks import process_state, wait_for_everyone
from hf_audio.stored_scores import write_scores
from hf_audio.terminal import show

OUR_PROTOCOL = (
    "Window logits are averaged per clip; thresholds are chosen on validation; {groups}; classes without clips "
    "are excluded from averages over classes."
)
APART = {True: "no group is in more than one split", False: "no grouping of the recordings is known"}


class WindowScorer(Protocol):
    """Anything that scores windows: a Predictor, or classifiers of scikit-learn."""

    def window_scores(self, features: FeatureDataset, split: str) -> WindowScores:
        """Scores of every window of a split."""


class Trained(Protocol):
    """A trained model to evaluate: a trainer after training, or anything else with a predictor."""

    @property
    def features(self) -> FeatureDataset:
        """The features it was trained on."""

    def predictor(self) -> WindowScorer:
        """The trained model."""

    def facts(self) -> dict[str, Any]:
        """ "model" (architecture, base_model, adapter ...), "training" and "log_history", for the report."""


def evaluate_model(
    trained: Trained,
    features: FeatureDataset,
    run_folder: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    recordings: Callable[[], pa.Table] | None = None,
    token: str | bool | None = None,
    searched_trials: int | None = None,
    base_seen_clips: Mapping[str, int] | None = None,
) -> Report:
    """Scores a trained model on validation and test, and writes report.json, scores/, plots/ and
    training_data.parquet.

    All processes must call this, since all of them predict. The first one writes the files, prints the summary and
    returns the report; the others wait for it and return an empty dict. If the run folder holds the model, the
    threshold and the windows are added to its config.json, see `models/usage.py`.

    Window logits are averaged per clip. Multi-label predictions use the single threshold with the best micro F1 on
    validation; single-label predictions are the class with the highest score. The report's `results` hold the model and
    two baselines, the class prior and a linear model, on the same clips, each with its own threshold chosen in the same
    way.

    Args:
        trained: a trainer after training, or a fitted classical model.
        features: the features it was trained on.
        run_folder: the folder to write to.
        settings: settings of the run other than transformers' arguments, JSON-serializable; published with the report.
        command: the command line that repeats the run.
        recordings: returns the clips of the features, if they are on this machine. It is called only
            if recordings were resampled, to measure how much the resampler changes the model's predictions.
        token: Hub token, for recordings there.
        searched_trials: if a search found the settings, the number of trials compared on validation, for a note.
        base_seen_clips: number of clips by split that the base model was trained on, for a note.

    Returns:
        The report, as in report.json; an empty dict in all processes but the first.

    Raises:
        InputError: there is neither a validation nor a test split, or the model's scores are not finite.
    """
    splits, predictor = _held_out_splits(features), trained.predictor()
    windows = {split: predictor.window_scores(features, split) for split in splits}
    report = Report()
    if process_state().is_main_process:
        scores = {split: one.clips() for split, one in windows.items()}
        report |= _report_of(trained, features, scores, settings=dict(settings or {}), command=command)
        threshold = report["results"]["model"][splits[-1]].get("threshold", 0.5)
        network = predictor if isinstance(predictor, Predictor) else None
        report["resampling"] = resampling_facts(network, features, splits[-1], recordings, threshold, token)
        report["by_corpus"] = scores_by_corpus(scores[splits[-1]], features, threshold)
        of_corpora = corpus_note(report["by_corpus"], features.labels.problem_type)
        report["notes"] = [*of_corpora, *_search_note(searched_trials), *_notes(report)]
        report["notes"] += _seen_notes(report, base_seen_clips or {})
        about = pa.concat_tables([about_stored_clips(features, split) for split in splits])
        write_scores(Path(run_folder), windows, features.labels, threshold, splits[-1], about)
        report = _write_run(Path(run_folder), report, scores[splits[-1]], features)
        show(f"\n{report}\n")
    wait_for_everyone()
    return report


def _held_out_splits(features: FeatureDataset) -> list[str]:
    """Those of validation and test that exist; raises InputError if there is neither."""
    splits: list[str] = [split for split in ("validation", "test") if split in features.splits]
    if not splits:
        raise InputError(
            f"{features.source} has neither a validation nor a test split, so there is nothing to evaluate on"
        )
    return splits


def _report_of(
    trained: Trained, features: FeatureDataset, scores: Mapping[str, ClipScores], **asked: Any
) -> dict[str, Any]:
    """The report on the scores of the model and the baselines; notes and further measurements are added later."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "evaluated_split": list(scores)[-1],
        **_judged(features, {"model": scores, **_baseline_scores(features, scores)}),
        **trained.facts(),
        **asked,
        "versions": _versions(),
    }


def _judged(features: FeatureDataset, rows: Mapping[str, Mapping[str, ClipScores]]) -> dict[str, Any]:
    """The parts of a report on the task, the data, and the scores of the model and the baselines."""
    return {
        "protocol": _protocol(features.manifest["corpus"]),
        "rows": ROW_TITLES,
        "results": {name: judge(row, features.labels) for name, row in rows.items()},
        "task": {"problem_type": features.labels.problem_type, "labels": list(features.labels.names)},
        "data": _data_facts(features),
    }


def judge(scores: Mapping[str, ClipScores], labels: LabelSpace) -> dict[str, dict[str, Any]]:
    """`classification_metrics` of each split; multi-label ones use the threshold that is best on validation.

    Without a validation split the threshold is 0.5.
    """
    probabilities = {split: labels.probabilities(one.logits) for split, one in scores.items()}
    threshold = 0.5
    if labels.is_multi_label and "validation" in scores:
        threshold = choose_threshold(probabilities["validation"], scores["validation"].targets)
    return {
        split: classification_metrics(probabilities[split], one.targets, labels, threshold)
        for split, one in scores.items()
    }


def _baseline_scores(features: FeatureDataset, scores: Mapping[str, ClipScores]) -> dict[str, dict[str, ClipScores]]:
    counts = features.class_counts("train")
    prior = {split: prior_scores(*counts, one, features.labels) for split, one in scores.items()}
    return {"linear": linear_scores(features, list(scores)), "prior": prior}


def _data_facts(features: FeatureDataset) -> dict[str, Any]:
    manifest = features.manifest
    return {
        "source": public_name(str(features.source)),
        "corpus": manifest["corpus"],
        "window_s": manifest["window_s"],
        "hop_s": manifest["hop_s"],
        "window_frames": features.window_frames,
        "extractor": manifest["extractor"],
        "stored": manifest.get(STORED_SOUND),
        "splits": manifest["splits"],
        "num_excluded": manifest.get("num_excluded", 0),
        # load_features refuses groups in two splits, which guarantees nothing if groups are unknown
        "group_disjoint": manifest["corpus"]["groups_known"],
    }


def _protocol(corpus: Mapping[str, Any]) -> str:
    """The usual protocol of the corpus, and ours."""
    return f"{corpus['protocol']} {OUR_PROTOCOL.format(groups=APART[corpus['groups_known']])}".strip()


def _versions() -> dict[str, str]:
    packages = ("torch", "torchaudio", "transformers", "datasets", "accelerate", "peft", "scikit-learn", "skops")
    versions = {"hf_audio": __version__, "python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _search_note(searched_trials: int | None) -> list[str]:
    """A note on settings that a search found."""
    if searched_trials is None:
        return []
    return [
        f"The settings are the best of {searched_trials:,} trials, selected on validation, so the scores on validation "
        "are optimistic."
    ]


def _seen_notes(report: Mapping[str, Any], of_base: Mapping[str, int]) -> list[str]:
    """Notes on base models and teachers that were trained on evaluated clips."""
    settings, split = report["training"].get("settings"), report["evaluated_split"]
    taught = settings.get("distillation") if isinstance(settings, Mapping) else None  # classical models have a text
    seen = {"base model": of_base, "teacher": (taught or {}).get("seen_clips", {})}
    return [
        f"The {name} was trained on {clips[split]:,} of the {split} clips, or on other clips of their groups, so these "
        "scores are inflated."
        for name, clips in seen.items()
        if clips.get(split)
    ]


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Limitations of the scores, one sentence each."""
    split, results = report["evaluated_split"], report["results"]
    metric = main_metrics(report["task"]["problem_type"])[0]
    notes = []
    if split != "test":
        notes.append(
            "There is no test split: these scores are on validation, which was also used to choose the checkpoint and "
            "the threshold, so they are optimistic."
        )
    if "validation" not in results["model"] and "threshold" in results["model"][split]:
        notes.append("There is no validation split, so the threshold was not tuned; it is 0.5.")
    absent = [name for name, one in results["model"][split]["per_class"].items() if not one["support"]]
    if absent:
        notes.append(f"No {split} clip has {', '.join(absent)}; averages over classes exclude these classes.")
    known = report["data"]["splits"][split].get("known_counts")
    if known:
        smallest, largest = min(known.values()), max(known.values())
        notes.append(
            f"Labels are partial: each class is scored only on the {split} clips that were annotated for it, which are "
            f"{smallest:,} to {largest:,}."
        )
    if report["data"]["num_excluded"]:
        notes.append(
            f"{report['data']['num_excluded']} clips could not be used; excluded.csv of the features gives the reasons."
        )
    data = report["data"]
    notes += low_rates_note(data["splits"][split].get("source_rates", {}), data["extractor"]["sampling_rate"], split)
    for name in ("linear", "prior"):
        if results["model"][split][metric] <= results[name][split][metric]:
            notes.append(f"The model is no better than the {ROW_TITLES[name]} in {METRIC_NAMES[metric]}.")
    return notes


def _write_run(folder: Path, report: dict[str, Any], scores: ClipScores, features: FeatureDataset) -> Report:
    """Draws the plots and writes everything, report.json last, and returns the report as written."""
    labels, split = features.labels, report["evaluated_split"]
    result = report["results"]["model"][split]
    probabilities = labels.probabilities(scores.logits)
    decisions = decide(probabilities, labels, result.get("threshold", 0.5))
    report["plots"] = write_plots(
        folder / "plots",
        log_history=report["log_history"],
        best_step=report["training"].get("best_step"),
        scores=result,
        probabilities=probabilities,
        decisions=decisions,
        targets=scores.targets,
        labels=labels,
        split=split,
    )
    write_usage(folder, Usage.of_features(features.manifest, result.get("threshold")))
    write_training_data(folder, features)
    text = json.dumps(_finite(report), indent=1, allow_nan=False, ensure_ascii=False, default=str)
    write_published(folder / "report.json", text + "\n")
    return Report(json.loads(text))


def _finite(value: Any) -> Any:
    """`value` with None for numbers that are not finite, such as the gradient norm of a step that overflowed."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The last stage of every recipe: what was trained is scored per clip, beside two baselines, and written down."""

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
    "Window logits are averaged per clip; thresholds are chosen on validation; {groups}; classes without a clip "
    "are left out of averages over classes."
)
APART = {True: "no group is in two splits", False: "no grouping of the recordings is known"}
ROW_TITLES = {
    "model": "this model",
    "linear": "linear baseline (mean and standard deviation)",
    "prior": "class-prior baseline",
}


class WindowScorer(Protocol):
    """What says something of windows: a Predictor, or classifiers of scikit-learn."""

    def window_scores(self, features: FeatureDataset, split: str) -> WindowScores:
        """Scores of every window of a split."""


class Trained(Protocol):
    """What can be evaluated: a trainer after training, or anything that has something to score with."""

    @property
    def features(self) -> FeatureDataset:
        """What it was trained on."""

    def predictor(self) -> WindowScorer:
        """What was trained."""

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
) -> dict[str, Any]:
    """Scores a trained model on validation and test, and writes report.json, scores/, plots/ and
    training_data.parquet.

    Every process must call it, since all of them predict; the first one writes, prints the summary and returns the
    report, the others wait for it and return an empty dict. Where the run folder holds the model, its config.json gets
    the threshold and the windows, see `models/usage.py`.

    Window logits are averaged per clip. Multi-label decisions use the one threshold with the best micro F1 on
    validation; single-label ones are the largest score. The report's `results` hold the model and two baselines, the
    class prior and a linear model, each with a threshold of its own chosen in the same way, on the same clips.

    Args:
        settings: what the run was told beyond transformers' arguments, JSON-able; it is published with the report.
        command: the command line that repeats the run.
        recordings: gives the clips that the features were made of, where they are on this machine. It is asked only
            where recordings were resampled, to measure how much the resampler matters to the model's answers.
        token: Hub token, for recordings there.
        searched_trials: of settings that a search found, how many it compared on validation; a note says so.

    Raises:
        InputError: there is neither a validation nor a test split, or the model's scores are not finite.
    """
    splits: list[str] = [split for split in ("validation", "test") if split in features.splits]
    if not splits:
        raise InputError(f"{features.source} has no validation and no test split: there is nothing to evaluate on")
    predictor = trained.predictor()
    windows = {split: predictor.window_scores(features, split) for split in splits}
    report: dict[str, Any] = {}
    if process_state().is_main_process:
        facts, scores = trained.facts(), {split: one.clips() for split, one in windows.items()}
        report = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": command,
            "evaluated_split": splits[-1],
            **_judged(features, {"model": scores, **_baseline_scores(features, scores)}),
            **facts,
            "settings": dict(settings or {}),
            "versions": _versions(),
        }
        threshold = report["results"]["model"][splits[-1]].get("threshold", 0.5)
        network = predictor if isinstance(predictor, Predictor) else None
        report["resampling"] = resampling_facts(network, features, splits[-1], recordings, threshold, token)
        report["by_corpus"] = scores_by_corpus(scores[splits[-1]], features, threshold)
        of_corpora = corpus_note(report["by_corpus"], features.labels.problem_type)
        report["notes"] = [*of_corpora, *_search_note(searched_trials), *_notes(report)]
        about = pa.concat_tables([about_stored_clips(features, split) for split in splits])
        write_scores(Path(run_folder), windows, features.labels, threshold, splits[-1], about)
        report = _write_run(Path(run_folder), report, scores[splits[-1]], features)
        show(summary(report))
    wait_for_everyone()
    return report


def _judged(features: FeatureDataset, rows: Mapping[str, Mapping[str, ClipScores]]) -> dict[str, Any]:
    """Of a report: what was asked, of which data, and how well it is answered by each row."""
    return {
        "protocol": _protocol(features.manifest["corpus"]),
        "rows": ROW_TITLES,
        "results": {name: judge(row, features.labels) for name, row in rows.items()},
        "task": {"problem_type": features.labels.problem_type, "labels": list(features.labels.names)},
        "data": _data_facts(features),
    }


def judge(scores: Mapping[str, ClipScores], labels: LabelSpace) -> dict[str, dict[str, Any]]:
    """`classification_metrics` of each split; multi-label ones at the threshold that is best on validation.

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


def summary(report: Mapping[str, Any]) -> str:
    """The report's main numbers as a small plain-text table, and its notes."""
    split = report["evaluated_split"]
    columns = main_metrics(report["task"]["problem_type"])
    width = max(len(name) for name in ROW_TITLES.values())
    counts = report["data"]["splits"][split]
    lines = [
        f"{split} split: {counts['num_clips']:,} clips of {counts['num_groups']:,} groups, windows averaged per clip",
        " " * width + "".join(f"{METRIC_NAMES[column]:>10}" for column in columns),
    ]
    for name, title in ROW_TITLES.items():
        row = report["results"][name][split]
        lines.append(f"{title:<{width}}" + "".join(f"{_number(row[column]):>10}" for column in columns))
    lines += [f"- {note}" for note in report["notes"]]
    return "\n" + "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


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
        # load_features refuses groups in two splits; where none are known, that says nothing
        "group_disjoint": manifest["corpus"]["groups_known"],
    }


def _protocol(corpus: Mapping[str, Any]) -> str:
    """How the corpus's users evaluate, and how it is done here."""
    return f"{corpus['protocol']} {OUR_PROTOCOL.format(groups=APART[corpus['groups_known']])}".strip()


def _versions() -> dict[str, str]:
    packages = ("torch", "torchaudio", "transformers", "datasets", "accelerate", "peft", "scikit-learn", "skops")
    versions = {"hf_audio": __version__, "python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _search_note(searched_trials: int | None) -> list[str]:
    """What a reader must know of settings that were searched for."""
    if searched_trials is None:
        return []
    return [
        f"The settings are the best of {searched_trials:,} trials, compared on validation: these are no scores of a "
        "first try, and those on validation are too good."
    ]


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Whatever a reader must know before trusting the numbers, one sentence each."""
    split, results = report["evaluated_split"], report["results"]
    metric = main_metrics(report["task"]["problem_type"])[0]
    notes = []
    if split != "test":
        notes.append(
            "There is no test split: these are scores on validation, which also chose the checkpoint and the "
            "threshold, so they are too good."
        )
    if "validation" not in results["model"] and "threshold" in results["model"][split]:
        notes.append("There is no validation split: the threshold is 0.5, not a chosen one.")
    absent = [name for name, one in results["model"][split]["per_class"].items() if not one["support"]]
    if absent:
        notes.append(f"No {split} clip carries {', '.join(absent)}: left out of all averages over classes.")
    known = report["data"]["splits"][split].get("known_counts")
    if known:
        fewest, most = min(known.values()), max(known.values())
        notes.append(
            f"Labels are partial: each class is scored on those {split} clips of which it is known, {fewest:,} to "
            f"{most:,} of them."
        )
    if report["data"]["num_excluded"]:
        notes.append(f"{report['data']['num_excluded']} clips could not be used; the features' excluded.csv says why.")
    data = report["data"]
    notes += low_rates_note(data["splits"][split].get("source_rates", {}), data["extractor"]["sampling_rate"], split)
    for name in ("linear", "prior"):
        if results["model"][split][metric] <= results[name][split][metric]:
            notes.append(f"The model is no better than the {ROW_TITLES[name]} in {METRIC_NAMES[metric]}.")
    return notes


def _write_run(folder: Path, report: dict[str, Any], scores: ClipScores, features: FeatureDataset) -> dict[str, Any]:
    """Draws and writes everything, report.json last, and returns the report as it was written."""
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
    return json.loads(text)


def _finite(value: Any) -> Any:
    """`value` with None for numbers that JSON cannot hold, such as the gradient norm of a step that overflowed."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

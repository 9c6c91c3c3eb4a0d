"""Evaluate classifiers on any data whose classes can be mapped to theirs: intervals, comparisons, a report, a page.

    hf-audio evaluate --model runs/cnn_folder --dataset runs/cnn_folder/features
    hf-audio evaluate --model someone/ast-irmas me/cnn-irmas --dataset USER/irmas-fbank --ensemble mean
    hf-audio evaluate --model MIT/ast-finetuned-audioset-10-10-0.4593 --dataset recordings/ --label_map map.yaml
    hf-audio evaluate --model runs/cnn_gtzan --corpus gtzan --data_dir GTZAN --protocol gtzan-fault-filtered
    hf-audio evaluate --scores runs/a runs/b

MODEL is a run folder or any audio classifier on the Hub; code in the repository is never run. The data are features
that the model reads, or recordings (a folder, a table, a corpus or a dataset on the Hub), which each model processes in
windows with its own extractor. Classes are mapped by name ("violin" is AudioSet's "Violin, fiddle") or by --label_map;
classes that cannot be mapped are reported and ignored. Data that a model was trained on are refused.

Thresholds, calibration and ensemble weights are fitted only on the data's validation split. The results are
report.json, index.html, and MODEL/scores/ of each model, which --scores can evaluate later without the model.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.commands._evaluation_flags import (
    ROBUSTNESS_CLIPS,
    check_flags,
    data_config,
    evaluation_parser,
    refuse_reading,
)
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.judging.evaluation_data import EvaluationData
    from hf_audio.judging.evaluation_run import Evaluation
    from hf_audio.judging.scoring import ScoredModel

OF_CLASSES = ("precision", "recall", "f1", "average_precision")


def main(argv: Sequence[str]) -> None:
    """Prints the main scores of models, and writes the report, the page and the scores."""
    given = evaluation_parser(__doc__).parse_args(argv)
    check_flags(given)
    folder = Path(given.output_dir) if given.output_dir else None
    if folder:
        _check_new(folder)

    from hf_audio.judging.evaluation_run import evaluate_stored
    from hf_audio.judging.page import write_page
    from hf_audio.privacy import write_published
    from hf_audio.terminal import show

    if given.scores:
        found = evaluate_stored(given.scores, given.split, **_judging(given))
    else:
        data = _data(given)
        folder = folder or _check_new(Path("evaluations") / data.name.replace("/", "--"))
        found = _evaluated(given, data, folder)
    folder = folder or _check_new(Path("evaluations") / "scores")
    folder.mkdir(parents=True, exist_ok=True)
    _show(found)
    page = write_page(folder, found.report, found.recordings, embed_sounds=given.embed_sounds)
    write_published(folder / "report.json", found.as_json())
    show(f"Report: {folder / 'report.json'}; as a web page: {page}")
    for one in found.report["models"].values() if given.calibrate else ():
        saved = one["saved_calibration"]
        errors = " → ".join(f"{saved[name]['ece']:.3f}" for name in ("before", "after"))
        show(f"Calibrated model: {given.calibrated_model} (expected calibration error on validation {errors})")
    if given.write_card:
        for address in found.write_cards(given.token):
            show(f"Card: {address}")


def _judging(given: argparse.Namespace) -> dict[str, Any]:
    """The options for evaluating scores."""
    names = ("aggregation", "thresholds", "metric", "num_draws", "confidence", "seed", "ensemble", "risk", "coverage")
    return {name: value for name in names if (value := getattr(given, name)) is not None}


def _evaluated(given: argparse.Namespace, data: EvaluationData, folder: Path) -> Evaluation:
    """Runs the models on the data, writes their scores to the folder, and evaluates the scores."""
    from hf_audio.judging.evaluation_report import recordings_of
    from hf_audio.judging.evaluation_request import EvaluationRequest
    from hf_audio.judging.evaluation_run import evaluate_models
    from hf_audio.judging.stored_judgments import write_judged

    if given.embed_sounds and not recordings_of(data):
        raise InputError(
            f"--embed_sounds needs recordings that are files on this machine, and {data.name} has none: remove it"
        )

    def keep(models: Sequence[ScoredModel]) -> None:
        for one in models:
            write_judged(folder / one.judged.name, one, data.split)

    computing = {name: getattr(given, name) for name in ("device", "bf16", "batch_size") if getattr(given, name)}
    asked = EvaluationRequest(
        label_map=given.label_map,
        protocol=given.protocol,
        allow_training_data=given.allow_training_data,
        window_s=given.window_s,
        hop_s=given.hop_s,
        num_threads=given.num_threads,
        unknown=_unknown(given),
        robustness=given.robustness,
        robustness_clips=given.robustness_clips or ROBUSTNESS_CLIPS,
        calibrate=given.calibrate,
        calibrated_model=given.calibrated_model or "",
    )
    options = {"revision": given.revision, "token": given.token, **computing}
    return evaluate_models(given.model, data, asked, options, keep=keep, **_judging(given))


def _data(given: argparse.Namespace) -> EvaluationData:
    """The data to evaluate on, of one split."""
    from hf_audio.judging.evaluation_data import features_data, is_features, recordings_data
    from hf_audio.terminal import show

    config = data_config(given)
    if is_features(config, given.token):
        refuse_reading(given)
        data = features_data(given.dataset, token=given.token, revision=given.dataset_revision)
    else:
        data = recordings_data(config, token=given.token, tell=show)
    return data.chosen(given.split)


def _unknown(given: argparse.Namespace) -> EvaluationData | None:
    """Sounds of none of the classes."""
    if not given.unknown:
        return None
    from hf_audio.config import DataConfig
    from hf_audio.judging.evaluation_data import features_data, is_features, recordings_data
    from hf_audio.terminal import show

    if given.unknown_corpus:
        config = DataConfig(corpus=[given.unknown_corpus], data_dir=[given.unknown])
    else:
        config = DataConfig(dataset=[given.unknown])
        if is_features(config, given.token):
            return features_data(given.unknown, token=given.token)
    return recordings_data(config, token=given.token, tell=lambda said: show(f"--unknown: {said}"))


def _check_new(folder: Path) -> Path:
    if (folder / "report.json").exists():
        raise InputError(f"{folder} already contains a report: remove it, or give another --output_dir")
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(
            f"{folder} cannot be written, because {there} is not a writable folder: give another --output_dir"
        )
    return folder


def _show(found: Evaluation) -> None:
    """Prints the main scores with their intervals."""
    from hf_audio.judging.page_cells import interval_text
    from hf_audio.markdown import table
    from hf_audio.metrics import METRIC_NAMES, main_metrics
    from hf_audio.terminal import show

    report = found.report
    facts, models = report["data"], report["models"]
    show(
        f"{facts['num_clips']:,} clips of {facts['split']}, {report['settings']['confidence']:.0%} intervals by "
        f"{facts['drawn_by']}"
    )
    names = main_metrics(facts["problem_type"])
    rows = [[name, *(interval_text(one["metrics"].get(metric)) for metric in names)] for name, one in models.items()]
    show(table(["", *(METRIC_NAMES[name] for name in names)], rows))
    if len(models) == 1:
        (only,) = models.values()
        rows = [
            [name, its["support"], *(interval_text(its.get(key)) for key in OF_CLASSES)]
            for name, its in only["per_class"].items()
        ]
        show(table(["class", "clips", *(name.replace("_", " ") for name in OF_CLASSES)], rows))
    for note in report["notes"]:
        show(f"- {note}")

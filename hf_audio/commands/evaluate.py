"""Evaluate classifiers on any data whose classes can be mapped to theirs: scores per clip, of all classes and of each.

    hf-audio evaluate --model runs/cnn_folder --dataset runs/cnn_folder/features
    hf-audio evaluate --model someone/ast-irmas me/cnn-irmas --dataset USER/irmas-fbank
    hf-audio evaluate --model MIT/ast-finetuned-audioset-10-10-0.4593 --dataset recordings/ --label_map map.yaml
    hf-audio evaluate --model runs/cnn_gtzan --corpus gtzan --data_dir GTZAN

MODEL is a run folder or any audio classifier of the Hub; code that a repository brings along is never run. The data are
features that the model reads, or recordings: a folder, a table, a corpus or a dataset of the Hub, which each model
hears window by window through its own extractor. Classes are mapped by name ("violin" is AudioSet's "Violin, fiddle"),
or by --label_map; what cannot be mapped is said and left out. Data that a model was trained on are refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.commands._evaluation_flags import data_config, evaluation_parser, refuse_reading
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.judging.evaluation_data import EvaluationData
    from hf_audio.judging.scoring import ScoredModel
    from hf_audio.predictor import Predictor

OF_CLASSES = ("precision", "recall", "f1", "average_precision", "support")


def main(argv: Sequence[str]) -> None:
    """Prints the scores of a split, and writes them."""
    given = evaluation_parser(__doc__).parse_args(argv)
    if not given.model:
        raise InputError("Give a model to evaluate: --model RUN_FOLDER or USER/NAME")
    if given.revision and len(given.model) > 1:
        raise InputError(f"--revision is of one model, and {len(given.model)} are given: evaluate that one by itself")

    from hf_audio.files import write_json
    from hf_audio.privacy import public_value
    from hf_audio.terminal import show

    data = _data(given)
    models = _scored(given, data)
    report = _report(given, data, models)
    folder = Path(given.output_dir or Path("evaluations") / data.name.replace("/", "--"))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", public_value(report))
    show(f"Report: {folder / 'report.json'}")


def _data(given: argparse.Namespace) -> EvaluationData:
    """What is evaluated on, of one split."""
    from hf_audio.judging.evaluation_data import features_data, is_features, recordings_data
    from hf_audio.terminal import show

    config = data_config(given)
    if is_features(config, given.token):
        refuse_reading(given, f"{given.dataset} holds features")
        data = features_data(given.dataset, token=given.token, revision=given.dataset_revision)
    else:
        data = recordings_data(config, token=given.token, tell=show)
    return data.chosen(given.split)


def _scored(given: argparse.Namespace, data: EvaluationData) -> list[ScoredModel]:
    """What the models say, by the clips and classes that all of them have."""
    from hf_audio.judging.class_mapping import read_given_map
    from hf_audio.judging.scoring import load_model, score
    from hf_audio.judging.several_models import in_common, unique_names
    from hf_audio.terminal import show

    options = {"revision": given.revision, "device": given.device, "bf16": given.bf16, "token": given.token}
    if given.batch_size:
        options["batch_size"] = given.batch_size
    names = unique_names(given.model)
    predictors = [load_model(model, name, **options) for model, name in names.items()]
    maps: dict[str, Any] = {}
    if given.label_map:
        maps = read_given_map(given.label_map, data.labels, {one.name: one.labels for one in predictors})
    known = _known_of_training(given, data, dict(zip(given.model, predictors, strict=True)))
    settings = {name: getattr(given, name) for name in ("window_s", "hop_s", "num_threads", "token")}
    scored = [score(one, data, given=maps.get(one.name), **settings) for one in predictors]
    models = in_common([one._replace(told=(*known[one.judged.name], *one.told)) for one in scored])
    for told in dict.fromkeys(told for one in models for told in one.told):
        show(told)
    return models


def _known_of_training(
    given: argparse.Namespace, data: EvaluationData, predictors: Mapping[str, Predictor]
) -> dict[str, tuple[str, ...]]:
    """What must be told of each model's training data, by its name; refuses models that know the data."""
    from hf_audio.judging.training_data import check_training_data, training_overlap
    from hf_audio.models.foreign_checkpoint import Checkpoint

    known, overlaps = {}, False
    for model, predictor in predictors.items():
        found = training_overlap(predictor.name, Checkpoint(model, given.token, predictor.commit), data)
        known[predictor.name] = check_training_data(found, predictor.name, data, allow=given.allow_training_data)
        overlaps |= bool(found.refusal)
    if given.allow_training_data and not overlaps:
        raise InputError(
            "--allow_training_data would do nothing here: nothing says that a model was trained on these clips; leave "
            "it out"
        )
    return known


def _report(given: argparse.Namespace, data: EvaluationData, models: Sequence[ScoredModel]) -> dict[str, Any]:
    """Scores of all models."""
    from hf_audio.markdown import table
    from hf_audio.metrics import METRIC_NAMES, average_per_clip, choose_threshold, classification_metrics, main_metrics
    from hf_audio.terminal import show

    report: dict[str, Any] = {"split": data.split, "data": data.name, "models": {}}
    for one in models:
        judged, labels = one.judged, one.judged.labels
        parts = {split: judged.of_split(split) for split in set(judged.clips["split"].to_pylist())}
        means = {
            split: average_per_clip(part.window_logits, part.targets[part.clip_of_window], part.clip_of_window)
            for split, part in parts.items()
        }
        threshold = one.threshold
        if labels.is_multi_label and given.thresholds != "model" and "validation" in means:
            its = means["validation"]
            threshold = choose_threshold(labels.probabilities(its.logits), its.targets)
        found = means[data.split]
        scores = classification_metrics(labels.probabilities(found.logits), found.targets, labels, threshold)
        report["models"][judged.name] = {"num_clips": len(found), **one.facts, "told": one.told, **scores}
        names = main_metrics(labels.problem_type)
        show(f"{judged.name}: {len(found)} clips of {data.split}")
        show(table([METRIC_NAMES[name] for name in names], [[_shown(scores[name]) for name in names]]))
        rows = [
            [name, *(_shown(of_class[key]) for key in OF_CLASSES)] for name, of_class in scores["per_class"].items()
        ]
        show(table(["class", *(name.replace("_", " ") for name in OF_CLASSES)], rows))
    return report


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

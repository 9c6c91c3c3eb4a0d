"""Evaluate a trained model on a feature dataset: scores per clip, of all classes and of each.

    hf-audio evaluate runs/cnn_folder runs/cnn_folder/features
    hf-audio evaluate someone/ast-irmas USER/irmas-fbank --split validation --output scores.json

Windows are averaged per clip, as in a run's report, and several labels are decided by the threshold that the model's
config.json has. The features must have the model's classes. Baselines and plots are in the report of a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hf_audio.commands._parser import parser_of
from hf_audio.commands._recordings import output_file

OF_CLASSES = ("precision", "recall", "f1", "average_precision", "support")


def main(argv: Sequence[str]) -> None:
    """Prints the scores of a split."""
    given = _parser().parse_args(argv)
    output = output_file(given.output) if given.output else None  # checked before anything is computed

    from hf_audio import Predictor, load_features
    from hf_audio.files import write_json
    from hf_audio.markdown import table
    from hf_audio.metrics import METRIC_NAMES, classification_metrics, main_metrics
    from hf_audio.terminal import show

    features = load_features(given.features, token=given.token)
    predictor = Predictor.load(given.model, token=given.token, revision=given.revision, device=given.device)
    found, labels = predictor.scores(features, given.split), features.labels
    scores = classification_metrics(
        labels.probabilities(found.logits), found.targets, labels, predictor.decision_threshold
    )
    names = main_metrics(labels.problem_type)
    show(f"{len(found)} clips of {given.split}")
    show(table([METRIC_NAMES[name] for name in names], [[_shown(scores[name]) for name in names]]))
    rows = [[name, *(_shown(of_class[key]) for key in OF_CLASSES)] for name, of_class in scores["per_class"].items()]
    show(table(["class", *(name.replace("_", " ") for name in OF_CLASSES)], rows))
    if output:
        write_json(output, {"split": given.split, "num_clips": len(found), **scores})


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("evaluate", __doc__)
    parser.add_argument("model", help="a run folder, or a model's name on the Hub")
    parser.add_argument("features", help="a folder of features, or their name on the Hub")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--output", help="a JSON file for all of the scores")
    parser.add_argument("--revision", help="a branch, tag or commit of the model")
    parser.add_argument("--token", help="of the Hub, where something is private; default: HF_TOKEN or the stored one")
    parser.add_argument("--device", help="cpu, cuda ...; default: the accelerator where there is one")
    return parser


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

"""Find labels that are probably wrong: models that were not trained on a clip confidently predict something else.

    hf-audio label-errors FEATURES_DIR --data_dir DIR       then open label_errors/NAME/index.html
    hf-audio label-errors FEATURES_DIR --model runs/cnn_folder
    hf-audio label-errors FEATURES_DIR --splits train test --predictions x_folds/*/scores/clips.parquet
    hf-audio label-errors FEATURES_DIR --hold_out clips     for few large groups, such as speakers
    hf-audio label-errors FEATURES_DIR --plant 0.1          measure how many planted errors are found

FEATURES_DIR is a feature dataset (RUN/features, or a Hub name). Predictions are out-of-fold: they come from quick
models trained without the clip's group. cleanlab decides which labels contradict them (pip install "hf_audio[audit]").
The results are label_errors.csv, index.html (a page for listening to each clip and keeping, correcting or dropping it,
which exports the table to train with and needs no server), and overrides.csv (the most confident corrections, to edit
by hand instead).

--model uses a trained network's embeddings. A network that was trained on the same clips has learned their errors, so
it finds fewer; a network trained on other clips, or --predictions of every fold, is better.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_audio.commands._parser import parser_of
from hf_audio.errors import InputError
from hf_audio.markdown import table
from hf_audio.terminal import show

if TYPE_CHECKING:
    from hf_audio.data.loading.features_dataset import FeatureDataset

PLANTED_DRAWS = 3


def main(argv: Sequence[str]) -> None:
    """Writes the suspected label errors, or prints how many planted errors are found."""
    given = _parser().parse_args(argv)

    from hf_audio import find_label_errors, load_features, write_label_errors
    from hf_audio.label_quality.errors import FEW_GROUPS, MIN_AGREEMENT

    features = load_features(given.features)
    if given.plant is not None:
        _print_planted(given, features)
        return
    found = find_label_errors(
        features,
        splits=given.splits,
        network=given.model,
        predictions=given.predictions,
        hold_out=given.hold_out,
        seed=given.seed,
    )
    folder = Path(given.output_dir or Path("label_errors") / features.name)
    num_sure = write_label_errors(
        found,
        features,
        folder,
        data_dir=given.data_dir,
        min_confidence=given.confidence,
        num_plots=given.plots,
    )
    show(
        f"{len(found.errors)} of {found.num_checked} clips are probably mislabeled ({found.num_not_checked} could "
        f"not be checked). The predictions agree with {found.agreement:.0%} of the labels."
    )
    if found.agreement < MIN_AGREEMENT:
        show("That is too low: most of the clips found are probably labeled correctly. Use --model or --predictions.")
    if given.hold_out == "groups" and found.num_groups < FEW_GROUPS and not given.predictions:
        show(
            f"There are only {found.num_groups} groups. If they are speakers or similar, --hold_out clips finds more "
            "errors."
        )
    show(
        f"Check them in a browser: {folder / 'index.html'} gives you a table of your corrections. Without a browser, "
        f"delete the rows you disagree with from {folder / 'overrides.csv'} ({num_sure} rows with a confidence "
        f"of at least {given.confidence:g}), and train with --label_overrides {folder / 'overrides.csv'}"
    )


def _print_planted(given: argparse.Namespace, features: FeatureDataset) -> None:
    """Prints precision and recall over several draws of planted errors."""
    if given.predictions:
        raise InputError("--predictions were made without the wrong labels that --plant adds: remove one of the two")
    from hf_audio.label_quality.planted_errors import find_planted_errors

    draws = find_planted_errors(
        features,
        given.plant,
        range(given.seed, given.seed + PLANTED_DRAWS),
        splits=given.splits,
        network=given.model,
        hold_out=given.hold_out,
    )
    rows = [
        [number, draw.num_planted, draw.num_found, f"{draw.precision:.2f}", f"{draw.recall:.2f}"]
        for number, draw in enumerate(draws, start=1)
    ]
    show(table(("draw", "planted", "found", "precision", "recall"), rows))
    show("Errors that the labels already had count as false positives. Nothing was written.")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("label-errors", __doc__)
    parser.add_argument("features", metavar="FEATURES_DIR", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--output_dir", help="Folder for the results. Default: label_errors/NAME.")
    parser.add_argument("--data_dir", help="Folder with the recordings, to listen to them on the page.")
    parser.add_argument("--splits", nargs="+", help="Splits to check. Default: train and validation.")
    parser.add_argument(
        "--plant", type=float, help="Test the search: corrupt this share of the labels, and count how many are found."
    )
    judges = parser.add_mutually_exclusive_group()
    judges.add_argument("--model", help="Use the embeddings of this network: a run folder or a Hub name.")
    judges.add_argument("--predictions", nargs="+", default=[], help="Use stored scores of runs: scores/clips.parquet.")
    parser.add_argument(
        "--hold_out",
        choices=("groups", "clips"),
        default="groups",
        help="What is held out when a clip is predicted: its group, or only the clip.",
    )
    parser.add_argument("--confidence", type=float, default=0.5, help="Minimum confidence of a row in overrides.csv.")
    parser.add_argument("--plots", type=int, default=100, help="Number of spectrograms on the page.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of the folds.")
    return parser

"""Find leakage in a feature dataset: windows of different splits that contain the same sound.

    hf-audio leaks feature_sets/mine                           a folder of features
    hf-audio leaks USER/irmas-fbank --output_dir leaks/irmas   a dataset on the Hub
    hf-audio leaks runs/cnn_folder/features --train_both_ways  how much a leaky split inflates accuracy

Prints a report, and writes leaks.csv with all pairs and report.html with plots of the worst to OUTPUT_DIR. Clips that
are the same recording belong to the same group: give them one group in the corpus's CSV, and build the features again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hf_audio
from hf_audio.commands._parser import parser_of
from hf_audio.terminal import show


def main(argv: Sequence[str]) -> None:
    """Prints the leakage report and writes its files."""
    parser = parser_of("leaks", __doc__)
    parser.add_argument("features", metavar="FEATURES", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--output_dir", help="Folder for the results. Default: leaks/NAME.")
    parser.add_argument(
        "--train_both_ways",
        action="store_true",
        help="Also measure how much leakage inflates accuracy, with quick models.",
    )
    parser.add_argument("--num_seeds", type=int, default=3, help="Random draws of each leaky split.")
    given = parser.parse_args(argv)
    features = hf_audio.load_features(given.features)
    folder = Path(given.output_dir or Path("leaks") / features.name)
    report = hf_audio.leak_report(features, folder, both_ways=given.train_both_ways, num_seeds=given.num_seeds)
    show(f"{report.as_markdown()}\n\nPairs and plots: {folder / 'leaks.csv'}, report.html")

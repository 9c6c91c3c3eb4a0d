"""Compare two label sets of the same clips: any label right, all labels right, Hamming distance, and per class.

    python scripts/compare_labels.py a.csv b.csv
    python scripts/compare_labels.py FEATURES_DIR label_errors/mine/overrides.csv
    python scripts/compare_labels.py runs/x/scores/clips.parquet runs/x/scores/clips.parquet --columns labels decided

Each set is a CSV with clip_id and label (or labels, separated by semicolons, and unknown for partial labels), the
folder of a feature dataset, or a run's scores/clips.parquet. The second is compared with the first, on the clips and
classes that both have.
"""

from __future__ import annotations

import argparse

from hf_audio import clear_errors, label_agreement
from hf_audio.label_quality.agreement import read_labels
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="FIRST", help="CSV file, feature dataset, or scores of a run.")
    parser.add_argument("second", metavar="SECOND", help="The set to compare with it, of any of these kinds.")
    parser.add_argument("--columns", nargs=2, default=(None, None), help="Label columns. Default: label or labels.")
    options = parser.parse_args()
    first, second = map(read_labels, (options.first, options.second), options.columns)
    show(label_agreement(first, second).as_text())


if __name__ == "__main__":
    with clear_errors():
        main()

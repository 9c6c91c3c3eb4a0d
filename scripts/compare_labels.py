"""Compare two label sets of the same clips: any right, all right, Hamming distance, and each class.

    python scripts/compare_labels.py a.csv b.csv
    python scripts/compare_labels.py FEATURES_DIR label_errors/mine/overrides.csv
    python scripts/compare_labels.py runs/x/predictions.csv runs/x/predictions.csv --columns labels decided

Each is a CSV with clip_id and label (or labels, semicolons between several; unknown where labels are partial), or the
folder of a feature dataset. The second is judged against the first, on the clips and classes that both know.
"""

from __future__ import annotations

import argparse

from hf_audio import clear_errors, label_agreement, read_clip_labels
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="FIRST", help="a CSV or a feature dataset's folder")
    parser.add_argument("second", metavar="SECOND", help="likewise")
    parser.add_argument("--columns", nargs=2, default=(None, None), help="columns of the labels; default: label(s)")
    options = parser.parse_args()
    first, second = map(read_clip_labels, (options.first, options.second), options.columns)
    show(label_agreement(first, second).as_text())


if __name__ == "__main__":
    with clear_errors():
        main()

"""Export a dataset of classical features as a table with a row per window (or step), for spreadsheets, pandas and R.

    python scripts/export_csv.py feature_sets/classical features.csv
    python scripts/export_csv.py USER/gtzan-classical features.csv          # from the Hub

Build the dataset with hf-audio build --features classical. The columns are clip_id, group, split, start_s, labels
(separated by semicolons), and one per feature, by name, not standardized.
"""

import argparse

import hf_audio
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("csv", help="Table to write.")
    options = parser.parse_args()
    show(hf_audio.features_to_csv(options.features, options.csv))


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()

"""Divide a label into finer classes, using another corpus with labels for them.

    python scripts/subdivide_label.py OPENMIC_FEATURES --label guitar --reference IRMAS_FEATURES \\
        --reference_labels gac gel --into "acoustic guitar" "electric guitar" --model runs/ast_irmas \\
        --output guitars/overrides.csv
    accelerate launch recipes/ast_openmic.py --data_dir DIR --label_overrides guitars/overrides.csv

Clips with the label are clustered by k-means, initialized with the reference's classes, and the most confident clips of
each cluster get the new label. For the others, the new classes are unknown (multi-label data), or the clips are
excluded (single-label data). A plot is written beside the CSV. The printed accuracy of the clusters on the reference's
own clips is an upper bound on that of the new labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_audio import clear_errors, load_features, subdivide_label
from hf_audio.figures.figures import png
from hf_audio.files import write_atomically
from hf_audio.label_quality.clusters import plot_subdivide_label, write_subdivide_label
from hf_audio.terminal import show


def main() -> None:
    options = parse_options()
    features = load_features(options.features)
    split = subdivide_label(
        features,
        options.label,
        load_features(options.reference),
        options.into,
        reference_labels=options.reference_labels,
        network=options.model,
        keep=options.keep,
    )
    path = write_subdivide_label(split, features, Path(options.output))
    plot = path.with_suffix(".png")
    write_atomically(plot, png(plot_subdivide_label(split)))
    for number, name in enumerate(split.names):
        members = split.clusters == number
        show(f"{name}: {members.sum()} clips of {split.label}, {(members & split.kept).sum()} kept")
    show(split.verdict())
    show(f"Look at {plot}, listen to some clips of {path}, and train with --label_overrides {path}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", metavar="FEATURES_DIR", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--label", required=True, help="Label to divide.")
    parser.add_argument("--reference", required=True, help="Features of a corpus with labels for the subclasses.")
    parser.add_argument("--into", required=True, nargs="+", help="Names of the subclasses.")
    parser.add_argument("--reference_labels", nargs="+", help="Their names in --reference. Default: the same.")
    parser.add_argument("--model", help="Compare the embeddings of this network: a run folder or a Hub name.")
    parser.add_argument("--keep", type=float, default=0.5, help="Share of each cluster to keep; default: %(default)s.")
    parser.add_argument("--output", required=True, help="CSV file to write, for --label_overrides.")
    return parser.parse_args()


if __name__ == "__main__":
    with clear_errors():
        main()

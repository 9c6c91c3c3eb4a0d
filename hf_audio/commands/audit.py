"""Audit recordings: broken, clipped, silent or duplicated files, and copies that leak between splits.

    hf-audio audit --corpus irmas --data_dir DIR --output_dir audits/irmas
    hf-audio audit --data_dir recordings --output_dir audits/mine --strict
    hf-audio audit --data_dir recordings --output_dir audits/mine --write_csv usable.csv
    hf-audio audit --dataset USER/NAME --output_dir audits/name

Writes audit.csv (one row per finding) and index.html, a page for listening to the clips and dropping or correcting
them, which exports a table for --label_overrides. A second run processes only new or changed files. Recordings on the
Hub are streamed; the first ones with findings are saved next to the page. --write_csv lists the usable clips, with only
the first of several copies: train on it with --data_dir usable.csv. With --strict, the exit code is 2 if a clip cannot
be used.
"""

from __future__ import annotations

from collections.abc import Sequence

import hf_audio
from hf_audio.commands._parser import add_reading, parser_of

SHOWN_FIRST = ("corpus", "data_dir", "output_dir", "num_workers", "strict", "write_csv", "hub_token")
READING = (
    "dataset",
    "dataset_revision",
    "dataset_config_name",
    "train_split_name",
    "eval_split_name",
    "test_split_name",
    "layout",
    "audio_column_name",
    "label_column_name",
    "label_separator",
    "group_column_name",
    "split_column_name",
    "mask_column_name",
    "merge_classes",
)


def main(argv: Sequence[str]) -> None:
    """Writes the audit of a corpus."""
    parser = parser_of("audit", __doc__)
    add = parser.add_argument
    add("--corpus", default="folder", help="Name of the corpus; use folder for your own recordings.")
    add("--data_dir", help="Folder with the recordings, or a table.")
    add("--output_dir", default="audits/audit", help="Folder for audit.csv and index.html.")
    add("--num_workers", type=int, help="Decoding processes. Default: one per core.")
    add("--strict", action="store_true", help="Exit with code 2 if a clip cannot be used.")
    add("--write_csv", metavar="FILE.csv", help="Also write a table of the usable clips, to be used as --data_dir.")
    add("--hub_token", help="Hub token, for private data. Default: HF_TOKEN, or that of hf auth login.")
    add_reading(parser.add_argument_group("how recordings are read (as for training)"), READING)
    parser.show_first((*SHOWN_FIRST, "dataset"))
    hf_audio.audit_corpus(**vars(parser.parse_args(argv)))

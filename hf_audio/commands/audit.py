"""Audit recordings: broken, clipped, silent or duplicated files, and copies that leak from split to split.

    hf-audio audit --corpus irmas --data_dir DIR --output_dir audits/irmas
    hf-audio audit --data_dir recordings --output_dir audits/mine --strict
    hf-audio audit --data_dir recordings --output_dir audits/mine --write_csv usable.csv
    hf-audio audit --dataset USER/NAME --output_dir audits/name

Writes audit.csv (one row per finding) and index.html (to listen to them, and to drop or correct clips, which gives a
table for --label_overrides). A second run measures new or changed files only. Recordings of a dataset are heard where
they lie, and the first of those with findings are written beside the page. --write_csv lists what can be used, of
copies the first one: train on it with --data_dir usable.csv.
Exit code 2 with --strict where a clip cannot be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import hf_audio
from hf_audio.commands._parser import parser_of

KINDS = {"label_column_name": {"nargs": "+"}, "merge_classes": {"action": "store_true"}}
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
    parser.add_argument("--corpus", default="folder", help="corpus module that reads the recordings; default: folder")
    parser.add_argument("--data_dir", help="folder with the recordings, or a table or dataset for corpus=folder")
    parser.add_argument("--output_dir", default="audits/audit", help="where the report goes")
    parser.add_argument("--num_workers", type=int, help="processes that decode; default: one a core")
    parser.add_argument("--strict", action="store_true", help="exit with code 2 where a clip cannot be used")
    parser.add_argument("--write_csv", help="also write the usable clips as a table for corpus=folder")
    parser.add_argument("--hub_token", help="Hub token. Default: HF_TOKEN or that of hf auth login")
    for field in dataclasses.fields(hf_audio.DataConfig):
        if field.name in READING:
            kind: dict[str, Any] = KINDS.get(field.name, {})
            parser.add_argument(f"--{field.name}", help=field.metadata["help"], **kind)
    hf_audio.audit_corpus(**vars(parser.parse_args(argv)))

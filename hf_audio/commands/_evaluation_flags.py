"""The flags of `hf-audio evaluate`, in the order in which somebody thinks of them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from hf_audio.commands._parser import parser_of
from hf_audio.config.data import CorpusConfig
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.config import DataConfig

READING = (
    *("dataset_config_name", "train_split_name", "eval_split_name", "test_split_name", "layout", "audio_column_name"),
    *("label_column_name", "label_separator", "mask_column_name", "group_column_name", "split_column_name"),
    "merge_classes",
)
THRESHOLDS = {
    "validation": "one, the best on the data's validation split; the model's own where there is none",
    "per_class": "of each class, the best on validation",
    "model": "the one in the model's config.json",
}


def evaluation_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser, whose --help has a group for each question."""
    parser = parser_of("evaluate", description)
    _add_what(parser.add_argument_group("what is evaluated, and on what"))
    _add_decisions(parser.add_argument_group("from windows to decisions"))
    _add_results(parser.add_argument_group("results"))
    _add_pace(parser.add_argument_group("where and how fast"))
    _add_reading(parser.add_argument_group("how recordings are read, as for training"))
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", nargs="+", metavar="MODEL", help="run folders, or models' names on the Hub; several are compared")
    add("--revision", help="a branch, tag or commit of the model, where there is one model")
    add("--dataset", help="features or recordings: a folder, a table, or a name on the Hub")
    add("--dataset_revision", help="a branch, tag or commit of --dataset on the Hub")
    add("--corpus", help="corpus module that reads the recordings in --data_dir, or a copy of it in --dataset")
    add("--data_dir", help="folder with the recordings of --corpus")
    add("--split", help="the split or fold that is evaluated, or all; default: test, or the only one")
    add("--label_map", metavar="FILE.yaml", help="the model's class for classes of the data that have another name")
    add(
        "--allow_training_data",
        action="store_true",
        help="evaluate on recordings that the model was trained on, which says nothing of others",
    )


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--window_s", type=float, help="of recordings: seconds of a window; default: as the model was trained")
    add("--hop_s", type=float, help="seconds from one window to the next; default: the model's, or --window_s if given")
    told = "; ".join(f"{name}: {what}" for name, what in THRESHOLDS.items())
    add("--thresholds", choices=THRESHOLDS, default="validation", help=f"of several labels. {told}. [%(default)s]")


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--output_dir", help="where report.json and the scores go; default: evaluations/ and the names")


def _add_pace(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--token", help="of the Hub, where something is private; default: HF_TOKEN or that of hf auth login")
    add("--device", help="cpu, cuda, cuda:1 ...; default: the accelerator where there is one")
    add("--bf16", action="store_true", help="compute in bfloat16")
    add("--batch_size", type=int, help="windows at a time; default: 32")
    add("--num_threads", type=int, help="that read recordings; default: one for each core")


def _add_reading(group: argparse._ArgumentGroup) -> None:
    for field in dataclasses.fields(CorpusConfig):
        if field.name in READING:
            kind = {"label_column_name": {"nargs": "+"}, "merge_classes": {"action": "store_true"}}.get(field.name, {})
            group.add_argument(f"--{field.name}", help=field.metadata["help"], **kind)


def data_config(given: argparse.Namespace) -> DataConfig:
    """What the flags say of recordings.

    Raises:
        InputError: neither or both of --dataset and --data_dir.
    """
    from hf_audio.config import DataConfig

    if bool(given.dataset) == bool(given.data_dir):
        raise InputError(
            "Give what to evaluate on: --dataset FEATURES, RECORDINGS or USER/NAME, or --corpus NAME --data_dir DIR"
        )
    names = ("dataset", "dataset_revision", "corpus", "data_dir", *READING)
    return DataConfig(**{name: value for name in names if (value := getattr(given, name)) is not None})


def refuse_reading(given: argparse.Namespace, what: str) -> None:
    """Raises InputError where a flag says how recordings are read, and none are."""
    for name in ("corpus", "window_s", "hop_s", "num_threads", *READING):
        if getattr(given, name) not in (None, False):
            raise InputError(f"--{name} would do nothing here: it is for recordings, and {what}; leave it out")

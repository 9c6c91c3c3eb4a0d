"""The flags of `hf-audio evaluate`, in the order in which somebody thinks of them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from hf_audio.commands._parser import parser_of
from hf_audio.config.data import CorpusConfig
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.config import DataConfig

KINDS = {"label_column_name": {"nargs": "+"}, "merge_classes": {"action": "store_true"}}
READING = (
    *("dataset_config_name", "train_split_name", "eval_split_name", "test_split_name", "layout", "audio_column_name"),
    *("label_column_name", "label_separator", "mask_column_name", "group_column_name", "split_column_name"),
    "merge_classes",
)
# names of hf_audio.judging, which is too slow to import for --help
AGGREGATIONS = ("mean_logits", "mean_probability", "max", "vote", "sum_normalized", "attention")
PROTOCOLS = (
    *("irmas", "openmic", "gtzan-fault-filtered", "fma", "esc50-folds", "urbansound8k-folds", "speech-commands-35"),
)
SCALINGS = ("temperature", "vector", "isotonic")
OF_DATA = ("dataset", "dataset_revision", "corpus", "data_dir", "label_map", "allow_training_data", *READING)
OF_MODELS = (
    "revision",
    "window_s",
    "hop_s",
    "unknown",
    "unknown_corpus",
    "robustness",
    "calibrate",
    "calibrated_model",
    "write_card",
)
OF_COMPUTING = ("token", "device", "bf16", "batch_size", "num_threads")
ROBUSTNESS_CLIPS = 100


def evaluation_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser, whose --help has a group for each question."""
    parser = parser_of("evaluate", description)
    _add_what(parser.add_argument_group("what is evaluated, and on what"))
    _add_decisions(parser.add_argument_group("from windows to decisions"))
    _add_questions(parser.add_argument_group("further questions"))
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
        "--scores",
        nargs="+",
        metavar="FOLDER",
        help="in place of models and data: run folders or OUTPUT_DIR/MODEL of this command, whose scores/ are judged",
    )
    add(
        "--allow_training_data",
        action="store_true",
        help="evaluate on recordings that the model was trained on, which says nothing of others",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        help="metric, aggregation and split by which a corpus is usually evaluated; refused where the data are others",
    )


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--window_s", type=float, help="of recordings: seconds of a window; default: as the model was trained")
    add("--hop_s", type=float, help="seconds from one window to the next; default: the model's, or --window_s if given")
    add("--aggregation", choices=AGGREGATIONS, help="from windows to clips; default: mean_logits, or the protocol's")
    add(
        "--thresholds",
        choices=("validation", "per_class", "model"),
        default="validation",
        help="of several labels, chosen on the data's validation split: one for all classes or per_class; model: the "
        "one in its config.json, which counts too where there is no validation split [%(default)s]",
    )


def _add_questions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--metric", help="the main one, by which models are compared; default: the task's, or the protocol's")
    add("--num_draws", type=int, default=1000, help="of the bootstrap over groups [%(default)s]")
    add("--confidence", type=float, default=0.95, help="of intervals [%(default)s]")
    add("--seed", type=int, default=0, help="of all that is drawn [%(default)s]")
    add(
        "--ensemble",
        choices=("mean", "validation"),
        help="also judge the models together: mean of their probabilities, or weights that are best on validation",
    )
    add("--risk", type=float, help="share of wrong answers that is allowed where the model may say: don't know")
    add("--coverage", type=float, help="share of clips that are to be answered, in place of --risk")
    add("--unknown", metavar="DATA", help="sounds that have none of the classes: features or recordings")
    add("--unknown_corpus", metavar="CORPUS", help="corpus module that reads the recordings in --unknown, e.g. esc50")
    add(
        "--robustness",
        nargs="*",
        metavar="NAME[=X,Y]",
        help="also hear the recordings in worse states: noise, codecs, levels, rooms; all of them, or those named, "
        "such as white_noise=20,10 mp3=32",
    )
    add("--robustness_clips", type=int, help=f"heard in worse states; default: about {ROBUSTNESS_CLIPS}")


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--output_dir", help="where report.json, index.html and the scores go; default: evaluations/DATA")
    add("--embed_sounds", action="store_true", help="put excerpts into index.html, so that it can be sent to others")
    add("--write_card", action="store_true", help="put the results into the models' cards: README.md, or on the Hub")
    add(
        "--calibrate",
        choices=SCALINGS,
        help="fit a scaling on validation and save the model with it, so that its scores in pipelines are calibrated",
    )
    add("--calibrated_model", metavar="FOLDER", help="where the model that --calibrate makes goes")


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
            kind: dict[str, Any] = KINDS.get(field.name, {})
            group.add_argument(f"--{field.name}", help=field.metadata["help"], **kind)


def check_flags(given: argparse.Namespace) -> None:
    """Refuses flags that do not fit together, before anything is read.

    Raises:
        InputError: one that would do nothing, or is missing.
    """
    if given.scores:
        others = ("model", "protocol", "embed_sounds", *OF_DATA, *OF_MODELS, *OF_COMPUTING)
        _refuse(given, others, "stored scores are judged, without models and data")
    elif not given.model:
        raise InputError("Give a model to evaluate: --model RUN_FOLDER or USER/NAME, or stored --scores")
    if given.revision and len(given.model) > 1:
        raise InputError(f"--revision is of one model, and {len(given.model)} are given: evaluate that one by itself")
    for name in ("batch_size", "num_threads", "robustness_clips"):
        if (number := getattr(given, name)) is not None and number < 1:
            raise InputError(f"Found --{name} {number}, expected 1 or more")
    if given.write_card:
        _check_card(given)
    if given.ensemble and len(given.scores or given.model) < 2:
        raise InputError("--ensemble is of two models or more: name them behind --model or --scores")
    if given.unknown_corpus and not given.unknown:
        raise InputError("--unknown_corpus says how the recordings in --unknown are read: give that too")
    if given.robustness_clips is not None and given.robustness is None:
        raise InputError("--robustness_clips would do nothing here: add --robustness, or leave it out")
    if bool(given.calibrate) != bool(given.calibrated_model):
        raise InputError("--calibrate KIND and --calibrated_model FOLDER belong together: give both, or none")
    if given.calibrate and len(given.model) > 1:
        raise InputError(f"--calibrate saves one model, and {len(given.model)} are given: calibrate them one by one")
    if given.protocol and (given.aggregation or given.metric):
        raise InputError(
            f"--protocol {given.protocol} says aggregation and metric: leave out "
            f"{'--aggregation' if given.aggregation else '--metric'}, or the protocol"
        )


def _check_card(given: argparse.Namespace) -> None:
    """Refuses to publish scores that a reader of the card would take for others."""
    if given.allow_training_data:
        raise InputError(
            "--write_card would publish scores on what the model was trained on, which say nothing of other "
            "recordings: leave it out, or --allow_training_data"
        )
    if given.revision:
        raise InputError(
            f"--write_card writes into the card of the newest version, and {given.revision} is evaluated: leave out "
            "--revision, or the card"
        )


def refuse_reading(given: argparse.Namespace) -> None:
    """Raises InputError where a flag says how recordings are read or heard, and features are given."""
    names = ("corpus", "window_s", "hop_s", "num_threads", "robustness", "embed_sounds", *READING)
    _refuse(given, names, f"it is for recordings, and {given.dataset} holds features")


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
    return DataConfig(**{name: value for name in names if (value := getattr(given, name))})


def _refuse(given: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(given, name) not in (None, False):
            raise InputError(f"--{name} would do nothing here: {why}; leave it out")

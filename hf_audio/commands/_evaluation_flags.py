"""The flags of `hf-audio evaluate`, in the order of the decisions that users make."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hf_audio.commands._parser import add_reading, parser_of
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.config import DataConfig
    from hf_audio.flags import FlagParser

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


SHOWN_FIRST = (
    *("model", "scores", "dataset", "corpus", "data_dir", "split", "label_map", "protocol"),
    *("metric", "ensemble", "robustness", "output_dir", "embed_sounds", "write_card", "device"),
)


def evaluation_parser(description: str | None) -> FlagParser:
    """The parser, whose --help has a group per question."""
    parser = parser_of("evaluate", description)
    parser.usage = "hf-audio evaluate --model MODEL [MODEL ...] --dataset DATA [--flag value ...]"
    _add_what(parser.add_argument_group("what to evaluate, and on what"))
    _add_decisions(parser.add_argument_group("from windows to decisions"))
    _add_questions(parser.add_argument_group("what to measure"))
    _add_results(parser.add_argument_group("results"))
    _add_pace(parser.add_argument_group("device and speed"))
    add_reading(parser.add_argument_group("how recordings are read (as for training)"), READING)
    parser.show_first(SHOWN_FIRST)
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", nargs="+", metavar="MODEL", help="Run folders or Hub names; several models are compared.")
    add("--revision", help="Branch, tag or commit of the model on the Hub, for a single model.")
    add("--dataset", help="Data to evaluate on: features or recordings; a folder, a table, or a Hub name.")
    add("--dataset_revision", help="Branch, tag or commit of --dataset on the Hub.")
    add("--corpus", help="Name of the corpus in --data_dir or --dataset; see hf-audio corpora --list.")
    add("--data_dir", help="Folder with the recordings of --corpus.")
    add("--split", help="Split or fold to evaluate, or all. Default: test, or the only one.")
    add("--label_map", metavar="FILE.yaml", help="The model's name for classes that the data name differently.")
    add(
        "--scores",
        nargs="+",
        metavar="FOLDER",
        help="Evaluate stored scores, without models and data: run folders, or OUTPUT_DIR/MODEL of this command.",
    )
    add(
        "--allow_training_data",
        action="store_true",
        help="Evaluate on recordings that the model was trained on; such scores say nothing about new recordings.",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        help="Standard protocol of a corpus: its metric, aggregation and split, which the data must fit. One of "
        f"{', '.join(PROTOCOLS)}.",
        metavar="NAME",
    )


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--window_s", type=float, help="For recordings: length of a window in seconds. Default: the model's.")
    add("--hop_s", type=float, help="Seconds between windows. Default: the model's, or --window_s if given.")
    add("--aggregation", choices=AGGREGATIONS, help="From windows to clips. Default: mean_logits, or the protocol's.")
    add(
        "--thresholds",
        choices=("validation", "per_class", "model"),
        default="validation",
        help="Multi-label thresholds: one for all classes or per_class, chosen on the validation split of the data, or "
        "the one in the model's config.json, which is also the fallback without a validation split.",
    )


def _add_questions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--metric", help="Metric for comparing models. Default: the task's, or the protocol's.")
    add("--num_draws", type=int, default=1000, help="Bootstrap samples, drawn by group.")
    add("--confidence", type=float, default=0.95, help="Confidence level of the intervals.")
    add("--seed", type=int, default=0, help="Random seed.")
    add(
        "--ensemble",
        choices=("mean", "validation"),
        help="Also evaluate an ensemble: mean of the probabilities, or weights chosen on the validation split.",
    )
    add("--risk", type=float, help="Selective prediction: maximum error rate of the answered clips.")
    add("--coverage", type=float, help="Selective prediction: fraction of clips to answer, instead of --risk.")
    add(
        "--unknown",
        metavar="DATA",
        help="Features or recordings of sounds that belong to no class, for rejection scores.",
    )
    add("--unknown_corpus", metavar="CORPUS", help="Name of the corpus in --unknown, e.g. esc50.")
    add(
        "--robustness",
        nargs="*",
        metavar="NAME[=X,Y]",
        help="Also evaluate degraded recordings: noise, codecs, levels, rooms. All of them, or those named, such as "
        "white_noise=20,10 mp3=32.",
    )
    add("--robustness_clips", type=int, help=f"Number of clips to degrade. Default: about {ROBUSTNESS_CLIPS}.")


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--output_dir", help="Folder for report.json, index.html and scores. Default: evaluations/DATA.")
    add("--embed_sounds", action="store_true", help="Embed audio excerpts in index.html, so that it can be shared.")
    add("--write_card", action="store_true", help="Write the results to the models' cards, local or on the Hub.")
    add(
        "--calibrate",
        choices=SCALINGS,
        help="Fit a calibration on the validation split, and save the model with it to --calibrated_model.",
    )
    add("--calibrated_model", metavar="FOLDER", help="Folder where --calibrate saves the model.")


def _add_pace(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--token", help="Hub token, for private data and models. Default: HF_TOKEN, or that of hf auth login.")
    add("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    add("--bf16", action="store_true", help="Compute in bfloat16.")
    add("--batch_size", type=int, help="Windows per batch. Default: 32.")
    add("--num_threads", type=int, help="Threads that read recordings. Default: one per core.")


def check_flags(given: argparse.Namespace) -> None:
    """Refuses incompatible flags before anything is read.

    Raises:
        InputError: a flag would have no effect, or is missing.
    """
    if given.scores:
        others = ("model", "protocol", "embed_sounds", *OF_DATA, *OF_MODELS, *OF_COMPUTING)
        _refuse(given, others, "stored scores are evaluated without models and data")
    elif not given.model:
        raise InputError("Give a model to evaluate: --model RUN_FOLDER or USER/NAME, or stored --scores")
    if given.revision and len(given.model) > 1:
        raise InputError(
            f"--revision applies to a single model, and {len(given.model)} were given: evaluate that model alone"
        )
    for name in ("batch_size", "num_threads", "robustness_clips"):
        if (number := getattr(given, name)) is not None and number < 1:
            raise InputError(f"Found --{name} {number}, expected 1 or more")
    if given.write_card:
        _check_card(given)
    if given.ensemble and len(given.scores or given.model) < 2:
        raise InputError("--ensemble needs two or more models: give them with --model or --scores")
    if given.unknown_corpus and not given.unknown:
        raise InputError("--unknown_corpus describes the recordings of --unknown: give --unknown too")
    if given.robustness_clips is not None and given.robustness is None:
        raise InputError("--robustness_clips would have no effect here: add --robustness, or remove it")
    if bool(given.calibrate) != bool(given.calibrated_model):
        raise InputError("--calibrate KIND and --calibrated_model FOLDER need each other: give both or neither")
    if given.calibrate and len(given.model) > 1:
        raise InputError(
            f"--calibrate saves a single model, and {len(given.model)} were given: calibrate them one by one"
        )
    if given.protocol and (given.aggregation or given.metric):
        raise InputError(
            f"--protocol {given.protocol} determines aggregation and metric: remove "
            f"{'--aggregation' if given.aggregation else '--metric'}, or the protocol"
        )


def _check_card(given: argparse.Namespace) -> None:
    """Refuses to publish scores that would mislead readers of the card."""
    if given.allow_training_data:
        raise InputError(
            "--write_card would publish scores on the training data, which say nothing about other "
            "recordings: remove it, or remove --allow_training_data"
        )
    if given.revision:
        raise InputError(
            f"--write_card changes the card of the newest version, but {given.revision} was evaluated: remove "
            "--revision or --write_card"
        )


def refuse_reading(given: argparse.Namespace) -> None:
    """Raises InputError if a flag for recordings is given and the data are features."""
    names = ("corpus", "window_s", "hop_s", "num_threads", "robustness", "embed_sounds", *READING)
    _refuse(given, names, f"it is for recordings, and {given.dataset} contains features")


def data_config(given: argparse.Namespace) -> DataConfig:
    """The settings for reading recordings.

    Raises:
        InputError: neither or both of --dataset and --data_dir are given.
    """
    from hf_audio.config import DataConfig

    if bool(given.dataset) == bool(given.data_dir):
        raise InputError(
            "Give the data to evaluate on: --dataset FEATURES, RECORDINGS or USER/NAME, or --corpus NAME --data_dir DIR"
        )
    names = ("dataset", "dataset_revision", "corpus", "data_dir", *READING)
    return DataConfig(**{name: value for name in names if (value := getattr(given, name))})


def _refuse(given: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(given, name) not in (None, False):
            raise InputError(f"--{name} would have no effect here: {why}; remove it")

"""From a recipe's values to settings: recipe < --demo < --config FILE.yaml < command line.

A typo in any of them is an error that names the nearest flag.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_audio.config import (
    ClassicalConfig,
    CorpusConfig,
    HubConfig,
    LossConfig,
    ModelConfig,
    PretrainingConfig,
    Recipe,
    RunConfig,
)
from hf_audio.config.acting import require_acting
from hf_audio.config.run import NETWORK_GROUPS, RECORDING_GROUPS
from hf_audio.data.loading.dataset_files import is_feature_folder
from hf_audio.environment import require_working_torchaudio
from hf_audio.errors import InputError, unknown_name
from hf_audio.files import read_yaml
from hf_audio.privacy import remember_token
from hf_audio.training.argument_checks import require_makeable, require_of_classical_models, require_useful
from hf_audio.training.arguments import fit_workers, training_defaults

GROUPS = {**RECORDING_GROUPS, **NETWORK_GROUPS, "hub": HubConfig, "run": RunConfig}

MAX_YAML_BYTES = 1 << 18

# What --help of a recipe shows, with whatever the recipe gives a value; --help_all shows all flags.
COMMON_FLAGS = {
    *("corpus", "data_dir", "dataset", "label_map", "label_overrides"),
    *("fold", "test_groups", "validation_fraction", "features", "window_s", "num_workers"),
    *("model", "head", "freeze", "lora_rank", "early_stopping_patience"),
    *("mixup_alpha", "time_mask_s", "frequency_mask_bins", "loss", "class_weights", "classical_model"),
    *("output_dir", "num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "bf16", "seed"),
    *("push_to_hub", "hub_model_id", "hub_private_repo", "config", "demo", "help", "help_all"),
}

# Where transformers' own words are not true here, or long
HELP = {
    "output_dir": "Run folder: model, report, card, plots, checkpoints.",
    "num_train_epochs": "Epochs to train.",
    "max_steps": "Train so many optimizer steps instead of epochs.",
    "learning_rate": "Learning rate at its highest, behind the warmup.",
    "per_device_train_batch_size": "Windows of a batch, on each device.",
    "bf16": "Compute in bfloat16 where that is safe. Default: on GPUs that have it, and on CPUs where it is faster.",
    "seed": "Seed of weights, order and augmentation.",
    "push_to_hub": "Publish model, card and report on the Hub when the run is over.",
    "hub_model_id": "Name of the published model, USER/NAME. Default: yours, the run folder's.",
    "hub_private_repo": "true: the published model is private.",
    "hub_token": "Token of the Hub. Default: HF_TOKEN, or that of `hf auth login`.",
}


def parse_recipe(
    values: Mapping[str, Any], demo: Mapping[str, Any] | None = None, doc: str = "", argv: list[str] | None = None
) -> Recipe:
    """The settings of one run.

    Args:
        values: the recipe's own values; keys are flag names. The flags of PretrainingConfig are there only where one of
            them is among these, and those of ClassicalConfig too, in place of a model's and augmentation's.
        demo: values that `--demo` lays over them; None where a recipe has no demo.
        doc: the recipe's docstring, shown by `--help`.
        argv: the command line without the program; None takes sys.argv.

    Raises:
        InputError: an unknown key or flag (names the nearest), or a value of the wrong kind.
    """
    require_working_torchaudio()
    argv = sys.argv[1:] if argv is None else argv
    kinds = (*_groups_of(values), TrainingArguments)
    parser = _parser(doc, kinds)
    parser.shown = COMMON_FLAGS.union(values) - ({"demo"} if demo is None else set())
    chosen = parser.parse_known_args(_only(argv, "--config", "--demo"))[0]
    layers = {"the project's defaults": training_defaults(), "the recipe": values}
    if chosen.demo:
        if demo is None:
            raise InputError("This recipe has no demo: run it with --data_dir or --dataset instead of --demo")
        layers["the recipe's demo values"] = demo
    own = vars(_parse(parser, layers, []))
    written = _read_config(chosen.config) if chosen.config else {}
    layers |= {f"--config {chosen.config}": written} if written else {}
    namespace = _parse(parser, layers, argv)
    # the device and the model decide what else is the default
    layers["the project's defaults"] = training_defaults(namespace.use_cpu, getattr(namespace, "model", None))
    namespace = _parse(parser, layers, argv)
    typed = _typed(parser, argv)
    for name, value in fit_workers(vars(namespace), {*values, *written, *typed}).items():
        setattr(namespace, name, value)
    given = frozenset({*written, *typed})
    _check(namespace, given)
    differing = {name: value for name, value in vars(namespace).items() if value != own[name]}
    push_to_hub, namespace.push_to_hub = namespace.push_to_hub, False
    token, namespace.hub_token = namespace.hub_token, None
    remember_token(token)
    for kind in ("", "_kwargs"):  # transformers warns of their first names, and keeps them equal
        if getattr(namespace, f"activation_checkpointing{kind}") is None:
            setattr(namespace, f"activation_checkpointing{kind}", getattr(namespace, f"gradient_checkpointing{kind}"))
        setattr(namespace, f"gradient_checkpointing{kind}", None)
    found = {kind: _take(kind, namespace) for kind in kinds}
    has_adapters = ModelConfig in found and found[ModelConfig].lora_rank > 0
    has_centers = LossConfig in found and found[LossConfig].center_weight > 0
    require_makeable(found[TrainingArguments], given, has_adapters, has_centers)
    return Recipe(
        **{name: found.get(kind) or kind() for name, kind in (GROUPS | {"training": TrainingArguments}).items()},
        pretraining=found.get(PretrainingConfig),
        classical=found.get(ClassicalConfig),
        push_to_hub=push_to_hub,
        token=token,
        chosen={name: value for name, value in differing.items() if name != "hub_token"},
        given=given,
        **_known_of_dataset(found[CorpusConfig].dataset),
    )


def _known_of_dataset(dataset: str | list[str] | None) -> dict[str, Any]:
    """Whether --dataset holds features that were built already, as far as that is known without asking the Hub."""
    if isinstance(dataset, list):
        dataset = dataset[0] if len(dataset) == 1 else None  # several are recordings, to be joined
    if dataset is None:
        return {"stored_features": False}
    folder = Path(dataset).expanduser()
    return {"stored_features": is_feature_folder(folder)} if folder.is_dir() else {}


def _check(namespace: argparse.Namespace, given: Collection[str]) -> None:
    """Refuses what was given and would do nothing, or cannot be, before anything is read or built."""
    values = vars(namespace)
    require_useful(given, values)
    require_acting(given, values | _known_of_dataset(values.get("dataset")))
    if "classical_model" in values:
        require_of_classical_models(given)


def parse_settings(*kinds: type, values: Mapping[str, Any], doc: str = "", argv: list[str] | None = None) -> list[Any]:
    """One filled dataclass of each of `kinds`, for scripts that are no recipe; errors and --help as in parse_recipe."""
    require_working_torchaudio()
    argv, parser = sys.argv[1:] if argv is None else argv, _parser(doc, kinds)
    namespace = _parse(parser, {"the script": values}, argv)
    found = vars(namespace)
    require_acting(_typed(parser, argv), found | _known_of_dataset(found.get("dataset")))
    return [_take(kind, namespace) for kind in kinds]


def _groups_of(values: Mapping[str, Any]) -> tuple[type, ...]:
    """The groups of flags that a recipe with these values has."""

    def names_one_of(group: type) -> bool:
        return any(field.name in values for field in dataclasses.fields(group))

    if names_one_of(ClassicalConfig):
        return (*RECORDING_GROUPS.values(), ClassicalConfig, HubConfig, RunConfig)
    return (*GROUPS.values(), *([PretrainingConfig] if names_one_of(PretrainingConfig) else []))


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the docstring's lines and shows this recipe's value beside each flag, in one spelling."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.help and action.default not in (None, argparse.SUPPRESS) and not isinstance(action.default, bool)
        if isinstance(action.default, list):
            return f"{action.help} [{' '.join(map(str, action.default))}]"
        return f"{action.help} [%(default)s]" if shown else action.help

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flag = action.option_strings[-1] if action.dest == "help" else action.option_strings[0]
        return flag if action.nargs in (0, "?") else f"{flag} {self._format_args(action, 'VALUE')}"


class _Parser(HfArgumentParser):
    """Parser whose complaints are InputErrors, and whose --help is short unless --help_all asks for everything.

    Attributes:
        shown: names of the flags that --help shows; None for all.
    """

    shown: Collection[str] | None = None

    def error(self, message: str):
        raise InputError(message)

    def print_help(self, file=None):
        shown, hidden = None if "--help_all" in sys.argv else self.shown, []
        for group in self._action_groups:
            flags = [one for one in group._group_actions if not one.option_strings[0].startswith("--no_")]
            rare = [one for one in flags if shown is not None and one.dest not in shown]
            for action in group._group_actions:
                if action in rare or action not in flags:
                    action.help = argparse.SUPPRESS
            if 0 < len(rare) < len(flags):
                group.title = f"{group.title} ({len(rare)} more: --help_all)"
            elif rare:
                hidden.append(f"{group.title} ({len(rare)})")
        self.epilog += f" Groups that are not shown: {', '.join(hidden)}." if hidden else ""
        super().print_help(file)


def _parser(doc: str, kinds: Iterable[type]) -> _Parser:
    parser = _Parser(
        kinds,
        description=doc,
        usage="accelerate launch %(prog)s [--flag value ...]",
        formatter_class=lambda prog: _Help(prog, max_help_position=32, width=110),
        allow_abbrev=False,
        epilog="A switch that is on is turned off by `--NAME false`.",
    )
    if TrainingArguments in kinds:
        parser._optionals.title = "training (transformers.TrainingArguments)"
        parser.epilog += " All other flags, each field of transformers.TrainingArguments among them: --help_all."
        parser.add_argument("--help_all", action="help", help="show all flags")
        for action in parser._actions:
            action.help = HELP.get(action.dest, action.help)
    parser._action_groups.append(parser._action_groups.pop(1))  # our own groups first
    return parser


def _parse(parser: _Parser, layers: Mapping[str, Mapping[str, Any]], argv: list[str]) -> argparse.Namespace:
    """The command line over the layers, which are named by where they come from, lowest first."""
    flags = {action.dest for action in parser._actions}
    for source, layer in layers.items():
        for key in layer:
            if key not in flags:
                raise unknown_name(f"setting in {source}", key, flags)
        parser.set_defaults(**layer)
    namespace, unknown = parser.parse_known_args(argv)
    if unknown:
        typed = unknown[0].split("=")[0]
        if not typed.startswith("-"):
            raise InputError(f"Unexpected argument {typed!r}: every value needs a flag in front of it, see --help")
        raise unknown_name("flag", typed, [option for action in parser._actions for option in action.option_strings])
    return namespace


def _typed(parser: _Parser, argv: list[str]) -> set[str]:
    """The settings that a command line names, whatever their values."""
    defaults, not_typed = {action.dest: action.default for action in parser._actions}, object()
    parser.set_defaults(**dict.fromkeys(defaults, not_typed))
    typed = parser.parse_known_args(argv)[0]
    parser.set_defaults(**defaults)
    return {name for name, value in vars(typed).items() if value is not not_typed}


def _only(argv: list[str], *flags: str) -> list[str]:
    """The part of a command line that is about `flags`, so that they can be read before anything else is checked."""
    kept = []
    for position, argument in enumerate(argv):
        if argument.split("=")[0] in flags:
            kept.append(argument)
            following = argv[position + 1 : position + 2]
            if "=" not in argument and following and not following[0].startswith("-"):
                kept.append(following[0])
    return kept


def _read_config(path: str) -> dict[str, Any]:
    try:
        return read_yaml(path, MAX_YAML_BYTES)
    except InputError as error:
        raise InputError(f"--config {error}") from None


def _take(kind: type, namespace: argparse.Namespace) -> Any:
    """The dataclass `kind`, filled from the parsed flags."""
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    try:
        return kind(**{name: getattr(namespace, name) for name in names})
    except (ValueError, TypeError, OSError, ImportError) as error:  # of TrainingArguments: of every kind
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from None

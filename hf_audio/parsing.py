"""From a recipe's values to settings: recipe < --demo < --config FILE.yaml < command line.

Values below `recipe` in that file stand for the recipe's own: the config.yaml of a run has them so.

A typo in any of them is an error that names the nearest flag.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_audio.config import (
    ClassicalConfig,
    CorpusConfig,
    DataConfig,
    HubConfig,
    LossConfig,
    ModelConfig,
    PretrainingConfig,
    Recipe,
    RunConfig,
    ShareConfig,
)
from hf_audio.config.acting import require_acting
from hf_audio.config.help_texts import COMMON_FLAGS, HELP
from hf_audio.config.needs import as_typed
from hf_audio.config.run import NETWORK_GROUPS, RECORDING_GROUPS
from hf_audio.data.loading.dataset_files import is_feature_folder
from hf_audio.environment import require_working_torchaudio
from hf_audio.errors import InputError
from hf_audio.files import read_yaml
from hf_audio.flags import FlagParser, Help, unknown_setting
from hf_audio.kinds import KINDS
from hf_audio.privacy import remember_token
from hf_audio.training.argument_checks import require_makeable, require_of_classical_models, require_useful
from hf_audio.training.arguments import fit_workers, training_defaults

GROUPS = {**RECORDING_GROUPS, **NETWORK_GROUPS, "hub": HubConfig, "run": RunConfig}

ALL_GROUPS = (DataConfig, *GROUPS.values(), PretrainingConfig, ClassicalConfig, ShareConfig)

MAX_YAML_BYTES = 1 << 18


def make_recipe(**settings: Any) -> Recipe:
    """The settings of one run from Python: keywords are the names of flags, and no command line is read.

        recipe = hf_audio.make_recipe(output_dir="runs/mine", data_dir="recordings", model="cnn", num_train_epochs=20)

    Values of another recipe can be among them: `make_recipe(**{**VALUES, "output_dir": "runs/mine"})`.

    Raises:
        InputError: no output_dir; an unknown name (names the nearest), a value of the wrong kind, or one that would
            do nothing.
    """
    if not settings.get("output_dir"):
        raise InputError('A run needs a folder of its own: give make_recipe an output_dir, e.g. "runs/mine"')
    paths = {name: os.fspath(value) for name, value in settings.items() if isinstance(value, os.PathLike)}
    return parse_recipe({}, argv=[], asked=settings | paths)


def parse_recipe(
    values: Mapping[str, Any],
    demo: Mapping[str, Any] | None = None,
    doc: str = "",
    argv: list[str] | None = None,
    *,
    asked: Mapping[str, Any] | None = None,
) -> Recipe:
    """The settings of one run.

    Args:
        values: the recipe's own values; keys are flag names. The flags of PretrainingConfig are there only where one of
            them is among these, and those of ClassicalConfig too, in place of a model's and augmentation's.
        demo: values that `--demo` lays over them; None where a recipe has no demo.
        doc: the recipe's docstring, shown by `--help`.
        argv: the command line without the program; None takes sys.argv.
        asked: what a program asks for, see `make_recipe`.

    Raises:
        InputError: an unknown key or flag (names the nearest), or a value of the wrong kind.
    """
    require_working_torchaudio()
    argv = sys.argv[1:] if argv is None else argv
    kinds = (*_groups_of({**values, **(asked or {})}), TrainingArguments)
    parser = _parser(doc, kinds, demo=demo is not None)
    parser.show_first(COMMON_FLAGS.union(values))
    chosen = parser.parse_known_args(_only(argv, "--config", "--demo"))[0]
    layers = {"the project's defaults": training_defaults(), "the recipe": values}
    if chosen.demo:
        if demo is None:
            raise InputError("This recipe has no demo: run it with --data_dir or --dataset instead of --demo")
        layers["the recipe's demo values"] = demo
    own, recipes = vars(_parse(parser, layers, [])), {**values, **layers.get("the recipe's demo values", {})}
    base, written = _read_config(chosen.config) if chosen.config else ({}, {})
    layers |= {f"--config {chosen.config} below `recipe`": base, f"--config {chosen.config}": written}
    layers |= {"make_recipe": asked} if asked else {}
    namespace = _parse(parser, layers, argv)
    # the device and the model decide what else is the default
    defaults = training_defaults(namespace.use_cpu, getattr(namespace, "model", None))
    own |= {name: value for name, value in defaults.items() if name not in recipes}
    layers["the project's defaults"] = defaults
    namespace = _parse(parser, layers, argv)
    typed = _typed(parser, argv)
    given = frozenset({*written, *(asked or ()), *typed})
    named = frozenset().union(*list(layers.values())[1:], given)
    for name, value in fit_workers(vars(namespace), named).items():
        setattr(namespace, name, value)
    _check(namespace, given)
    resolved = {name: value for name, value in vars(namespace).items() if name != "hub_token"}
    differing = {name: value for name, value in vars(namespace).items() if value != own[name]}
    push_to_hub, namespace.push_to_hub = namespace.push_to_hub, False
    token, namespace.hub_token = namespace.hub_token, None
    remember_token(token)
    _rename_checkpointing(namespace)
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
        made_in_python=asked is not None,
        named=named,
        resolved=resolved,
        **_known_of_dataset(found[CorpusConfig].dataset),
    )


def _rename_checkpointing(namespace: argparse.Namespace) -> None:
    """Puts gradient checkpointing under its new name: transformers warns of the first one, and keeps both equal."""
    for kind in ("", "_kwargs"):
        if getattr(namespace, f"activation_checkpointing{kind}") is None:
            setattr(namespace, f"activation_checkpointing{kind}", getattr(namespace, f"gradient_checkpointing{kind}"))
        setattr(namespace, f"gradient_checkpointing{kind}", None)


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


def parse_settings(
    *kinds: type,
    values: Mapping[str, Any],
    doc: str = "",
    argv: list[str] | None = None,
    program: str | None = None,
    shown: Collection[str] = (),
) -> list[Any]:
    """One filled dataclass of each of `kinds`, for scripts that are no recipe; errors and --help as in parse_recipe.

    Args:
        program: what the command line begins with; None: a script, by its own name.
        shown: the flags that --help shows; none: all.
    """
    require_working_torchaudio()
    argv, parser = sys.argv[1:] if argv is None else argv, _parser(doc, kinds, program=program)
    if shown:
        parser.show_first(shown)
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


class _Parser(FlagParser, HfArgumentParser):
    """Flags of dataclasses, each of which is a group of --help."""


def _parser(doc: str, kinds: Iterable[type], demo: bool = True, program: str | None = None) -> _Parser:
    """A parser with the flags of dataclasses.

    Args:
        doc: what --help begins with.
        demo: whether the recipe has one, which --demo then runs.
        program: what the command line begins with; None: a recipe or script, by its own name.
    """
    make: Any = _Parser  # of which mypy sees argparse's __init__ alone
    parser: _Parser = make(
        kinds,
        prog=program or _program(TrainingArguments in kinds),
        description=doc,
        usage="%(prog)s [--flag value ...]",
        formatter_class=Help,
        allow_abbrev=False,
        epilog="A switch that is on is turned off by `--NAME false`.",
    )
    for action in parser._actions:
        if action.dest == "features":  # the kinds that are there, of which settings know nothing
            action.choices = list(KINDS)
        if action.dest == "demo" and not demo:
            action.help = argparse.SUPPRESS
    if TrainingArguments in kinds:
        parser._optionals.title = "training (transformers.TrainingArguments)"
        for action in parser._actions:
            action.help = action.help if action.help == argparse.SUPPRESS else HELP.get(action.dest, action.help)
    parser._action_groups.append(parser._action_groups.pop(1))  # our own groups first
    return parser


def _program(is_recipe: bool) -> str:
    """What the command line of this process began with."""
    name = Path(sys.argv[0]).name
    return f"accelerate launch recipes/{name}" if is_recipe else f"python scripts/{name}"


def _parse(parser: _Parser, layers: Mapping[str, Mapping[str, Any]], argv: list[str]) -> argparse.Namespace:
    """The command line over the layers, which are named by where they come from, lowest first."""
    flags = {action.dest for action in parser._actions}
    for source, layer in layers.items():
        for key in layer:
            if key not in flags:
                raise unknown_setting(f"setting in {source}", key, flags)
        parser.set_defaults(**layer)
    namespace, unknown = parser.parse_known_args(argv)
    if unknown:
        raise parser.unknown_argument(unknown[0])
    _check_choices(parser, namespace)
    return namespace


def _check_choices(parser: _Parser, namespace: argparse.Namespace) -> None:
    """Refuses a value that is none of a flag's choices, wherever it comes from; argparse looks at typed ones alone."""
    for action in parser._actions:
        value = getattr(namespace, action.dest, None)
        for one in value if isinstance(value, list) else [value]:
            if one is not None and action.choices is not None:
                parser._check_value(action, as_typed(one))


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


def _read_config(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's values that stand for the recipe's own, below `recipe` in the config.yaml of a run, and those given."""
    try:
        written = read_yaml(path, MAX_YAML_BYTES)
    except InputError as error:
        raise InputError(f"--config {error}") from None
    base = written.pop("recipe", None) or {}
    if not isinstance(base, dict):
        raise InputError(
            f"--config {path} has `recipe: {base}`, expected lines of `name: value` below it: leave it out, or write "
            "the settings there"
        )
    for name in ("config", "demo"):  # both are read before the file is
        if name in base or name in written:
            raise InputError(f"--config {path} has {name}, which is for the command line: leave it out of the file")
    return base, written


def _take(kind: type, namespace: argparse.Namespace) -> Any:
    """The dataclass `kind`, filled from the parsed flags."""
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    try:
        return kind(**{name: getattr(namespace, name) for name in names})
    except (ValueError, TypeError, OSError, ImportError) as error:  # of TrainingArguments: of every kind
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from None

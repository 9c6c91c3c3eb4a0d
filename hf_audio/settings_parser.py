"""The parser of settings: one flag per field of the settings' dataclasses, over values from other sources."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_audio.config.help_texts import HELP
from hf_audio.config.needs import as_typed
from hf_audio.errors import InputError
from hf_audio.flags import FlagParser, Help, unknown_setting
from hf_audio.kinds import KINDS

Layers = Mapping[str, Mapping[str, Any]]  # values by the name of their source, the lowest source first


class SettingsParser(FlagParser, HfArgumentParser):
    """A parser of dataclasses. Each of them is a group of --help."""


def settings_parser(
    doc: str, kinds: Iterable[type], *, has_demo: bool = True, program: str | None = None
) -> SettingsParser:
    """A parser with the flags of dataclasses.

    Args:
        doc: text at the start of --help.
        kinds: the dataclasses.
        has_demo: whether the recipe has a demo, which --demo runs.
        program: start of the command line; None: a recipe or script, by its own name.
    """
    make: Any = SettingsParser  # mypy sees only argparse's __init__
    parser: SettingsParser = make(
        kinds,
        prog=program or _program(TrainingArguments in kinds),
        description=doc,
        usage="%(prog)s [--flag value ...]",
        formatter_class=Help,
        allow_abbrev=False,
        epilog="To turn off a switch that is on, use `--NAME false`.",
    )
    for action in parser._actions:
        if action.dest == "features":  # the registered kinds, which are unknown to the dataclass
            action.choices = list(KINDS)
        if action.dest == "demo" and not has_demo:
            action.help = argparse.SUPPRESS
    if TrainingArguments in kinds:
        parser._optionals.title = "training (transformers.TrainingArguments)"
        for action in parser._actions:
            action.help = action.help if action.help == argparse.SUPPRESS else HELP.get(action.dest, action.help)
    parser._action_groups.append(parser._action_groups.pop(1))  # our own groups first
    return parser


def parse_over(parser: SettingsParser, layers: Layers, argv: list[str]) -> argparse.Namespace:
    """Parses a command line, whose flags override the values of the layers.

    Raises:
        InputError: an unknown name or flag, or a value that is not among a flag's choices.
    """
    flags = {action.dest for action in parser._actions}
    for source, layer in layers.items():
        for key in layer:
            if key not in flags:
                raise unknown_setting(f"setting in {source}", key, flags, parser.elsewhere)
        parser.set_defaults(**layer)
    namespace, unknown = parser.parse_known_args(argv)
    if unknown:
        raise parser.unknown_argument(unknown[0])
    _check_choices(parser, namespace)
    return namespace


def typed_in(parser: SettingsParser, argv: list[str]) -> set[str]:
    """The settings that a command line names, regardless of their values."""
    defaults, not_typed = {action.dest: action.default for action in parser._actions}, object()
    parser.set_defaults(**dict.fromkeys(defaults, not_typed))
    typed = parser.parse_known_args(argv)[0]
    parser.set_defaults(**defaults)
    return {name for name, value in vars(typed).items() if value is not not_typed}


def parse_only(parser: SettingsParser, argv: list[str], *flags: str) -> argparse.Namespace:
    """Parses only the part of a command line that is about `flags`, before anything else is checked."""
    kept = []
    for position, argument in enumerate(argv):
        if argument.split("=")[0] in flags:
            kept.append(argument)
            following = argv[position + 1 : position + 2]
            if "=" not in argument and following and not following[0].startswith("-"):
                kept.append(following[0])
    return parser.parse_known_args(kept)[0]


def filled(kind: type, namespace: argparse.Namespace) -> Any:
    """An instance of the dataclass `kind`, from the parsed flags.

    Raises:
        InputError: the dataclass refuses a value.
    """
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    try:
        return kind(**{name: getattr(namespace, name) for name in names})
    except (ValueError, TypeError, OSError, ImportError) as error:  # TrainingArguments raises all of them
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from None


def _program(is_recipe: bool) -> str:
    """The start of this process's command line."""
    name = Path(sys.argv[0]).name
    return f"accelerate launch recipes/{name}" if is_recipe else f"python scripts/{name}"


def _check_choices(parser: SettingsParser, namespace: argparse.Namespace) -> None:
    """Refuses values that are not among a flag's choices, from any source; argparse checks only typed ones."""
    for action in parser._actions:
        value = getattr(namespace, action.dest, None)
        for one in value if isinstance(value, list) else [value]:
            if one is not None and action.choices is not None:
                parser._check_value(action, as_typed(one))

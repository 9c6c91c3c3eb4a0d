"""Parsers of subcommands: their --help starts with the docstring, and flags cannot be abbreviated."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from typing import Any

from hf_audio.config.data import CorpusConfig
from hf_audio.config.setting import choices_of
from hf_audio.flags import FlagParser, Help

OF_READING: dict[str, dict[str, Any]] = {
    "label_column_name": {"nargs": "+"},
    "merge_classes": {"action": "store_true"},
    **{name: {"choices": choices} for name, choices in choices_of(CorpusConfig).items()},
}


def parser_of(name: str, description: str | None) -> FlagParser:
    """A parser whose --help starts with a module's docstring."""
    return FlagParser(prog=f"hf-audio {name}", description=description, formatter_class=Help, allow_abbrev=False)


def add_reading(parser: argparse._ActionsContainer, names: Collection[str]) -> None:
    """Adds the flags for reading recordings, with the names and help texts of recipes."""
    for field in dataclasses.fields(CorpusConfig):
        if field.name in names:
            parser.add_argument(f"--{field.name}", help=field.metadata["help"], **OF_READING.get(field.name, {}))

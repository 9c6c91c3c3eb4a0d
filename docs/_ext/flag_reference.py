"""Every flag of a recipe, from the dataclasses that `--help_all` is made of."""

from __future__ import annotations

import dataclasses
import enum
import re
import types
from collections.abc import Collection, Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from transformers import TrainingArguments

from hf_audio.config import ClassicalConfig, PretrainingConfig, ShareConfig
from hf_audio.config.help_texts import HELP
from hf_audio.markdown import Markdown, code, escaped, table
from hf_audio.parsing import GROUPS
from hf_audio.training.argument_roles import REFUSED_ARGUMENTS
from hf_audio.training.arguments import training_defaults

NOT_OF_ALL = {
    PretrainingConfig: "Only recipes that pretrain have these.",
    ClassicalConfig: "Recipes of classical models have these in place of those of model, loss and augmentation.",
    ShareConfig: "Only sharing recordings has these: `hf-audio push`, `scripts/push_corpus.py`.",
}
OF_TRANSFORMERS = (
    "Fields of [transformers.TrainingArguments](https://huggingface.co/docs/transformers/main_classes/trainer), which "
    "says more of each. Defaults are those of hf_audio on a machine without a GPU."
)
REFUSED = "These fields of TrainingArguments would have no effect here, or break a promise, so they are errors."
HEADS = ("flag", "type", "default", "what it does")
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", dict: "JSON", Any: "text"}
SEVERAL = {"text": "texts", "integer": "integers", "number": "numbers"}


def flag_reference() -> str:
    """All groups of flags as Markdown: our own first, then transformers'."""
    groups = dict.fromkeys(GROUPS.values(), "") | {
        group: words for group, words in NOT_OF_ALL.items() if group not in GROUPS.values()
    }
    parts = [part for group, words in groups.items() for part in _section(group, group._argument_group_name, words)]
    parts += _section(TrainingArguments, "training", OF_TRANSFORMERS, REFUSED_ARGUMENTS)
    refused = [(flag(name), prose(why)) for name, why in REFUSED_ARGUMENTS.items()]
    return "\n\n".join([*parts, "## Refused", REFUSED, _left_aligned(("flag", "why, and what to do"), refused)])


def _section(group: type, title: str, words: str, without: Collection[str] = ()) -> Iterator[str]:
    type_of, own = get_type_hints(group), training_defaults(use_cpu=True) if group is TrainingArguments else {}
    fields = [
        field
        for field in dataclasses.fields(group)
        if field.init and not field.name.startswith("_") and field.name not in without
    ]
    rows = [
        (
            flag(field.name),
            type_words(type_of[field.name]),
            _default(own.get(field.name, _value(field))),
            prose((HELP.get(field.name) or field.metadata.get("help", "")).replace("%%", "%")),
        )
        for field in fields
    ]
    yield from filter(None, (f"## {title[0].upper()}{title[1:]}", words, _left_aligned(HEADS, rows)))


def _left_aligned(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return table(heads, rows).replace("---:", "---")


def flag(name: str) -> Markdown:
    """The name of a setting as it is typed."""
    return Markdown(f"`--{name}`")


def _value(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _default(value: Any) -> Markdown:
    """A default as it is typed; nothing where there is none."""
    value = value.value if isinstance(value, enum.Enum) else value
    if value is None or value in ("", []) or value is dataclasses.MISSING:
        return Markdown("")
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return Markdown(f"`{code(text.lower() if isinstance(value, bool) else text)}`".replace("|", r"\|"))


def type_words(kind: Any) -> Markdown:
    """What is typed for a type: its choices, or what kind of value.

    >>> type_words(list[int] | None)
    'integers'
    """
    return Markdown(" or ".join(dict.fromkeys(_type_words(kind))))


def _type_words(kind: Any) -> Iterator[str]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        for one in inner:
            yield from _type_words(one)
    elif origin is Literal:
        yield ", ".join(f"`{one}`" for one in inner)
    elif origin in (list, tuple):
        yield from (SEVERAL.get(one, f"several of {one}") for one in _type_words(inner[0]))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield ", ".join(f"`{one.value}`" for one in kind)
    elif kind is not type(None):
        yield TYPES.get(origin or kind) or kind.__name__


def prose(text: str) -> Markdown:
    """A help text as one line of Markdown: code between backticks and flags are code, all else is plain text."""
    pieces = re.split(r"(`[^`]+`|(?<![\w-])--[a-z]\w+(?: [A-Z]+\b)?)", " ".join(text.split()))
    kept = [
        f"`{piece.strip('`')}`".replace("|", r"\|") if number % 2 else _plain(piece)
        for number, piece in enumerate(pieces)
    ]
    return Markdown("".join(kept))


def _plain(piece: str) -> str:
    """Escaped, its spaces at both ends kept."""
    words = piece.strip()
    return piece.replace(words, escaped(words)) if words else piece

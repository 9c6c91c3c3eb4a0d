"""Joins several corpora: their clips are concatenated and classes with the same name merged; nothing else is merged.

Names of clips and groups start with their corpus, so they cannot collide, and the column `corpus` has the corpus of
each clip. In a multi-label task, classes that a clip's corpus does not have are unknown for the clip: they are
neither trained nor scored on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora.folder.class_names import alike_names
from hf_audio.data.index.columns import in_order, with_values
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import OWN_COLUMNS, RENAMED, CorpusCard, metadata_columns
from hf_audio.data.index.understanding import some
from hf_audio.errors import InputError
from hf_audio.preparation.shared_recordings import find_shared

CORPUS = "corpus"  # column with the corpus of each clip
MAX_UNDERSTOOD = 5_000  # letters in a card
MAX_NAMED = 12


class Part(NamedTuple):
    """One of the corpora; `name` is unique among them, and the prefix of the names of its clips and groups."""

    name: str
    clips: pa.Table
    labels: LabelSpace
    card: CorpusCard


class Joined(NamedTuple):
    """The joined corpora: clips, classes, card, and a paragraph about the joining."""

    clips: pa.Table
    labels: LabelSpace
    card: CorpusCard
    told: str


def join(parts: Sequence[Part]) -> Joined:
    """Joins corpora that already have splits.

    Raises:
        InputError: classes of two corpora differ only in case, spaces or Unicode form.
    """
    labels = _labels([part.labels for part in parts])
    _check_spellings(parts)
    tables = _of_equal_types([_apart(part, labels) for part in parts])
    clips = pa.concat_tables(tables, promote_options="default")
    shared = find_shared([part.name for part in parts], [part.clips for part in parts])
    told = " ".join([_shares(parts), *_classes(parts, labels), shared.told])
    return Joined(clips, labels, _card(parts, labels, told, shared.num_apart), told)


def _labels(spaces: Sequence[LabelSpace]) -> LabelSpace:
    """All classes, in order; multi-label if any of the corpora is."""
    several = any(space.is_multi_label for space in spaces)
    names = in_order({name for space in spaces for name in space.names})
    return LabelSpace(tuple(names), MULTI_LABEL if several else SINGLE_LABEL)


def _check_spellings(parts: Sequence[Part]) -> None:
    of = {name: part.name for part in parts for name in part.labels.names}
    for names in alike_names(of):
        first, second = names[:2]
        raise InputError(
            f"Classes {first!r} of {of[first]} and {second!r} of {of[second]} differ only in case, spaces or Unicode "
            f"form: merge them with --label_map FILE (a line {second}: {first}), or rename one of them there"
        )


def _apart(part: Part, labels: LabelSpace) -> pa.Table:
    """The clips of a corpus with prefixed names, the column `corpus`, and the classes that are unknown for them."""
    clips = part.clips
    for column in ("clip_id", "group"):
        clips = with_values(clips, column, pc.binary_join_element_wise(part.name, clips[column], "/"))
    if labels.is_multi_label:
        lacking = [name for name in labels.names if name not in part.labels.names]
        if lacking:
            unknown = [[*names, *lacking] for names in clips["unknown"].to_pylist()]
            clips = with_values(clips, "unknown", unknown)
    if CORPUS in clips.column_names:
        clips = clips.rename_columns([RENAMED + name if name == CORPUS else name for name in clips.column_names])
    return clips.append_column(CORPUS, pa.repeat(pa.scalar(part.name), len(clips)))


def _of_equal_types(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with metadata of the same name cast to one type: numbers if all are numbers, otherwise strings."""
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for name in metadata_columns(table):
            if not pa.types.is_null(table[name].type):
                kinds.setdefault(name, set()).add(table[name].type)
    wanted = {name: _common(its) for name, its in kinds.items() if len(its) > 1}
    return [_cast(table, wanted) for table in tables]


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    are_numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    return pa.float64() if are_numbers else pa.string()


def _cast(table: pa.Table, wanted: dict[str, pa.DataType]) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if name in wanted and name not in OWN_COLUMNS:
            table = table.set_column(place, name, table[name].cast(wanted[name]))
    return table


def _shares(parts: Sequence[Part]) -> str:
    total = sum(len(part.clips) for part in parts)
    shares = [f"{part.name} {len(part.clips):,} clips ({len(part.clips) / total:.0%})" for part in parts]
    return f"Joined {len(parts)} corpora: {', '.join(shares)}."


def _classes(parts: Sequence[Part], labels: LabelSpace) -> list[str]:
    """Sentences about which classes are in which corpora, and what that means."""
    has: Any = np.array([[name in part.labels.names for name in labels.names] for part in parts])
    everywhere = [name for name, one in zip(labels.names, has.all(axis=0), strict=True) if one]
    if len(everywhere) == len(labels):
        return [f"All {len(labels):,} classes are in every corpus."]
    said = [f"Classes in every corpus: {some(everywhere, MAX_NAMED) if everywhere else 'none'}."]
    for part, its in zip(parts, has, strict=True):
        alone = [labels.names[place] for place in np.flatnonzero(its & (has.sum(axis=0) == 1))]
        said += [f"Only in {part.name}: {some(alone, MAX_NAMED)}."] if alone else []
    if labels.is_multi_label:
        said.append("Classes that a corpus lacks are unknown for its clips and are ignored there.")
    else:
        said.append(
            "Please note: a model may recognize classes that one corpus lacks by how the other was recorded, not "
            "by their sound."
        )
    return said


def _card(parts: Sequence[Part], labels: LabelSpace, told: str, num_apart: int) -> CorpusCard:
    """One card for all corpora, with their licenses and citations in `others`.

    If two corpora share `num_apart` recordings that are in two splits, the card does not say that splits are disjoint
    by group.
    """
    cards = [dataclasses.replace(part.card, others=(), understood="") for part in parts]
    others = [*cards, *(other for part in parts for other in part.card.others)]
    protocols = " ".join(f"{part.name}: {part.card.protocol}" for part in parts if part.card.protocol)
    but = f", but {num_apart:,} recordings shared by two of them are in two splits" if num_apart else ""
    understood = " ".join(
        [told, *(f"In {part.name}: {part.card.understood}" for part in parts if part.card.understood)]
    )
    return CorpusCard(
        name=" + ".join(card.name for card in cards),
        license="",
        may_redistribute=all(card.may_redistribute for card in others),
        protocol=f"Several corpora at once, each with its own split{but}. {protocols}".strip(),
        problem_type=labels.problem_type,
        others=tuple(others),
        groups_known=all(card.groups_known for card in cards) and not num_apart,
        understood=understood[:MAX_UNDERSTOOD],
    )

"""WebDataset: tar files in which members with the same name before the first dot are one row.

    a.wav a.json    b.wav b.json        columns are the keys of the JSON
    a.flac a.cls a.txt                  columns cls and txt

A tar has no list of its members, so all headers are read; sound is skipped.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
from datasets import Features

from hf_audio.corpora._dataset.layout import Layout
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.records import columns_of, features_of
from hf_audio.corpora._dataset.rows import FILES_AT_A_TIME, PLACES, Rows, joined
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.errors import InputError, one_line

TEXTS = ("json", "cls", "txt")
MAX_TEXT_BYTES = 1 << 20  # of one member


class _Sample(NamedTuple):
    """A row: its sounds (suffix, and number among all with that suffix), and its texts by suffix."""

    key: str
    sounds: dict[str, int]
    texts: dict[str, str]


def tar_rows(
    place: Place, layout: Layout, splits: Sequence[str], reading: DatasetReading
) -> tuple[dict[str, Rows], Features]:
    """The rows of each split, and the types of their columns.

    Raises:
        InputError: a tar is damaged, has a member twice or no audio, or rows have several recordings and
            none is chosen.
    """
    with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
        found = {
            split: list(threads.map(lambda file: place.patiently(_samples, place, file), layout.files[split]))
            for split in splits
        }
    chosen = _chosen(place, [one for tars in found.values() for samples in tars for one in samples], reading)
    rows = {
        split: joined(
            place,
            [_rows(place, file, samples, chosen) for file, samples in zip(layout.files[split], tars, strict=True)],
        )
        for split, tars in found.items()
    }
    return rows, features_of(joined(place, list(rows.values())).values.schema)


def _samples(place: Place, file: str) -> list[_Sample]:
    where = f"{place.shown(file)} of {place.name}"
    samples: dict[str, _Sample] = {}
    counts: Counter = Counter()
    try:
        for key, suffix, content in _members(place, file):
            sample = samples.setdefault(key, _Sample(key, {}, {}))
            of_kind: dict[str, Any] = sample.sounds if content is None else sample.texts
            if suffix in of_kind:
                raise InputError(f"{where} has two members {key}.{suffix}; expected only one with each name")
            if content is None:
                of_kind[suffix] = counts[suffix]
                counts[suffix] += 1
            else:
                of_kind[suffix] = content
    except tarfile.TarError as error:
        raise InputError(
            f"{where} is damaged ({one_line(error)}); download it again, or report it to its authors"
        ) from error
    return [sample for sample in samples.values() if sample.sounds]


def _members(place: Place, file: str) -> Iterator[tuple[str, str, str | None]]:
    """For each member that is sound or text: name before the first dot, suffix, and text (None for sound)."""
    with place.open(file, ahead=True) as opened, tarfile.open(fileobj=opened, mode="r:") as members:
        for member in members:
            name = PurePosixPath(member.name)
            suffix = name.suffix.removeprefix(".").lower()
            if not member.isfile() or name.name.startswith("."):
                continue
            key = (name.parent / name.name.partition(".")[0]).as_posix()
            if f".{suffix}" in AUDIO_SUFFIXES:
                yield key, suffix, None
            elif suffix in TEXTS and member.size <= MAX_TEXT_BYTES:
                content = members.extractfile(member)
                yield key, suffix, content.read().decode("utf-8-sig", errors="replace").strip() if content else ""


def _chosen(place: Place, samples: Sequence[_Sample], reading: DatasetReading) -> str | None:
    """The suffix of the sound that the user chose; None if each row has only one sound."""
    wanted = reading.audio_column_name
    suffixes = sorted({suffix for sample in samples for suffix in sample.sounds})
    if not suffixes:
        raise InputError(f"The tar files of {place.name} have no audio; expected members such as a.wav or a.flac")
    if wanted is not None:
        wanted = wanted.removeprefix(".").lower()
        if wanted not in suffixes:
            raise InputError(
                f"--audio_column_name {wanted}: the sounds of {place.name} have the suffixes {', '.join(suffixes)}"
            )
        return wanted
    several = next((sample for sample in samples if len(sample.sounds) > 1), None)
    if several:
        raise InputError(
            f"{place.name} has several sounds per row ({several.key}: {', '.join(several.sounds)}); choose one, e.g. "
            f"--audio_column_name {next(iter(several.sounds))}"
        )
    return None


def _rows(place: Place, file: str, samples: Sequence[_Sample], chosen: str | None) -> Rows:
    samples = [sample for sample in samples if chosen is None or chosen in sample.sounds]
    fields = [chosen or next(iter(sample.sounds)) for sample in samples]
    where = f"{place.shown(file)} of {place.name}"
    columns = {
        "audio": [file] * len(samples),
        "audio_row": [sample.sounds[field] for sample, field in zip(samples, fields, strict=True)],
        "audio_field": fields,
        "name": [f"{sample.key}.{field}" for sample, field in zip(samples, fields, strict=True)],
    }
    records = [_record(sample, where) for sample in samples]
    values = columns_of(records, where)
    if not values.column_names:
        values = pa.table({"": pa.nulls(len(samples))}).select([])
    return Rows(pa.table(columns, PLACES), values)


def _record(sample: _Sample, where: str) -> dict[str, Any]:
    """The values of a row: the keys of its JSON, and its other texts by suffix."""
    record: dict[str, Any] = {suffix: text for suffix, text in sample.texts.items() if suffix != "json"}
    if "json" not in sample.texts:
        return record
    try:
        facts = json.loads(sample.texts["json"])
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise InputError(f'{where}: {sample.key}.json is not a JSON object such as {{"label": "x"}}')
    return facts | record

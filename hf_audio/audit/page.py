"""The report of an audit: a CSV file with one row per finding, and a page to listen to the findings and review them."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.audit.fact_store import FactStore
from hf_audio.audit.findings import SEVERITIES, Finding, audit_clips, is_useless, usable_clips
from hf_audio.audit.to_listen import FOLDER, MAX_TAKEN, playable
from hf_audio.config import DataConfig
from hf_audio.data.index.columns import is_file, require_files
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, rows_of
from hf_audio.data.tables import csv_text
from hf_audio.errors import InputError
from hf_audio.figures.addresses import png_address, sound_address
from hf_audio.figures.workbench import Case, Judged, workbench_page
from hf_audio.files import write_atomically
from hf_audio.gray_images import gray_png
from hf_audio.preparation.clips import label_space
from hf_audio.preparation.read_corpora import read_corpus
from hf_audio.preparation.sources import require_one_source
from hf_audio.privacy import public_name, public_value
from hf_audio.terminal import show

COLUMNS = ("clip_id", "finding", "severity", "detail", "other")
HEADS = ("finding", "detail", "copy of")
MAX_CLIPS = 400  # so that a browser opens the page quickly: a plot takes 3 kB
PLOT_COLUMNS = 160


def audit_corpus(
    corpus: str | None,
    data_dir: str | Path | None,
    output_dir: str | Path,
    *,
    num_workers: int | None = None,
    strict: bool = False,
    write_csv: str | Path | None = None,
    hub_token: str | None = None,
    **reading: Any,
) -> list[Finding]:
    """Audits the recordings of a corpus, writes audit.csv and index.html to `output_dir`, and prints a summary.

    First prints how the folder, table or dataset was read. Recordings of a dataset are read in place; those with the
    first findings are written next to the page, so that it can play them.

    Args:
        corpus: name of a corpus module; by default "folder".
        data_dir: its recordings; None if `reading` names a `dataset`.
        output_dir: folder for audit.csv, index.html and the measurements.
        num_workers: number of decoding processes. Default: one per core.
        strict: raise an error for unusable clips, after everything is written.
        write_csv: also write the usable clips as a table for corpus="folder".
        hub_token: for datasets on the Hub; by default HF_TOKEN or the token of `hf auth login`.
        reading: what to read and how, e.g. `dataset`, `group_column_name`; see `DataConfig`.

    Returns:
        The findings, the most severe first.

    Raises:
        InputError: unknown corpus, no recordings, a folder that cannot be written, unusable clips with `strict`, or
            `write_csv` for recordings that are not files.
    """
    data = DataConfig(corpus=corpus, data_dir=None if data_dir is None else str(data_dir), **reading)
    require_one_source(data)
    clips, understanding, card = read_corpus(data, hub_token)
    if write_csv is not None:
        require_files(clips, f"--write_csv {write_csv} needs")
    if understanding:
        show(understanding.paragraph())
        if strict:
            understanding.require_all_recordings()
    output_dir = _new_folder(Path(output_dir))
    store = FactStore(output_dir / ".audit" / "facts.jsonl")
    findings = audit_clips(clips, store=store, num_workers=num_workers, token=hub_token)
    rows = ([getattr(one, column) for column in COLUMNS] for one in findings)
    write_atomically(output_dir / "audit.csv", csv_text([COLUMNS, *rows]))
    write_atomically(output_dir / "index.html", _page(data, clips, card, findings, store, output_dir, hub_token))
    if write_csv is not None:
        write_clips(usable_clips(clips, findings), Path(write_csv))
    show(summary_table(clips, findings))
    show(f"To listen to the findings, open {output_dir / 'index.html'} in a browser")
    if strict:
        _require_usable(findings, len(clips), output_dir / "audit.csv")
    return findings


def _new_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another --output_dir") from error
    return folder


def _require_usable(findings: Sequence[Finding], num_clips: int, listed_in: Path) -> None:
    """Raises InputError if a clip cannot be used."""
    unusable = [finding for finding in findings if finding.finding in ("broken", "silent")]
    if unusable:
        raise InputError(
            f"{len(unusable)} of {num_clips} clips cannot be used, first {unusable[0].clip_id} "
            f"({unusable[0].detail}); see {listed_in}, fix or remove them, or leave out --strict"
        )


def summary_table(clips: pa.Table, findings: Sequence[Finding]) -> str:
    """How often each finding occurs, as lines of text."""
    counts = Counter((SEVERITIES.index(one.severity), one.finding) for one in findings)
    lines = [f"{'finding':<18}{'severity':<10}{'count':>7}"]
    lines += [f"{name:<18}{SEVERITIES[level]:<10}{count:>7}" for (level, name), count in sorted(counts.items())]
    clean = len(clips) - len({one.clip_id for one in findings})
    return "\n".join([*lines, f"{clean} of {len(clips)} clips have no findings"])


def write_clips(clips: pa.Table, table: Path) -> None:
    """Writes an index as a table for the folder corpus, with absolute paths, so that the table can be moved.

    Raises:
        InputError: partial labels, which such a table cannot hold, or a file that cannot be written.
    """
    clips = list(rows_of(clips))
    if any(clip.unknown for clip in clips):
        raise InputError(
            f"Cannot write {table}: the labels of this corpus are partial, which such a table cannot express; leave "
            "out --write_csv"
        )
    # If a name could be read as several names, all cells are written as lists: unlike with `names_cell`, the reader
    # chooses the format by the whole column
    as_lists = any(mark in name for clip in clips for name in clip.labels for mark in ",;|[")
    labels = "label" if all(len(clip.labels) == 1 for clip in clips) and not as_lists else "labels"
    metadata = list(dict.fromkeys(name for clip in clips for name in clip.metadata))
    rows = [
        [
            os.path.abspath(clip.path),
            json.dumps(clip.labels, ensure_ascii=False) if as_lists else ";".join(clip.labels),
            "" if clip.is_group_of_its_file else clip.group,
            clip.split or "",
            repr(clip.start_s) if clip.start_s else "",
            "" if clip.end_s is None else repr(clip.end_s),
            *(clip.metadata.get(name, "") for name in metadata),
        ]
        for clip in clips
    ]
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(table, csv_text([["path", labels, "group", "split", "start_s", "end_s", *metadata], *rows]))
    except OSError as error:
        raise InputError(f"Cannot write {table}: {error.strerror}; choose another path") from error


def _title(data: DataConfig) -> str:
    return f"Audit of {_name(data)}"


def _name(data: DataConfig) -> str:
    return public_name(data.dataset) if data.dataset else data.corpus


def _page(
    data: DataConfig,
    index: pa.Table,
    card: CorpusCard,
    findings: Sequence[Finding],
    store: FactStore,
    folder: Path,
    token: str | bool | None,
) -> str:
    clips = list(rows_of(index))
    numbers = {clip.clip_id: number for number, clip in enumerate(clips)}
    of_clips: dict[str, list[Finding]] = {}
    for one in findings:
        of_clips.setdefault(one.clip_id, []).append(one)
    shown = dict(list(of_clips.items())[:MAX_CLIPS])
    heard = (name for its in shown.values() for name in _heard(its))
    formats = {one.clip_id: one.format for one in store.facts if one.error is None}
    files = playable(index, heard, formats, folder, token)
    cases = []
    for clip_id, its in shown.items():
        sounds = [clips[numbers[name]] for name in _heard(its) if name in files]
        addresses = [(one.clip_id, sound_address(files[one.clip_id], folder, one.start_s, one.end_s)) for one in sounds]
        cases.append(_case(clips[numbers[clip_id]], its, addresses, store.plot(numbers[clip_id])))
    notes = [summary_table(index, findings), "Drop unusable clips and copies, and correct wrong labels."]
    if len(of_clips) > len(shown):
        notes.append(f"{len(of_clips) - len(shown)} more clips are in audit.csv.")
    if not is_file(index).all():
        taken = len({file.name for file in files.values() if file.parent.name == FOLDER})
        notes.append(
            f"The first {taken} playable recordings were extracted from the dataset (at most {MAX_TAKEN} are)."
        )
    labels = label_space(card, index, several=data.several_labels)
    return workbench_page(_title(data), notes, _judged(data, clips, labels), HEADS, cases)


def _judged(data: DataConfig, clips: Sequence[Clip], labels: LabelSpace) -> Judged:
    """The data that the page's corrections apply to. Local paths are left for the user to fill in."""
    place = data.dataset or data.data_dir
    public = public_value(place)
    return Judged(
        _name(data),
        [clip.clip_id for clip in clips],
        list(dict.fromkeys([*labels.names, *sorted(name for clip in clips for name in clip.unknown)])),
        labels.is_multi_label,
        any(clip.unknown for clip in clips),
        data=place if place == public else "NAME" if data.dataset else "DIR",
        data_flag="--dataset" if data.dataset else "--data_dir",
        reading=_reading(data),
    )


def _reading(data: DataConfig) -> str:
    """The flags for a recipe to read the recordings in the same way, without paths and dataset names."""
    flags: list[str] = []
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        usual = "folder" if field.name == "corpus" else field.default
        if field.name not in ("data_dir", "dataset") and value != usual and value == public_value(value):
            values = value if isinstance(value, list) else [str(value).lower() if value is True else value]
            flags += [f"--{field.name}", *map(str, values)]
    return shlex.join(flags)


def _heard(findings: Sequence[Finding]) -> list[str]:
    """The clip_id of the clip, followed by those of its originals."""
    return list(dict.fromkeys((findings[0].clip_id, *(one.other for one in findings if one.other))))


def _case(clip: Clip, findings: Sequence[Finding], sounds: Sequence[tuple[str, str]], plot: np.ndarray) -> Case:
    return Case(
        clip.clip_id,
        clip.labels,
        clip.unknown,
        suggests_drop=any(is_useless(one) for one in findings),
        facts=[
            "; ".join(one.finding for one in findings),
            "; ".join(one.detail for one in findings),
            "; ".join(one.other for one in findings if one.other),
        ],
        sounds=sounds,
        plot=_plot(plot) if len(plot) else "",
        tags=[one.finding for one in findings],
        level=findings[0].severity,
    )


def _plot(image: np.ndarray) -> str:
    """A PNG of a log-mel plot `[frames, 32]`: time to the right, high frequencies at the top, loud is dark."""
    step = -(-len(image) // PLOT_COLUMNS)
    return png_address(gray_png(np.ascontiguousarray(255 - image[::step].T[::-1])))

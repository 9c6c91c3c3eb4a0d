"""The report of an audit: a CSV with one row per finding, and a page to listen to what was found."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from hf_audio.audit.fact_store import FactStore
from hf_audio.audit.findings import SEVERITIES, Finding, audit_clips, usable_clips
from hf_audio.audit.to_listen import FOLDER, MAX_TAKEN, playable
from hf_audio.config import DataConfig
from hf_audio.data.index.columns import is_file, require_files
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.tables import csv_text
from hf_audio.errors import InputError
from hf_audio.figures.page import Row, Table, inline_plot, lines, page, player
from hf_audio.files import write_atomically
from hf_audio.gray_images import gray_png
from hf_audio.preparation.read_corpora import read_corpus
from hf_audio.preparation.sources import require_one_source
from hf_audio.privacy import public_name
from hf_audio.terminal import show

COLUMNS = ("clip_id", "finding", "severity", "detail", "other")
MAX_ROWS = 400  # a page that a browser opens at once: a plot takes 3 kB
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
    """Audit the recordings of a corpus and write audit.csv and index.html to `output_dir`; prints a summary.

    How a folder, table or dataset was read is printed first. Recordings of a dataset are heard where they lie; those of
    the findings that come first are written beside the page, to be played.

    Args:
        corpus: name of a corpus module, e.g. "folder", which is the default.
        data_dir: its recordings; None where `reading` names a `dataset`.
        num_workers: processes that decode. Default: one a core.
        strict: make clips that cannot be used an error, once everything is written.
        write_csv: also write the usable clips as a table that corpus="folder" reads.
        hub_token: for datasets there; by default HF_TOKEN or the one that is logged in.
        reading: what is read and how, e.g. `dataset`, `group_column_name`; see `DataConfig`.

    Raises:
        InputError: no such corpus or recordings, a folder that cannot be written, unusable clips with `strict`, or a
            table that is asked for of recordings that are no files.
    """
    data = DataConfig(corpus=corpus, data_dir=None if data_dir is None else str(data_dir), **reading)
    require_one_source(data)
    clips, understanding, _ = read_corpus(data, hub_token)
    if write_csv is not None:
        require_files(clips, f"--write_csv {write_csv} needs")
    if understanding:
        show(understanding.paragraph())
        if strict:
            understanding.require_all_recordings()
    output_dir = Path(output_dir)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {output_dir}: {error.strerror}; choose another --output_dir") from error
    store = FactStore(output_dir / ".audit" / "facts.jsonl")
    findings = audit_clips(clips, store=store, num_workers=num_workers, token=hub_token)
    rows = ([getattr(one, column) for column in COLUMNS] for one in findings)
    write_atomically(output_dir / "audit.csv", csv_text([COLUMNS, *rows]))
    write_atomically(output_dir / "index.html", _page(_title(data), clips, findings, store, output_dir, hub_token))
    if write_csv is not None:
        write_clips(usable_clips(clips, findings), Path(write_csv))
    show(summary_table(clips, findings))
    show(f"Listen to them: {output_dir / 'index.html'}")
    unusable = [finding for finding in findings if finding.finding in ("broken", "silent")]
    if strict and unusable:
        raise InputError(
            f"{len(unusable)} of {len(clips)} clips cannot be used, first {unusable[0].clip_id} "
            f"({unusable[0].detail}); see {output_dir / 'audit.csv'}, mend or remove them, or leave out --strict"
        )
    return findings


def summary_table(clips: pa.Table, findings: Sequence[Finding]) -> str:
    """What was found how often, as lines of text."""
    counts = Counter((SEVERITIES.index(one.severity), one.finding) for one in findings)
    lines = [f"{'finding':<18}{'severity':<10}{'times':>7}"]
    lines += [f"{name:<18}{SEVERITIES[level]:<10}{count:>7}" for (level, name), count in sorted(counts.items())]
    clean = len(clips) - len({one.clip_id for one in findings})
    return "\n".join([*lines, f"{clean} of {len(clips)} clips without a finding"])


def write_clips(clips: pa.Table, table: Path) -> None:
    """Write an index as a table that the folder corpus reads, with paths that are true wherever it lies.

    Raises:
        InputError: partial labels, which such a table cannot hold, or a place that cannot be written.
    """
    clips = list(rows_of(clips))
    if any(clip.unknown for clip in clips):
        raise InputError(f"{table} cannot say that labels are unknown, and those of this corpus are in part")
    # Names that a reader could take for several are written as lists, and then in every cell: unlike those of
    # `names_cell`, cells are read by how the whole column looks
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
        raise InputError(f"Cannot write {table}: {error.strerror}; choose another place") from error


def _title(data: DataConfig) -> str:
    return f"Audit of {public_name(data.dataset) if data.dataset else data.corpus}"


def _page(
    title: str,
    index: pa.Table,
    findings: Sequence[Finding],
    store: FactStore,
    folder: Path,
    token: str | bool | None,
) -> str:
    clips = list(rows_of(index))
    numbers = {clip.clip_id: number for number, clip in enumerate(clips)}
    shown = (name for one in findings[:MAX_ROWS] for name in (one.clip_id, one.other) if name)
    formats = {one.clip_id: one.format for one in store.facts if one.error is None}
    files = playable(index, shown, formats, folder, token)
    rows = []
    for one in findings[:MAX_ROWS]:
        heard = [clips[numbers[name]] for name in (one.clip_id, one.other) if name]
        of_clip = store.plot(numbers[one.clip_id])
        cells = [
            one.finding,
            lines(*filter(None, (one.clip_id, one.other))),
            one.detail,
            ", ".join(heard[0].labels),
            lines(*(_player(files.get(clip.clip_id), clip, folder) for clip in heard)),
            _plot(of_clip) if len(of_clip) else "",
        ]
        rows.append(Row(cells, tags=[one.finding], level=one.severity))
    table = Table(("finding", "clip", "detail", "labels", "listen", "10 s, to 3.6 kHz"), rows, tagged=True)
    more = [f"{len(findings) - MAX_ROWS} more in audit.csv."] if len(findings) > MAX_ROWS else []
    if not is_file(index).all():
        taken = len({file.name for file in files.values() if file.parent.name == FOLDER})
        more.append(
            f"Of recordings in a dataset the first {taken} that can be played were taken out, at most {MAX_TAKEN}."
        )
    return page(title, summary_table(index, findings), table, *more)


def _player(file: Path | None, clip: Clip, folder: Path) -> Markup | str:
    return "" if file is None else player(file, folder, clip.start_s, clip.end_s)


def _plot(image: np.ndarray) -> Markup:
    """A log-mel plot `[frames, 32]`: time to the right, high frequencies at the top, loud is dark."""
    step = -(-len(image) // PLOT_COLUMNS)
    return inline_plot(gray_png(np.ascontiguousarray(255 - image[::step].T[::-1])))

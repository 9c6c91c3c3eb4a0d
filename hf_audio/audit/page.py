"""The report of an audit: a CSV with one row a finding, and a page to listen to what was found."""

from __future__ import annotations

import html
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.audit.fact_store import FactStore
from hf_audio.audit.findings import SEVERITIES, Finding, audit_clips, usable_clips
from hf_audio.config import DataConfig
from hf_audio.data.index import rows_of
from hf_audio.data.tables import csv_text
from hf_audio.errors import InputError, as_html
from hf_audio.files import write_atomically
from hf_audio.grey_pictures import grey_png
from hf_audio.pictures.inline import inline_picture, player
from hf_audio.preparation.clips import read_corpus
from hf_audio.terminal import show

COLUMNS = ("clip_id", "finding", "severity", "detail", "other")
MOST_ROWS = 400  # a page that a browser opens at once: a picture takes 3 kB
PICTURE_COLUMNS = 160
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222 } table { border-collapse: collapse }
td, th { padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: middle }
td:nth-child(2), td:nth-child(3) { max-width: 22em; overflow-wrap: anywhere }
td img { height: 48px; image-rendering: pixelated } audio { height: 32px; width: 260px }
.error { color: #a3201c; font-weight: 600 } .warning { color: #9a6200 } .note { color: #666 }
button { font: inherit; margin: 0 .4em .4em 0; padding: .2em .7em } button.on { background: #1f6f9f; color: #fff }
"""
SCRIPT = """
for (const button of document.querySelectorAll('button')) button.onclick = () => {
  for (const other of document.querySelectorAll('button')) other.classList.toggle('on', other === button);
  for (const row of document.querySelectorAll('tbody tr'))
    row.hidden = button.value !== '' && row.dataset.finding !== button.value;
};
"""


def audit_corpus(
    corpus: str,
    data_dir: str | Path,
    output_dir: str | Path,
    *,
    num_workers: int | None = None,
    strict: bool = False,
    write_csv: str | Path | None = None,
    **reading: Any,
) -> list[Finding]:
    """Audit the recordings of a corpus and write audit.csv and index.html to `output_dir`; prints a summary.

    How a folder or table of one's own was read is printed first.

    Args:
        corpus: name of a corpus module, e.g. "folder".
        data_dir: its recordings.
        num_workers: processes that decode. Default: one a core.
        strict: make clips that cannot be used an error, once everything is written.
        write_csv: also write the usable clips as a table that corpus="folder" reads.
        reading: how a folder or table of one's own is to be read, e.g. `group_column`; see `DataConfig`.

    Raises:
        InputError: no such corpus or recordings, a folder that cannot be written, or unusable clips with `strict`.
    """
    clips, understanding = read_corpus(DataConfig(corpus=corpus, data_dir=str(data_dir), **reading))
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
    findings = audit_clips(clips, store=store, num_workers=num_workers)
    rows = ([getattr(one, column) for column in COLUMNS] for one in findings)
    write_atomically(output_dir / "audit.csv", csv_text([COLUMNS, *rows]))
    write_atomically(output_dir / "index.html", _page(corpus, clips, findings, store, output_dir))
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
    # Names that a reader could take for several, or that hold what stands between several, are written as lists
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


def _page(corpus: str, index: pa.Table, findings: Sequence[Finding], store: FactStore, folder: Path) -> str:
    """The page: all of its style, script and pictures are in it, only the recordings are not."""
    clips = list(rows_of(index))
    numbers = {clip.clip_id: number for number, clip in enumerate(clips)}
    shown = findings[:MOST_ROWS]
    counts = Counter(one.finding for one in shown)
    buttons = [f'<button class="on" value="">all {len(shown)}</button>']
    buttons += [f'<button value="{as_html(name)}">{as_html(name)} {n}</button>' for name, n in counts.items()]
    rows = []
    for one in shown:
        heard = [clips[numbers[name]] for name in (one.clip_id, one.other) if name]
        of_clip = store.picture(numbers[one.clip_id])
        cells = [
            f'<span class="{one.severity}">{as_html(one.finding)}</span>',
            as_html(one.clip_id) + (f"<br>{as_html(one.other)}" if one.other else ""),
            as_html(one.detail),
            as_html(", ".join(heard[0].labels)),
            "<br>".join(player(clip.path, folder, clip.start_s, clip.end_s) for clip in heard),
            _picture(of_clip) if len(of_clip) else "",
        ]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr data-finding="{as_html(one.finding)}">{row}</tr>')
    more = f"<p>{len(findings) - MOST_ROWS} more in audit.csv.</p>" if len(findings) > MOST_ROWS else ""
    head = "".join(f"<th>{name}</th>" for name in ("finding", "clip", "detail", "labels", "listen", "10 s, to 3.6 kHz"))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Audit of {as_html(corpus)}</title>'
        f"<style>{STYLE}</style></head><body><h1>Audit of {as_html(corpus)}</h1>"
        f"<pre>{html.escape(summary_table(index, findings))}</pre><p>{''.join(buttons)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _picture(image: np.ndarray) -> str:
    """A log-mel picture `[frames, 32]`: time to the right, high frequencies at the top, loud is dark."""
    step = -(-len(image) // PICTURE_COLUMNS)
    return inline_picture(grey_png(np.ascontiguousarray(255 - image[::step].T[::-1])))

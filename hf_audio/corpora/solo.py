"""Solo recordings: long concert recordings of one instrument each, and a list of the stretches to keep.

    DIR/cello/bach.wav                label = folder, group = recording; any audio format
    DIR/cuts.csv                      optional, columns path, start_s, end_s: stretches to keep

Each row of cuts.csv keeps one stretch of a recording, so that applause and speech can be cut out; an empty end_s means
to the end. Recordings without a row are kept whole. Windows are cut later (for example with --window_s 5 --hop_s 1).
Neighboring windows share most of their sound, so recordings are split first, and no recording is in two splits.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora.folder import AUDIO_SUFFIXES
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_stretch, read_table
from hf_audio.errors import InputError, nearest_name

CUTS = "cuts.csv"

CARD = CorpusCard(
    name="Solo recordings",
    license="unknown",
    may_redistribute=False,  # the rights belong to those who play and film the concerts
    protocol="Solo recordings: split by recording before windows are cut; accuracy of windows and of recordings.",
    problem_type="single_label_classification",
)


def index(root: Path) -> pa.Table:
    """One clip per kept stretch.

    Raises:
        InputError: no recordings in instrument folders, or a row of cuts.csv that cannot be used.
    """
    root = Path(root)
    recordings = {
        path.relative_to(root).as_posix(): path
        for path in files_below(root)
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    }
    loose = next((name for name in recordings if "/" not in name), None)
    if loose or not recordings:
        found = f"{loose}, which is not in a folder" if loose else "no recordings"
        raise InputError(
            f"{root} has {found}; expected a folder for each instrument, such as cello/concert.wav, and optionally "
            f"{CUTS} with columns path, start_s, end_s"
        )
    cuts = _read_cuts(root / CUTS, recordings) if (root / CUTS).is_file() else {}
    return index_of(
        _clip(name, path, start_s, end_s)
        for name, path in recordings.items()
        for start_s, end_s in cuts.get(name, [(None, None)])
    )


def _clip(name: str, path: Path, start_s: float | None, end_s: float | None) -> Clip:
    whole = start_s is None and end_s is None
    stretch = "" if whole else f"#{start_s or 0.0:.10g}-{'' if end_s is None else f'{end_s:.10g}'}"
    label = name.partition("/")[0]
    return Clip(str(path), (label,), group=name, clip_id=name + stretch, start_s=start_s or 0.0, end_s=end_s)


def _read_cuts(table: Path, names: Collection[str]) -> dict[str, list[tuple[float | None, float | None]]]:
    """The stretches to keep of each recording that has a row, in order."""
    _, rows = read_table(table, required=("path", "start_s", "end_s"))
    kept = defaultdict(list)
    for line, row in rows:
        start_s, end_s = read_stretch(table, line, row)
        kept[_recording(table, line, row, names)].append((start_s or 0.0, math.inf if end_s is None else end_s, line))
    for name, stretches in kept.items():
        stretches.sort()
        for (_, before_s, first), (start_s, _, second) in itertools.pairwise(stretches):
            if start_s < before_s:
                raise InputError(
                    f"{table} lines {first} and {second} overlap in {name}; each stretch of a recording must start "
                    "at or after the end of the previous one"
                )
    return {
        name: [(start_s or None, None if end_s == math.inf else end_s) for start_s, end_s, _ in stretches]
        for name, stretches in kept.items()
    }


def _recording(table: Path, line: int, row: Row, names: Collection[str]) -> str:
    name = Path(row["path"].replace("\\", "/")).as_posix()
    if name not in names:
        guess = nearest_name(name, names)
        hint = f"did you mean {guess!r}?" if guess else f"expected a path such as {min(names)!r}"
        raise InputError(f"{table} line {line}: no recording {row['path']!r} in {table.parent}; {hint}")
    return name

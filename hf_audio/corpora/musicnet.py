"""MusicNet: 330 recordings of classical chamber music, with every note of every instrument.

The index comes from the layout on disk, whole or partial:

    ROOT/**/train_data/1727.wav           one recording, named by its number
    ROOT/**/train_labels/1727.csv         start_time, end_time (samples at 44.1 kHz), instrument (MIDI), note ...
    ROOT/**/test_data, **/test_labels     likewise, 10 recordings
    ROOT/**/musicnet_metadata.csv         optional: id, composer, composition, movement, ensemble, catalog_name ...

Recordings are cut into 10 s segments. The labels of a segment are the instruments that sound in at least a tenth of
it.

All recordings of a composition are one group. The official test split ignores compositions: all its 10 recordings are
movements of compositions whose other movements, by the same players, are in training. To keep this split, such a
composition is one group in training and another in test, so test scores are inflated by an unknown amount.
`--split random` draws a test split with other compositions. Instruments with too few compositions to be split
(harpsichord 1, contrabass 2) are left out of the labels, and the official test split has no flute or oboe.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hf_audio.corpora._activity import Segment, labels_of_many, segments
from hf_audio.corpora._files import files_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

INSTRUMENTS = {  # by MIDI program, counted from 1
    1: "piano", 7: "harpsichord", 41: "violin", 42: "viola", 43: "cello", 44: "contrabass",
    61: "horn", 69: "oboe", 71: "bassoon", 72: "clarinet", 74: "flute",
}  # fmt: skip
PARTS = {"train_labels": ("train_data", "train"), "test_labels": ("test_data", "test")}
LABEL_RATE = 44_100  # Hz, the unit of the notes' times
MAX_RECORDING_S = 86_400
FRAMES_PER_S = 50
# Minimum number of compositions with an instrument, so that a stratified draw of 15 % has one of them: for one draw
# (validation), and for two (validation and test).
MIN_COMPOSITIONS, MIN_COMPOSITIONS_RANDOM = 4, 5
METADATA = "musicnet_metadata.csv"
URL = "https://zenodo.org/records/5120004/files/musicnet.tar.gz"

CARD = CorpusCard(
    name="MusicNet",
    license="CC BY 4.0, audio per recording",
    may_redistribute=False,  # recordings have their own licenses, and some forbid derivatives
    citation=(
        "J. Thickstun, Z. Harchaoui, S. M. Kakade: Learning Features of Music from Scratch. International Conference "
        "on Learning Representations (ICLR), 2017."
    ),
    homepage="https://zenodo.org/records/5120004",
    protocol=(
        "MusicNet: official test of 10 recordings, whose compositions and players are in training too; segments of "
        "10 s labeled with the instruments that sound in a tenth of them, window scores averaged per segment, micro "
        "and macro F1."
    ),
    problem_type="multi_label_classification",
    label_names=tuple(INSTRUMENTS.values()),
)
# Checksums are those of the Zenodo record
SOURCE = Archives(
    {
        "all": (
            Archive(URL, "musicnet", 11_097_394_998, 22e9, "md5:844764911fa0d5b97c97da944a057590"),
            Archive(
                f"{CARD.homepage}/files/{METADATA}", "musicnet_metadata", 43_775, 43_775,
                "md5:1caef62cee9c875235e62aac368b49d8",
            ),
        )
    }
)  # fmt: skip

logger = named_logger(__name__)


@dataclass(frozen=True)
class _Recording:
    number: str
    path: Path
    split: str
    composition: str
    ensemble: str
    segments: list[Segment]


def index(root: Path) -> pa.Table:
    """Segments of the recordings that have audio and notes; `split` is the official split.

    Raises:
        InputError: no such recording below `root`, a damaged table, or too few compositions.
    """
    recordings = _recordings(Path(root))
    splits = defaultdict(set)
    for recording in recordings:
        splits[recording.composition].add(recording.split)
    shared = {composition for composition, found in splits.items() if len(found) > 1}
    if shared:
        logger.warning(
            "%d compositions of MusicNet's official test split are also in training, by the same players, which "
            "inflates scores; --split random keeps each composition in one split", len(shared),
        )  # fmt: skip
    training = [recording for recording in recordings if recording.split == "train"] or recordings
    kept = _learnable(Path(root), training, MIN_COMPOSITIONS)
    return index_of(
        _clip(recording, segment, kept, shared, recording.split)
        for recording in recordings
        for segment in recording.segments
    )


def obtain(root: Path) -> None:
    """Downloads MusicNet (11 GB) and its metadata, and unpacks it."""
    SOURCE.obtain(root, CARD)


def index_for_random_split(root: Path) -> pa.Table:
    """All segments, without their official split and with the composition as group."""
    recordings = _recordings(Path(root))
    kept = _learnable(Path(root), recordings, MIN_COMPOSITIONS_RANDOM)
    return index_of(_clip(recording, segment, kept) for recording in recordings for segment in recording.segments)


def _recordings(root: Path) -> list[_Recording]:
    files = files_below(root, "*.csv")
    tables = {(path.parent.name, path.stem): path for path in files if path.parent.name in PARTS}
    facts = _read_metadata(next((path for path in files if path.name == METADATA), None), root) if tables else {}
    recordings = []
    for (part, number), table in sorted(tables.items()):
        data, split = PARTS[part]
        path = table.parents[1] / data / f"{number}.wav"
        if path.is_file():
            composition, ensemble = facts.get(number, (f"recording {number}", ""))
            recordings.append(_Recording(number, path, split, composition, ensemble, _read_notes(table)))
    if not recordings:
        found = f"has {len(tables)} tables of notes but no audio for them" if tables else "does not contain MusicNet"
        raise InputError(
            f"{root} {found}; expected train_data/1727.wav and train_labels/1727.csv, test_data and test_labels "
            f"likewise (unpack {URL} there)"
        )
    if len(recordings) < len(tables):
        logger.warning("This copy of MusicNet is partial: %d of %d recordings have audio", len(recordings), len(tables))
    return recordings


def _read_metadata(table: Path | None, root: Path) -> dict[str, tuple[str, str]]:
    """Composition and ensemble of each recording, by its number."""
    if table is None:
        logger.warning(
            "%s has no %s, so each movement counts as a composition, and movements of a composition may be in two "
            "splits; get it from %s", root, METADATA, CARD.homepage,
        )  # fmt: skip
        return {}
    _, rows = read_table(table, required=("id", "composer", "composition", "ensemble"))
    return {
        row["id"]: (f"{row['composer']}: {row['composition']} {row.get('catalog_name', '')}".strip(), row["ensemble"])
        for _, row in rows
    }


def _read_notes(table: Path) -> list[Segment]:
    """The segments of a recording, from its notes."""
    _, rows = read_table(table, required=("start_time", "end_time", "instrument"))
    if not rows:
        raise InputError(f"{table} has no notes; unpack {URL} again")
    notes = [_note(table, line, row) for line, row in rows]
    num_frames = max(last for _, last, _ in notes)
    sounding = {instrument for _, _, instrument in notes}
    active = {name: np.zeros(num_frames, bool) for name in INSTRUMENTS.values() if name in sounding}
    for first, last, instrument in notes:
        active[instrument][first:last] = True
    return segments(np.arange(num_frames) / FRAMES_PER_S, active)


def _note(table: Path, line: int, row: Row) -> tuple[int, int, str]:
    """First frame, frame after the last, and instrument."""
    try:
        start, end = (float(row[column]) / LABEL_RATE * FRAMES_PER_S for column in ("start_time", "end_time"))
        program = int(row["instrument"])
        if not 0 <= start < end < MAX_RECORDING_S * FRAMES_PER_S:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{table} line {line}: {row['start_time']!r} to {row['end_time']!r} by {row['instrument']!r} is not a "
            f"note; expected samples at 44.1 kHz and a MIDI program (unpack {URL} again)"
        ) from None
    if program not in INSTRUMENTS:
        known = ", ".join(f"{number} {name}" for number, name in INSTRUMENTS.items())
        raise InputError(
            f"{table} line {line}: MIDI program {program} is not one of MusicNet's ({known}); unpack {URL} again"
        )
    return round(start), max(round(end), round(start) + 1), INSTRUMENTS[program]


def _learnable(root: Path, recordings: list[_Recording], min_compositions: int) -> set[str]:
    """Instruments with enough compositions."""
    kept, rare = labels_of_many(((one.composition, one.segments) for one in recordings), min_compositions)
    if not kept:
        raise InputError(
            f"{root} has {len({one.composition for one in recordings})} compositions of MusicNet, but a split by "
            f"composition needs {min_compositions} with the same instrument; unpack more of {URL}"
        )
    if rare:
        logger.warning(
            "This copy of MusicNet has fewer than %d compositions with %s: left out of the labels",
            min_compositions,
            ", ".join(sorted(rare)),
        )
    return kept


def _clip(
    recording: _Recording, segment: Segment, kept: set[str], shared: set[str] | None = None, split: str | None = None
) -> Clip:
    group = recording.composition
    return Clip(
        path=str(recording.path),
        labels=tuple(label for label in segment.labels if label in kept),
        group=f"{split}/{group}" if shared and group in shared else group,
        clip_id=f"{recording.path.parent.name}/{recording.path.name}#{segment.start_s:g}-{segment.end_s:g}",
        start_s=segment.start_s,
        end_s=segment.end_s,
        split=split,
        metadata={"ensemble": recording.ensemble},
    )

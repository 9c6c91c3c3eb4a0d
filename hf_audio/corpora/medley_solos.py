"""Medley-solos-DB: 21,571 clips of 3 s, each with one of 8 solo instruments.

The index comes from the layout on disk, whole or partial:

    ROOT/**/Medley-solos-DB_metadata.csv                  subset, instrument, instrument_id, song_id, uuid4
    ROOT/**/Medley-solos-DB_test-0_<uuid4>.wav            subset, number of the instrument (or .flac)

The official split is by source: training and validation clips are cut from MedleyDB, test clips from solosDB. A group
is a song.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._mirdata import Mirdata
from hf_audio.corpora.folder import SPLIT_NAMES
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError, unknown_name
from hf_audio.terminal import named_logger

INSTRUMENTS = (  # in the order of instrument_id
    "clarinet", "distorted electric guitar", "female singer", "flute",
    "piano", "tenor saxophone", "trumpet", "violin",
)  # fmt: skip
CLASS_FAMILIES = {
    "woodwinds": ("clarinet", "flute", "tenor saxophone"),
    "brass": ("trumpet",),
    "strings": ("distorted electric guitar", "piano", "violin"),
    "voice": ("female singer",),
}
SUBSETS = ("training", "validation", "test")
TABLE = "Medley-solos-DB_metadata.csv"
SUFFIXES = (".wav", ".flac")
URL = "https://zenodo.org/records/3464194/files/Medley-solos-DB.tar.gz"

CARD = CorpusCard(
    name="Medley-solos-DB",
    license="CC BY 4.0",
    may_redistribute=True,
    citation=(
        "V. Lostanlen, C.-E. Cella: Deep Convolutional Networks on the Pitch Spiral for Music Instrument Recognition. "
        "Proc. ISMIR 2016, pp. 612-618."
    ),
    homepage="https://zenodo.org/records/3464194",
    protocol=(
        "Medley-solos-DB: official split (training and validation from MedleyDB, test from solosDB); accuracy per "
        "instrument, and its mean over instruments."
    ),
    problem_type="single_label_classification",
    label_names=INSTRUMENTS,
)
SOURCE = Mirdata("medley_solos_db", num_bytes=7.9e9)

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips listed in the table whose files exist.

    Raises:
        InputError: `root` has no table or none of its files, or the table is not Medley-solos-DB's.
    """
    root = Path(root)
    found = files_below(root, "Medley-solos-DB_*")
    table = next((path for path in found if path.name == TABLE), None)
    audio = (path for path in found if path.suffix.lower() in SUFFIXES)
    files = {path.name.partition(".")[0]: path for path in audio}  # some copies have .wav.wav
    if table is None:
        raise InputError(
            f"{root} does not contain Medley-solos-DB; expected {TABLE} and files like "
            f"Medley-solos-DB_test-0_04cb309e-....wav below it (from {CARD.homepage})"
        )
    _, rows = read_table(table, required=("subset", "instrument_id", "song_id", "uuid4"))
    names = [_stem(table, line, row) for line, row in rows]
    clips = [_clip(files[name], row) for name, (_, row) in zip(names, rows, strict=True) if name in files]
    if not clips:
        raise InputError(
            f"{table} lists {len(rows)} clips but {root} has none of them; expected files like "
            f"{names[0] if names else 'Medley-solos-DB_test-0_04cb309e-...'}.wav (unpack {URL} there)"
        )
    if len(clips) < len(rows):
        logger.warning("This copy of Medley-solos-DB is partial: it has %d of %d clips", len(clips), len(rows))
    return index_of(clips)


def obtain(root: Path) -> None:
    """Downloads Medley-solos-DB (8 GB) through mirdata and verifies its checksums."""
    SOURCE.obtain(root, CARD)


def _stem(table: Path, line: int, row: Row) -> str:
    """Name of a clip's file, without its suffix."""
    if row["subset"] not in SUBSETS:
        raise unknown_name(f"subset in {table} line {line}", row["subset"], SUBSETS)
    if row["instrument_id"] not in map(str, range(len(INSTRUMENTS))):
        raise InputError(
            f"{table} line {line}: instrument_id {row['instrument_id']!r} is not one of 0 to {len(INSTRUMENTS) - 1}; "
            f"get {TABLE} again from {CARD.homepage}"
        )
    return f"Medley-solos-DB_{row['subset']}-{row['instrument_id']}_{row['uuid4']}"


def _clip(path: Path, row: Row) -> Clip:
    return Clip(
        path=str(path),
        labels=(INSTRUMENTS[int(row["instrument_id"])],),
        group=f"song-{row['song_id']}",
        clip_id=path.name,
        split=SPLIT_NAMES[row["subset"]],
    )

"""OpenMIC-2018: 20 instruments in 20,000 excerpts of 10 s, most of them unlabeled for most instruments.

The index comes from the layout on disk, whole or partial:

    ROOT/**/openmic-2018-aggregated-labels.csv      sample_key, instrument, relevance, num_responses
    ROOT/**/partitions/split01_train.csv            sample keys, one per line; split01_test.csv likewise
    ROOT/**/openmic-2018-metadata.csv               optional: the artist
    ROOT/**/audio/000/000046_3840.ogg

A row of the labels says that an instrument is present (relevance of at least 0.5) or absent. Without a row, it was not
annotated, and the instrument is `unknown` for that clip. The official split keeps each artist in one split. Validation
clips are drawn from its training part, also by artist, or by track if the metadata is missing.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._mirdata import Mirdata
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import read_table
from hf_audio.errors import InputError, unknown_name
from hf_audio.files import read_text
from hf_audio.terminal import named_logger

INSTRUMENTS = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar", "mallet_percussion",
    "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone", "trumpet", "ukulele", "violin", "voice",
)  # fmt: skip
PRESENT = 0.5  # relevance from which an instrument counts as present, as in the authors' baseline
LABELS = "openmic-2018-aggregated-labels.csv"
METADATA = "openmic-2018-metadata.csv"

CARD = CorpusCard(
    name="OpenMIC-2018",
    license="CC BY 4.0, audio per track",
    may_redistribute=False,  # excerpts have the licenses of their tracks, and many of these forbid derivatives
    citation=(
        "E. J. Humphrey, S. Durand, B. McFee: OpenMIC-2018: An Open Data-set for Multiple Instrument Recognition. "
        "Proc. ISMIR 2018, pp. 438-444."
    ),
    homepage="https://zenodo.org/records/1432913",
    protocol=(
        "OpenMIC-2018: official split 01; each instrument is scored on the clips whose label is known, window scores "
        "averaged per clip, mean over instruments."
    ),
    problem_type="multi_label_classification",
    label_names=INSTRUMENTS,
)
SOURCE = Mirdata("openmic2018", num_bytes=2.6e9, folder="openmic-2018")

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips that have a file, a split and labels; `unknown` has the instruments that were not annotated.

    Instruments that no training clip has are dropped with a warning, because no model could learn them.

    Raises:
        InputError: labels, partitions or audio are missing below `root`, or the labels cannot be read.
    """
    root = Path(root)
    table = min(files_below(root, LABELS), default=None)
    if table is None:
        raise InputError(
            f"{root} does not contain OpenMIC-2018; expected openmic-2018 with {LABELS}, partitions and audio below it "
            f"(unpack openmic-2018-v1.0.0.tgz from {CARD.homepage} there)"
        )
    folder = table.parent
    heard, split_of = _read_labels(table), _read_partitions(folder)
    files = {path.stem: path for path in (folder / "audio").glob("*/*.ogg")}
    keys = sorted(files.keys() & heard.keys() & split_of.keys())
    if not keys:
        raise InputError(
            f"{folder} has no audio for its {len(split_of)} clips; expected files like audio/000/000046_3840.ogg "
            f"(unpack openmic-2018-v1.0.0.tgz from {CARD.homepage} again)"
        )
    if len(keys) < len(split_of):
        logger.warning("This copy of OpenMIC-2018 is partial: it has %d of %d clips", len(keys), len(split_of))
    learnable = _learnable([heard[key] for key in keys if split_of[key] == "train"])
    groups = _groups(folder, split_of)
    clips = []
    for key in keys:
        labels = tuple(name for name in learnable if heard[key].get(name, 0.0) >= PRESENT)
        unknown = tuple(name for name in learnable if name not in heard[key])
        if len(unknown) < len(learnable):
            clip_id = f"audio/{files[key].parent.name}/{files[key].name}"
            clips.append(Clip(str(files[key]), labels, groups[key], clip_id, split=split_of[key], unknown=unknown))
    return index_of(clips)


def obtain(root: Path) -> None:
    """Downloads OpenMIC-2018 (2.6 GB) through mirdata and verifies its checksums."""
    SOURCE.obtain(root, CARD)


def _read_labels(table: Path) -> dict[str, dict[str, float]]:
    """Relevance of each annotated instrument, by sample key."""
    heard: dict[str, dict[str, float]] = defaultdict(dict)
    _, rows = read_table(table, required=("sample_key", "instrument", "relevance"))
    for line, row in rows:
        if row["instrument"] not in INSTRUMENTS:
            raise unknown_name(f"instrument in {table} line {line}", row["instrument"], INSTRUMENTS)
        try:
            heard[row["sample_key"]][row["instrument"]] = float(row["relevance"])
        except ValueError:
            raise InputError(f"{table} line {line}: relevance {row['relevance']!r} is not a number") from None
    return dict(heard)


def _read_partitions(folder: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split in ("train", "test"):
        table = folder / "partitions" / f"split01_{split}.csv"
        if not table.is_file():
            raise InputError(f"{table} is missing, so clips have no split; unpack OpenMIC-2018 again, with partitions")
        split_of.update(dict.fromkeys(read_text(table).split(), split))
    return split_of


def _learnable(training: list[dict[str, float]]) -> list[str]:
    learnable = [name for name in INSTRUMENTS if any(heard.get(name, 0.0) >= PRESENT for heard in training)]
    dropped = [name for name in INSTRUMENTS if name not in learnable]
    if dropped:
        logger.warning(
            "This copy of OpenMIC-2018 has no training clips with %s: left out of the labels", ", ".join(dropped)
        )
    return learnable


def _groups(folder: Path, split_of: dict[str, str]) -> dict[str, str]:
    """Group of each clip: its artist, or its track if the artist is unknown or in both splits."""
    artist_of: dict[str, str] = {}
    if (folder / METADATA).is_file():
        _, rows = read_table(folder / METADATA, required=("sample_key", "artist_id"))
        artist_of = {row["sample_key"]: row["artist_id"] for _, row in rows if row["artist_id"]}
    splits = defaultdict(set)
    for key, split in split_of.items():
        splits[artist_of.get(key)].add(split)
    groups = {}
    for key in split_of:
        artist = artist_of.get(key)
        apart = artist is not None and len(splits[artist]) == 1
        groups[key] = f"artist-{artist}" if apart else f"track-{key.partition('_')[0]}"
    return groups

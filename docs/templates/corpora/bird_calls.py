"""Bird calls: a template for a corpus. Copy it to hf_audio/corpora/ and adapt it.

    ROOT/**/calls.csv                     columns file, species, site
    ROOT/**/audio/0001.wav

A group is a site, so that no site is in two splits. There is no official split: train, validation and test are drawn.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError, unknown_name

SPECIES = ("blackbird", "robin", "wren")

CARD = CorpusCard(
    name="Bird calls",
    license="CC BY 4.0",
    may_redistribute=True,  # False if the license forbids it; then nothing is pushed to public repositories
    citation="A. Author: Calls of Three Species. 2026.",
    homepage="https://example.org/bird-calls",
    protocol="Bird calls: sites drawn at random, window scores averaged per clip, accuracy.",
    problem_type="single_label_classification",  # multi_label_classification if several labels may apply
    label_names=SPECIES,
)


def index(root: Path) -> pa.Table:
    """One row per call.

    Raises:
        InputError: there is no table below `root`, a row is invalid, or a file is missing.
    """
    tables = files_below(Path(root), "calls.csv")
    if not tables:
        raise InputError(
            f"{root} does not contain calls.csv; download {CARD.name} from {CARD.homepage} and unpack it there"
        )
    _, rows = read_table(tables[0], required=("file", "species", "site"))
    return index_of(_clip(tables[0], line, row) for line, row in rows)


def _clip(table: Path, line: int, row: Row) -> Clip:
    if row["species"] not in SPECIES:
        raise unknown_name(f"species in {table} line {line}", row["species"], SPECIES)
    path = table.parent / "audio" / row["file"]
    if not path.is_file():
        raise InputError(f"{table} line {line} names audio/{row['file']}, which is missing: unpack the corpus again")
    return Clip(
        path=path,
        labels=(row["species"],),
        group=row["site"],  # must never be in two splits
        clip_id=f"audio/{row['file']}",  # unique, and the same on every machine
        metadata={"site": row["site"]},  # any facts; they are stored with the features
    )

"""UrbanSound8K: 8,732 excerpts of at most 4 s in 10 classes of urban sounds, ten official folds.

The index comes from the layout on disk, whole or partial:

    ROOT/**/metadata/UrbanSound8K.csv           slice_file_name, fsID, start, end, salience, fold, classID, class
    ROOT/**/audio/fold5/100032-3-0-0.wav        Freesound id, number of the class, occurrence, slice

Copies with the table next to the folders fold1 to fold10 are read too. Folds become splits named fold1 to fold10:
choose the one to test on with --fold. Excerpts of the same Freesound recording are one group, and in the same fold:
reshuffling would put them in both training and test, which inflates scores.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError, unknown_name
from hf_audio.terminal import named_logger

CLASSES = (
    "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling",
    "engine_idling", "gun_shot", "jackhammer", "siren", "street_music",
)  # fmt: skip
FOLDS = tuple(f"fold{number}" for number in range(1, 11))
TABLE = "UrbanSound8K.csv"
SALIENCE = {"1": "foreground", "2": "background"}
URL = "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz"

CARD = CorpusCard(
    name="UrbanSound8K",
    license="CC BY-NC 3.0",
    may_redistribute=True,
    citation=(
        "J. Salamon, C. Jacoby, J. P. Bello: A Dataset and Taxonomy for Urban Sound Research. Proc. 22nd ACM "
        "International Conference on Multimedia, 2014, pp. 1041-1044."
    ),
    homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
    protocol="UrbanSound8K: ten official folds, tested on each in turn; mean accuracy over the folds.",
    problem_type="single_label_classification",
    label_names=CLASSES,
)
# The checksum is from soundata
SOURCE = Archives(
    {"all": (Archive(URL, "UrbanSound8K", 6_023_741_708, 7.1e9, "md5:9aa69802bbf37fb986f71ec1483a196e"),)},
)

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips listed in the table whose files exist; `split` is the name of the fold.

    Raises:
        InputError: `root` has no table or none of its files, or the table is not UrbanSound8K's.
    """
    root = Path(root)
    table = min(files_below(root, TABLE), default=None)
    if table is None:
        raise InputError(
            f"{root} does not contain UrbanSound8K; expected metadata/{TABLE} and audio/fold5/100032-3-0-0.wav below "
            f"it (unpack {URL} there)"
        )
    _, rows = read_table(table, required=("slice_file_name", "fsID", "fold", "class"))
    folder = _audio_folder(table)
    listed = [_clip(table, folder, line, row) for line, row in rows]
    _check_folds(table, listed)
    clips = [clip for clip in listed if os.path.isfile(clip.path)]
    if not clips:
        raise InputError(f"{table} lists {len(rows)} clips but {folder} has none of them; unpack {URL} again")
    if len(clips) < len(rows):
        logger.warning("This copy of UrbanSound8K is partial: it has %d of %d clips", len(clips), len(rows))
    return index_of(clips)


def obtain(root: Path) -> None:
    """Downloads UrbanSound8K (6 GB) and unpacks it."""
    SOURCE.obtain(root, CARD)


def _audio_folder(table: Path) -> Path:
    """The folder with the folds."""
    official = table.parents[1] / "audio"
    places = (official, table.parent / "audio", table.parent)
    return next((place for place in places if any((place / fold).is_dir() for fold in FOLDS)), official)


def _clip(table: Path, folder: Path, line: int, row: Row) -> Clip:
    if row["class"] not in CLASSES:
        raise unknown_name(f"class in {table} line {line}", row["class"], CLASSES)
    fold = f"fold{row['fold']}"
    if fold not in FOLDS:
        raise InputError(f"{table} line {line}: fold {row['fold']!r} is not one of 1 to 10; unpack {URL} again")
    return Clip(
        path=str(folder / fold / row["slice_file_name"]),
        labels=(row["class"],),
        group=row["fsID"],
        clip_id=f"{fold}/{row['slice_file_name']}",
        split=fold,
        metadata={"salience": SALIENCE.get(row.get("salience", ""), "")},
    )


def _check_folds(table: Path, clips: list[Clip]) -> None:
    """Raises InputError for a recording in two folds, as in shuffled copies of the official table."""
    fold_of: dict[str, str | None] = {}
    for clip in clips:
        first = fold_of.setdefault(clip.group, clip.split)
        if first != clip.split:
            raise InputError(
                f"{table} has excerpts of recording {clip.group} in {first} and {clip.split}, which the official folds "
                f"keep together; unpack {URL} again"
            )

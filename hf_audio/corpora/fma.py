"""FMA: genres of the Free Music Archive, in its subsets small (8,000 clips, 8 genres), medium, large and full.

The index comes from the layout on disk, whole or partial:

    ROOT/**/fma_metadata/tracks.csv       one row per track after three header lines
    ROOT/**/fma_small/000/000002.mp3      or fma_medium, fma_large, fma_full: the folder determines the subset

If there are several subsets, choose one with --data_dir ROOT/fma_small. The split is the official one, which is
artist-disjoint; a group is an artist. Tracks of large and full with several genres or none have no top genre and are
left out.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below, folders_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.corpora.folder import SPLIT_NAMES
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, read_whole
from hf_audio.terminal import named_logger

SUBSETS = ("small", "medium", "large", "full")  # each contains those before it
TABLE = "fma_metadata/tracks.csv"
HEADER_LINES = 3
COLUMNS = (("set", "split"), ("set", "subset"), ("artist", "id"), ("track", "genre_top"))
# https://github.com/mdeff/fma/wiki, "Excerpts shorter than 30s": tracks of small and medium without audio ...
SILENT_TRACKS = frozenset(
    (1486, 5574, 65753, 80391, 98558, 98559, 98560, 98571, 99134, 105247, 108925, 126981, 127336, 133297, 143992)
)
SHORT_TRACKS = frozenset((98565, 98567, 98569))  # ... and tracks shorter than 2 s
URL = "https://os.unil.cloud.switch.ch/fma"

CARD = CorpusCard(
    name="FMA",
    license="Creative Commons, per track",  # as its artist chose; the metadata is CC BY 4.0
    may_redistribute=False,  # many tracks have licenses that forbid derivatives
    citation=(
        "M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson: FMA: A Dataset for Music Analysis. Proc. ISMIR 2017, "
        "pp. 316-323."
    ),
    homepage="https://github.com/mdeff/fma",
    protocol=(
        "FMA: official artist-disjoint split (80 / 10 / 10 %), top genre of 30 s clips; window scores averaged per "
        "clip, accuracy."
    ),
    problem_type="single_label_classification",
)
# SHA-1 and sizes are from the README of https://github.com/mdeff/fma
_METADATA = Archive(
    f"{URL}/fma_metadata.zip", "fma_metadata", 0.36e9, 1.5e9, "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"
)
SOURCE = Archives(
    {
        subset: (_METADATA, Archive(f"{URL}/fma_{subset}.zip", f"fma_{subset}", num_bytes, num_bytes, f"sha1:{sha1}"))
        for subset, num_bytes, sha1 in (
            ("small", 7.7e9, "ade154f733639d52e35e32f5593efe5be76c6d70"),
            ("medium", 23.6e9, "c67b69ea232021025fca9231fc1c7c1a063ab50b"),
            ("large", 100.3e9, "497109f4dd721066b5ce5e5f250ec604dc78939e"),
            ("full", 944e9, "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
        )
    }
)

logger = named_logger(__name__)


@dataclass(frozen=True)
class _Track:
    split: str
    subset: str
    artist: str
    genre: str


def index(root: Path) -> pa.Table:
    """Clips of one subset: files with a top genre, except those known to be empty or very short.

    Raises:
        InputError: no subset, several subsets, or no tracks.csv below `root`; a tracks.csv that cannot be read.
    """
    folder, table = _layout(Path(root))
    tracks = _read_tracks(table)
    files = {int(path.stem): path for path in sorted(folder.glob("*/*.mp3")) if path.stem.isdecimal()}
    known_bad = SILENT_TRACKS | SHORT_TRACKS
    wanted = {number for number in files.keys() - known_bad if number in tracks and tracks[number].genre}
    if not wanted:
        raise InputError(
            f"{folder} has none of the tracks in {table}; expected files like {folder.name}/000/000002.mp3 "
            f"(unpack {URL}/{folder.name}.zip again)"
        )
    _log_what_is_missing(folder, tracks, set(files), wanted)
    return index_of(
        Clip(
            path=str(files[number]),
            labels=(tracks[number].genre,),
            group=f"artist-{tracks[number].artist}",
            clip_id=files[number].relative_to(folder).as_posix(),
            split=tracks[number].split,
        )
        for number in sorted(wanted)
    )


def obtain(root: Path, subset: str | None = None) -> None:
    """Downloads a subset of FMA (small, 8 GB, by default) and its metadata, and unpacks them."""
    SOURCE.obtain(root, CARD, subset)


def _layout(root: Path) -> tuple[Path, Path]:
    """The folder of the subset, and tracks.csv."""
    names = {f"fma_{subset}" for subset in SUBSETS}
    below = root.parent if root.name in names else root
    found = [path for path in (root, *folders_below(root)) if path.name in names]
    # some copies have fma_small in fma_small: use the one with the tracks
    folders = [path for path in found if any(path.glob("[0-9][0-9][0-9]/*.mp3"))] or found[:1]
    # looked for in these places first, because searching everything below takes longer
    near = [path / TABLE for path in (below, below.parent) if (path / TABLE).is_file()]
    tables = near or files_below(below, TABLE)
    if not folders or not tables:
        absent = " or ".join(name for name, there in (("fma_small", folders), ("fma_metadata", tables)) if not there)
        raise InputError(
            f"{root} has no {absent}; expected fma_small/000/000002.mp3 (or fma_medium, fma_large) and "
            f"fma_metadata/tracks.csv below it (unpack {URL}/fma_small.zip and {URL}/fma_metadata.zip there)"
        )
    if len(folders) > 1:
        several = ", ".join(path.relative_to(root).as_posix() for path in folders)
        raise InputError(f"{root} has several subsets ({several}); choose one, e.g. --data_dir {folders[0]}")
    return folders[0], tables[0]


def _read_tracks(table: Path) -> dict[int, _Track]:
    """The tracks in tracks.csv, by number. Uses pandas, because some cells are longer than Python's csv allows."""
    import pandas

    try:
        text = io.BytesIO(read_whole(table, MAX_TABLE_BYTES))
        header = pandas.read_csv(text, header=None, nrows=2, dtype=str, keep_default_na=False)
        names = list(zip(header.loc[0], header.loc[1], strict=True))
        missing = [".".join(column) for column in COLUMNS if column not in names]
        if missing:
            raise InputError(f"{table} has no column {missing[0]}; expected tracks.csv of {URL}/fma_metadata.zip")
        columns = [0, *map(names.index, COLUMNS)]
        text.seek(0)
        rows = pandas.read_csv(
            text, header=None, skiprows=HEADER_LINES, usecols=columns, dtype=str, keep_default_na=False
        )[columns]
        return {
            int(number): _Track(SPLIT_NAMES[split], subset, artist, genre)
            for number, split, subset, artist, genre in rows.itertuples(index=False)
        }
    except InputError:
        raise
    except (ValueError, KeyError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{table} is damaged ({one_line(error)}); unpack {URL}/fma_metadata.zip again") from error


def _log_what_is_missing(folder: Path, tracks: dict[int, _Track], found: set[int], wanted: set[int]) -> None:
    subset = folder.name.removeprefix("fma_")
    parts = SUBSETS if subset == "full" else SUBSETS[: SUBSETS.index(subset) + 1]
    absent = [number for number, track in tracks.items() if track.subset in parts and number not in found]
    if absent:
        logger.warning("This copy of FMA %s is partial: %d tracks have no file", subset, len(absent))
    left_out = len(found - wanted)
    if left_out:
        logger.info("Skipped %d files of FMA %s without audio, top-level genre or row in the table", left_out, subset)

"""GTZAN: music genres, 1,000 tracks of 30 s in 10 classes, with a reliable split.

The index comes from the layout on disk, whole or partial:

    ROOT/**/blues/blues.00000.wav       (or .au) in genres, genres_original or another folder

The corpus has no official split. Random splits inflate accuracy by about 10 points: excerpts are repeated, distorted
and mislabeled, and tracks of the same artist are in training and test. So the split of Kereliuk, Sturm and Larsen is
used, without the tracks that Sturm found faulty: 443, 197 and 290 tracks, and no artist in two splits. The corpus does
not name artists, so a group is a track; only the lists keep artists in one split. `--split random` ignores the lists,
for comparison with published scores, and inflates scores just as much.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._files import files_below
from hf_audio.corpora._mirdata import Mirdata
from hf_audio.data.index.columns import with_values
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.recordings.audio import AudioError, probe
from hf_audio.data.tables import written_rows
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SPLIT_TABLE = Path(__file__).with_name("gtzan_split.csv")  # columns genre, split, tracks (numbers with spaces between)
NUM_TRACKS = 1000
OFTEN_BROKEN = "jazz.00054"  # not a valid audio file in many copies, but in the training list
TRACK = rf"(?:^|/)(?P<name>(?:{'|'.join(GENRES)})\.[0-9]{{5}})\.\w+$"
FILE_NAME = re.compile(rf"({'|'.join(GENRES)})\.[0-9]{{5}}\.(wav|au)")

CARD = CorpusCard(
    name="GTZAN",
    license="unknown",
    may_redistribute=False,  # excerpts of published records without permission
    citation=(
        "G. Tzanetakis, P. Cook: Musical Genre Classification of Audio Signals. IEEE Transactions on Speech and Audio "
        "Processing 10(5), 2002, pp. 293-302. Split: C. Kereliuk, B. L. Sturm, J. Larsen: Deep Learning and Music "
        "Adversaries. IEEE Transactions on Multimedia 17(11), 2015, pp. 2059-2071."
    ),
    homepage="http://marsyas.info/downloads/datasets.html",
    protocol=(
        "GTZAN: fault-filtered, artist-disjoint split of Kereliuk, Sturm and Larsen (443 / 197 / 290 tracks); window "
        "scores averaged per track, accuracy."
    ),
    problem_type="single_label_classification",
    label_names=GENRES,
)
# mirdata's URL is http, and its server has been down for years; the checksum is mirdata's
MIRROR = "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz"
SOURCE = Mirdata("gtzan_genre", num_bytes=1.3e9, addresses={"all": MIRROR})

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips of the listed tracks on disk; tracks in none of the lists are left out.

    Raises:
        InputError: no tracks below `root`, or none of the listed ones.
    """
    root = Path(root)
    files = _track_files(root)
    split_of = split_of_tracks()
    clips = [_clip(path, split_of[name]) for name, path in files.items() if name in split_of and not _is_broken(path)]
    if not clips:
        raise _no_tracks(root, "no GTZAN tracks" if not files else "none of the listed GTZAN tracks")
    unlisted = len(files.keys() - split_of.keys())
    if unlisted:
        logger.info(
            "Skipped %d GTZAN tracks that are in none of the split lists (faulty, or with a repeated artist)",
            unlisted,
        )
    if len(clips) < len(split_of):
        logger.warning(
            "This copy of GTZAN is partial: %d of the %d listed tracks can be used", len(clips), len(split_of)
        )
    return index_of(clips)


def index_for_random_split(root: Path) -> pa.Table:
    """All readable tracks, for a split that is drawn at random (`--split random`).

    Only for comparison with published scores on random splits. These inflate accuracy by about 10 points, because
    artists, albums and repeated excerpts are in training and test.

    Raises:
        InputError: no track below `root`.
    """
    root = Path(root)
    clips = [_clip(path, None) for path in _track_files(root).values() if not _is_broken(path)]
    if not clips:
        raise _no_tracks(root, "no GTZAN tracks")
    logger.warning(
        "A random split of GTZAN inflates accuracy by about 10 points: the same artists and tracks are in training "
        "and test"
    )
    if len(clips) < NUM_TRACKS - 1:
        logger.warning("This copy of GTZAN is partial: %d of %d tracks can be used", len(clips), NUM_TRACKS)
    return index_of(clips)


def of_dataset(clips: pa.Table) -> pa.Table:
    """The listed tracks of a copy on the Hub, with the splits of the lists; tracks are recognized by name.

    Raises:
        InputError: no name in the copy is that of a GTZAN track.
    """
    names = pc.struct_field(pc.extract_regex(clips["clip_id"], TRACK), "name")
    if names.null_count == len(clips):
        raise InputError(
            f"No clip of this dataset is named like a GTZAN track (found {clips['clip_id'][0].as_py()!r}, expected "
            "e.g. blues.00029.wav): add --corpus folder to read it like any other dataset"
        )
    split_of = split_of_tracks()
    splits = pc.index_in(names, pa.array([*split_of]))
    listed = pc.is_valid(splits)
    known = pa.array([*split_of.values()]).take(splits.filter(listed).combine_chunks())
    clips = with_values(clips.filter(listed), "split", known)
    return with_values(clips, "group", names.filter(listed))


def obtain(root: Path) -> None:
    """Downloads GTZAN (1.2 GB) through mirdata and verifies its checksums."""
    SOURCE.obtain(root, CARD)


def split_of_tracks() -> dict[str, str]:
    """The split of each track of the fault-filtered lists, by names such as "blues.00029"."""
    return {
        f"{row['genre']}.{int(number):05d}": row["split"]
        for row in written_rows(SPLIT_TABLE)
        for number in row["tracks"].split()
    }


def _no_tracks(root: Path, found: str) -> InputError:
    return InputError(
        f"{root} has {found}; expected genre folders with files like genres/blues/blues.00029.wav or "
        f".au (genres.tar.gz from {CARD.homepage}, or a copy of it)"
    )


def _track_files(root: Path) -> dict[str, Path]:
    """The file of each track; if there are several copies, the first .wav."""
    files = [path for path in files_below(root) if FILE_NAME.fullmatch(path.name)]
    files.sort(key=lambda path: (path.suffix != ".wav", path))
    chosen: dict[str, Path] = {}
    for path in files:
        chosen.setdefault(path.stem, path)
    return dict(sorted(chosen.items()))


def _is_broken(path: Path) -> bool:
    if path.stem != OFTEN_BROKEN:
        return False
    try:
        probe(path)
    except AudioError:
        logger.info("Skipped %s, which is broken, as in most copies of GTZAN", path)
        return True
    return False


def _clip(path: Path, split: str | None) -> Clip:
    genre = path.name.partition(".")[0]
    return Clip(path=str(path), labels=(genre,), group=path.stem, clip_id=f"{genre}/{path.name}", split=split)

"""Speech Commands: 35 spoken words (30 in version 1), one second each, by 2,618 speakers.

The index comes from the layout on disk, whole or partial:

    ROOT/**/bed/026290a7_nohash_0.wav     word, speaker, number of the take
    ROOT/**/validation_list.txt           files of the official split; testing_list.txt likewise

If a list is missing, the split follows the rule that made the lists: a hash of the speaker, so that each speaker is in
one split only. _background_noise_ is not a word and is left out.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError
from hf_audio.files import read_text
from hf_audio.terminal import named_logger

NEW_IN_VERSION_2 = ("backward", "follow", "forward", "learn", "visual")
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
FILE_NAME = re.compile(r"(?P<speaker>[0-9a-z]+)_nohash_[0-9]+\.wav")
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
HASHES = 2**27  # the rule uses a speaker's hash modulo this number ...
VALIDATION_PERCENT, TEST_PERCENT = 10.0, 10.0  # ... the lowest share is for validation, the next one for testing
URL = "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"

CARD = CorpusCard(
    name="Speech Commands",
    license="CC BY 4.0",
    may_redistribute=True,
    citation="P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv:1804.03209, 2018.",
    homepage="https://www.tensorflow.org/datasets/catalog/speech_commands",
    protocol="Speech Commands: official speaker-disjoint split (about 80 / 10 / 10 %), all words as classes; accuracy.",
    problem_type="single_label_classification",
    label_names=WORDS,
)
# The checksum is from torchaudio.datasets.SPEECHCOMMANDS
SOURCE = Archives(
    {
        "v0.02": (
            Archive(
                URL, "speech_commands_v0.02", 2_428_923_189, 3.6e9,
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            ),
        )
    }
)  # fmt: skip

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips of all words on disk.

    Raises:
        InputError: no word folder below `root`, or word folders in several places.
    """
    root = Path(root)
    found = [(path, FILE_NAME.fullmatch(path.name)) for path in files_below(root, "*_nohash_*.wav")]
    spoken = [(path, match["speaker"]) for path, match in found if match and path.parent.name in WORDS]
    if not spoken:
        raise InputError(
            f"{root} does not contain Speech Commands; expected word folders with files like "
            "bed/026290a7_nohash_0.wav, and validation_list.txt and testing_list.txt next to the folders (unpack "
            f"{URL} there)"
        )
    places = sorted({path.parents[1] for path, _ in spoken})
    if len(places) > 1:
        raise InputError(
            f"Word folders of Speech Commands are in both {places[0]} and {places[1]}, so clips would be used twice; "
            f"choose one, e.g. --data_dir {places[0]}"
        )
    _warn_of_words({path.parent.name for path, _ in spoken}, {path.parent.name for path, _ in found})
    listed = _read_lists(places[0])
    clips = []
    for path, speaker in spoken:
        clip_id = f"{path.parent.name}/{path.name}"
        split = listed.get(clip_id, "train") if listed else split_of_speaker(speaker)
        clips.append(Clip(str(path), (path.parent.name,), group=speaker, clip_id=clip_id, split=split))
    return index_of(clips)


def obtain(root: Path) -> None:
    """Downloads Speech Commands, version 2 (2.4 GB), and unpacks it."""
    SOURCE.obtain(root, CARD)


def split_of_speaker(speaker: str) -> str:
    """The official split of a speaker, by the rule in the corpus's README."""
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % HASHES
    percent = 100.0 * number / (HASHES - 1)
    if percent < VALIDATION_PERCENT:
        return "validation"
    return "test" if percent < VALIDATION_PERCENT + TEST_PERCENT else "train"


def _read_lists(folder: Path) -> dict[str, str]:
    """The split of each listed clip; empty if a list is missing."""
    missing = [name for name in LISTS.values() if not (folder / name).is_file()]
    if missing:
        logger.warning(
            "%s has no %s: the split is derived from a hash of the speaker instead", folder, " or ".join(missing)
        )
        return {}
    return {clip_id: split for split, name in LISTS.items() for clip_id in read_text(folder / name).split()}


def _warn_of_words(words: set[str], folders: set[str]) -> None:
    missing = sorted(set(WORDS) - words)
    if missing and missing != list(NEW_IN_VERSION_2):
        logger.warning("This copy of Speech Commands is partial: no clips of %s", ", ".join(missing))
    others = sorted(name for name in folders - words if not name.startswith("_"))
    if others:
        logger.warning("Skipped folders that are not words of Speech Commands: %s", ", ".join(others))

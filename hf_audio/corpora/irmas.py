"""IRMAS: predominant instrument recognition in musical audio, 11 instruments.

The index comes from the layout on disk, whole or partial:

    ROOT/**/cel/008__[cel][nod][cla]0058__1.wav     training: 3 s, one label; __1 __2 __3 are cut from one recording
    ROOT/**/Part1/(02) dont kill the whale-1.wav    test parts 1 to 3: 5 to 20 s, labels in a .txt next to each

It is downloaded through mirdata.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._mirdata import Mirdata
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError
from hf_audio.files import MAX_LABELS_BYTES, read_whole
from hf_audio.terminal import named_logger

INSTRUMENTS = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
NUM_CLIPS = {"train": 6705, "test": 2874}
GENRES = ("cou_fol", "cla", "pop_roc", "lat_sou", "jaz_blu")
DRUMS = {"dru": "yes", "nod": "no"}

CARD = CorpusCard(
    name="IRMAS",
    license="CC BY-NC-SA 3.0",
    may_redistribute=False,
    citation=(
        "J. J. Bosch, J. Janer, F. Fuhrmann, P. Herrera: A Comparison of Sound Segregation Techniques for Predominant "
        "Instrument Recognition in Musical Audio Signals. Proc. ISMIR 2012, pp. 559-564."
    ),
    homepage="https://www.upf.edu/web/mtg/irmas",
    protocol=(
        "IRMAS: trained on 3 s clips with one predominant instrument, tested on excerpts of 5 to 20 s with 1 to 5 "
        "labels; window scores averaged per excerpt, micro and macro F1."
    ),
    problem_type="multi_label_classification",
    label_names=tuple(INSTRUMENTS),
)
SOURCE = Mirdata("irmas", num_bytes=12e9)

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips in the training class folders and in the test parts on disk.

    Test labels of a class whose training folder is missing are dropped with a warning, as no model could learn them.

    Raises:
        InputError: no training folder of any of the 11 classes below `root`.
    """
    root = Path(root)
    files = files_below(root, "*.wav")
    training = [_training_clip(root, path) for path in files if _is_training(path)]
    if not training:
        raise InputError(
            f"{root} has no IRMAS training clips; expected class folders such as IRMAS-TrainingData/cel with files "
            f"like 008__[cel][nod][cla]0058__1.wav (from {CARD.homepage})"
        )
    present = {clip.labels[0] for clip in training}
    others = [path for path in files if not _is_training(path)]
    test = [_test_clip(root, path, present) for path in others if _labels_file(path).is_file()]
    missing = [code for code in INSTRUMENTS if code not in present]
    if missing:
        logger.warning(
            "This copy of IRMAS is partial: no training clips of %s; their test labels are ignored", ", ".join(missing)
        )
    _log_what_is_missing(root, len(training), len(test), len(others))
    return index_of(training + test)


def obtain(root: Path) -> None:
    """Downloads IRMAS (training data and three test parts, about 12 GB) through mirdata and verifies its checksums."""
    SOURCE.obtain(root, CARD)


def _log_what_is_missing(root: Path, num_training: int, num_test: int, num_others: int) -> None:
    if not num_test:
        logger.warning(
            "%s does not contain labeled test clips of IRMAS: a test split is drawn from the training clips",
            root,
        )
    elif num_training < NUM_CLIPS["train"] or num_test < NUM_CLIPS["test"]:
        logger.warning(
            "This copy of IRMAS is partial: %d of %d training clips, %d of %d test excerpts",
            num_training, NUM_CLIPS["train"], num_test, NUM_CLIPS["test"],
        )  # fmt: skip
    if num_test < num_others:
        logger.warning(
            "Skipped %d recordings in %s without a .txt file of labels next to them", num_others - num_test, root
        )


def _is_training(path: Path) -> bool:
    return path.parent.name in INSTRUMENTS and not _labels_file(path).is_file()


def _labels_file(path: Path) -> Path:
    return path.with_name(path.stem + ".txt")


def _training_clip(root: Path, path: Path) -> Clip:
    tags = re.findall(r"\[([a-z_]+)\]", path.stem)[1:]  # the first is the instrument, which is also the folder's name
    metadata = {"genre": next((tag for tag in tags if tag in GENRES), "")}
    metadata["drums"] = next((DRUMS[tag] for tag in tags if tag in DRUMS), "")
    return Clip(
        path=str(path),
        labels=(path.parent.name,),
        group=f"{path.parent.name}/{re.sub(r'__[0-9]+$', '', path.stem)}",
        clip_id=path.relative_to(root).as_posix(),
        split="train",
        metadata=metadata,
    )


def _test_clip(root: Path, path: Path, present: set[str]) -> Clip:
    written = read_whole(_labels_file(path), MAX_LABELS_BYTES).decode(errors="replace").split()
    unknown = [label for label in written if label not in INSTRUMENTS]
    if unknown:
        raise InputError(f"{_labels_file(path)} names {unknown[0]!r}; IRMAS labels are {', '.join(INSTRUMENTS)}")
    return Clip(
        path=str(path),
        labels=tuple(label for label in dict.fromkeys(written) if label in present),
        group=f"test/{re.sub(r'-[0-9]+$', '', path.stem)}",  # excerpts of one song are numbered -1, -2 ...
        clip_id=path.relative_to(root).as_posix(),
        split="test",
        metadata={"genre": "", "drums": ""},
    )

"""NSynth: 305,979 notes of 4 s, each played by one of 1,006 instruments in 11 families.

The index comes from the layout on disk, whole or partial:

    ROOT/**/nsynth-train/examples.json                           family, source, pitch and velocity of each note
    ROOT/**/nsynth-train/audio/guitar_acoustic_010-066-100.wav   instrument, MIDI pitch, velocity
    ROOT/**/nsynth-valid, ROOT/**/nsynth-test                    likewise

In the official split, no training instrument is in validation or test. It has two peculiarities. synth_lead is in
training only, so it is learned but never tested, and averages over classes leave it out. Validation and test share
instruments, so choices made on validation fit the test split a little too well. A group is an instrument; an instrument
shared by validation and test is a separate group in each. `--split random` redraws all three splits with every
instrument in one split only, including synth_lead.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_audio.corpora._files import files_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError, unknown_name
from hf_audio.files import read_json
from hf_audio.terminal import named_logger

FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
PARTS = {"nsynth-train": "train", "nsynth-valid": "validation", "nsynth-test": "test"}
FACTS = {"instrument_source_str": "source", "pitch": "pitch", "velocity": "velocity"}
MAX_EXAMPLES_BYTES = 1 << 30  # of examples.json; the training part has about 200 MB
NEEDED = ("instrument_str", "instrument_family_str", *FACTS)
BUCKET = "https://storage.googleapis.com/download.magenta.tensorflow.org/datasets/nsynth"  # of the official URLs
URLS = tuple(f"{BUCKET}/{part}.jsonwav.tar.gz" for part in PARTS)

CARD = CorpusCard(
    name="NSynth",
    license="CC BY 4.0",
    may_redistribute=True,
    citation=(
        "J. Engel, C. Resnick, A. Roberts, S. Dieleman, D. Eck, K. Simonyan, M. Norouzi: Neural Audio Synthesis of "
        "Musical Notes with WaveNet Autoencoders. Proc. ICML 2017, pp. 1068-1077."
    ),
    homepage="https://magenta.tensorflow.org/datasets/nsynth",
    protocol=(
        "NSynth: official split (289,205 / 12,678 / 4,096 notes, instruments of training apart), instrument families; "
        "accuracy."
    ),
    problem_type="single_label_classification",
    label_names=FAMILIES,
)
# The authors publish no checksums. The MD5 comes from the storage bucket, and the HEAR benchmark verifies it; the
# SHA-256s were noted by several people who downloaded these files.
_SIZES = ((25e9, 37.1e9), (1_068_767_009, 1.63e9), (349_501_546, 0.53e9))  # archive and contents
_CHECKSUMS = (
    "md5:fde6665a93865503ba598b9fac388660",
    "sha256:00dea2645fbe0069258567da30807a90825e0bab54c077d6481f253096c4e2a0",
    "sha256:0f9ba5d62beba9ec4612f918d19f5e87a681822f1c566124f05fe8b27a51934c",
)
_TRAIN, _VALID, _TEST = (
    Archive(url, part, *sizes, checksum)
    for url, part, sizes, checksum in zip(URLS, PARTS, _SIZES, _CHECKSUMS, strict=True)
)
SOURCE = Archives({"all": (_TRAIN, _VALID, _TEST), "train": (_TRAIN,), "valid": (_VALID,), "test": (_TEST,)})

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips of the parts on disk; `split` is the part.

    Raises:
        InputError: no part or no audio below `root`, or an examples.json that cannot be read.
    """
    clips = _read_parts(Path(root))
    of_validation, of_test = ({clip.group for clip in clips if clip.split == split} for split in ("validation", "test"))
    shared = of_validation & of_test
    if shared:
        logger.info("NSynth's validation and test share %d instruments; training has none of them", len(shared))
    tested = {label for clip in clips if clip.split == "test" for label in clip.labels}
    trained = {label for clip in clips if clip.split == "train" for label in clip.labels}
    if tested and trained - tested:
        logger.warning(
            "The test split of NSynth has no notes of %s: trained on, but never tested",
            ", ".join(sorted(trained - tested)),
        )
    return index_of(
        dataclasses.replace(clip, group=f"{clip.split}/{clip.group}") if clip.group in shared else clip
        for clip in clips
    )


def obtain(root: Path, subset: str | None = None) -> None:
    """Downloads NSynth (26 GB), or one of its parts train, valid and test, and unpacks it."""
    SOURCE.obtain(root, CARD, subset)


def index_for_random_split(root: Path) -> pa.Table:
    """All notes, without their official split and with the instrument as group."""
    return index_of(dataclasses.replace(clip, split=None) for clip in _read_parts(Path(root)))


def _read_parts(root: Path) -> list[Clip]:
    tables = {path.parent.name: path for path in files_below(root, "examples.json") if path.parent.name in PARTS}
    if not tables:
        raise InputError(
            f"{root} does not contain NSynth; expected nsynth-train, nsynth-valid and nsynth-test below it, each with "
            f"examples.json and audio (unpack {URLS[0]} and the others there)"
        )
    missing = [part for part in PARTS if part not in tables]
    if missing:
        logger.warning("This copy of NSynth is partial: no %s", " and no ".join(missing))
    return [clip for part in PARTS if part in tables for clip in _read_part(part, tables[part])]


def _read_part(part: str, table: Path) -> list[Clip]:
    examples = _read_examples(table)
    folder = table.parent / "audio"
    files = set(os.listdir(folder)) if folder.is_dir() else set()
    clips = [_clip(part, table, name, facts) for name, facts in sorted(examples.items()) if f"{name}.wav" in files]
    if not clips:
        raise InputError(
            f"{table} lists {len(examples)} notes but {folder} has none of them; expected files like "
            f"guitar_acoustic_010-066-100.wav (unpack {part}.jsonwav.tar.gz again)"
        )
    if len(clips) < len(examples):
        logger.warning("This copy of %s is partial: it has %d of %d notes", part, len(clips), len(examples))
    return clips


def _read_examples(table: Path) -> dict[str, dict[str, Any]]:
    """The needed facts about each note, by name: all facts of 289,205 notes would take half a gigabyte."""

    def keep_needed(entry: dict[str, Any]) -> dict[str, Any]:
        return {key: entry[key] for key in NEEDED if key in entry} if "note_str" in entry else entry

    try:
        examples = read_json(table, MAX_EXAMPLES_BYTES, keep_needed)
    except InputError as error:
        raise InputError(f"{error}; unpack {table.parent.name}.jsonwav.tar.gz again") from error
    if not all(isinstance(facts, dict) for facts in examples.values()):
        raise InputError(
            f"{table} is not a table of NSynth's notes; expected one entry per note, with {', '.join(NEEDED)} (unpack "
            f"{table.parent.name}.jsonwav.tar.gz again)"
        )
    return examples


def _clip(part: str, table: Path, name: str, facts: dict[str, Any]) -> Clip:
    missing = [key for key in NEEDED if key not in facts]
    if missing:
        raise InputError(
            f"{table} has no {missing[0]} for {name}; expected {', '.join(NEEDED)} (unpack {part}.jsonwav.tar.gz again)"
        )
    family = facts["instrument_family_str"]
    if family not in FAMILIES:
        raise unknown_name(f"instrument family of {name} in {table}", str(family), FAMILIES)
    return Clip(
        path=str(table.parent / "audio" / f"{name}.wav"),
        labels=(family,),
        group=str(facts["instrument_str"]),
        clip_id=f"{part}/audio/{name}.wav",
        split=PARTS[part],
        metadata={column: str(facts[key]) for key, column in FACTS.items()},
    )

"""MedleyDB: 122 multitrack songs (196 with version 2); clips are cut from their mixes.

The index comes from the layout on disk, whole or partial:

    ROOT/**/Audio/LizNelson_Rainfall/LizNelson_Rainfall_MIX.wav            artist and song
    ROOT/**/LizNelson_Rainfall_METADATA.yaml                               artist, genre, instrument of each stem
    ROOT/**/ACTIVATION_CONF/LizNelson_Rainfall_ACTIVATION_CONF.lab         optional: time, S01, S02 ...

A song with activations is cut into 10 s segments. The labels of a segment are the instruments that are active
(confidence of at least 0.5) in at least a tenth of it. Without activations, the whole mix is one clip, with the
instruments of all its stems.

There is no official split. A group is an artist: songs are grouped by the artist's name in their metadata and in their
file name. Instruments that fewer than 5 artists play are left out of the labels, because train, validation and test
could not each have one of these artists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.corpora._activity import Segment, labels_of_many, segments
from hf_audio.corpora._files import files_below
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError, one_line
from hf_audio.files import read_text, read_yaml
from hf_audio.terminal import named_logger

MIX, METADATA, ACTIVATION = "_MIX.wav", "_METADATA.yaml", "_ACTIVATION_CONF.lab"
ACTIVE = 0.5  # confidence from which a stem counts as active, as in the paper
NO_INSTRUMENTS = frozenset(("unlabeled", "main system"))
MAX_SONG_S = 86_400.0
MAX_METADATA_BYTES = 1 << 20  # of a song; typically 5 kB
MIN_ARTISTS = 5  # so that each of two stratified draws of 15 % has one such artist

CARD = CorpusCard(
    name="MedleyDB",
    license="CC BY-NC-SA 4.0",
    may_redistribute=False,  # audio is available on request, for research
    citation=(
        "R. Bittner, J. Salamon, M. Tierney, M. Mauch, C. Cannam, J. P. Bello: MedleyDB: A Multitrack Dataset for "
        "Annotation-Intensive MIR Research. Proc. ISMIR 2014, pp. 155-160."
    ),
    homepage="https://medleydb.weebly.com",
    protocol=(
        "MedleyDB: artist-disjoint split; 10 s segments of the mixes labeled with the active instruments, window "
        "scores averaged per segment, micro and macro F1."
    ),
    problem_type="multi_label_classification",
)

logger = named_logger(__name__)


@dataclass(frozen=True)
class _Song:
    name: str
    path: Path
    artist: str
    facts: dict[str, str]
    segments: list[Segment]


def index(root: Path) -> pa.Table:
    """Segments of the mixes that have metadata, or whole mixes if activations are missing.

    Raises:
        InputError: no mix or no metadata below `root`, metadata or activations that cannot be read, or too few artists.
    """
    root = Path(root)
    songs = _songs(root)
    artist_of = _artists(songs)
    kept, rare = labels_of_many(((artist_of[song.name], song.segments) for song in songs), MIN_ARTISTS)
    if not kept:
        raise InputError(
            f"{root} has songs by {len(set(artist_of.values()))} artists of MedleyDB, but a split by artist needs "
            f"{MIN_ARTISTS} with the same instrument; get more songs from {CARD.homepage}"
        )
    if rare:
        names = ", ".join(sorted(rare))
        logger.warning(
            "Fewer than %d artists in this copy of MedleyDB play %s: left out of the labels", MIN_ARTISTS, names
        )
    return index_of(_clip(song, segment, artist_of[song.name], kept) for song in songs for segment in song.segments)


def _songs(root: Path) -> list[_Song]:
    files = files_below(root)
    mixes, tables, activations = (_by_song(files, ending) for ending in (MIX, METADATA, ACTIVATION))
    if not mixes or not mixes.keys() & tables.keys():
        found = f"has {len(mixes)} mixes of MedleyDB but no metadata for them" if mixes else "does not contain MedleyDB"
        raise InputError(
            f"{root} {found}; expected Audio/LizNelson_Rainfall/LizNelson_Rainfall_MIX.wav and next to it "
            f"LizNelson_Rainfall_METADATA.yaml (request the audio at {CARD.homepage}; the metadata and activations are "
            "also in https://github.com/marl/medleydb)"
        )
    bare = sorted(mixes.keys() - tables.keys())
    if bare:
        logger.warning("Skipped %d mixes of MedleyDB without metadata, first %s", len(bare), bare[0])
    named = sorted(mixes.keys() & tables.keys())
    whole = [name for name in named if name not in activations]
    if whole:
        logger.warning(
            "%d songs of MedleyDB have no activations, first %s: each whole song is one clip", len(whole), whole[0]
        )
    return [_song(name, mixes[name], tables[name], activations.get(name)) for name in named]


def _by_song(files: list[Path], ending: str) -> dict[str, Path]:
    """Files by their song; the activations of two songs were published with additions in their names."""
    found: dict[str, Path] = {}
    for path in files:
        if path.name.endswith(ending):
            found.setdefault(re.sub(r"\([^)]*\)|-", "", path.name.removesuffix(ending)), path)
    return found


def _song(name: str, mix: Path, table: Path, activation: Path | None) -> _Song:
    facts, stems = _read_metadata(table)
    whole = tuple(sorted({instrument for played in stems.values() for instrument in played}))
    return _Song(
        name=name,
        path=mix,
        artist=str(facts.get("artist") or ""),
        facts={"genre": str(facts.get("genre") or ""), "bleed": str(facts.get("has_bleed") or "")},
        segments=_read_activations(activation, stems) if activation else [Segment(0.0, np.inf, whole)],
    )


def _read_metadata(table: Path) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """The facts about a song, and the instruments of each stem by its number (S01)."""
    try:
        facts = read_yaml(table, MAX_METADATA_BYTES)
        stems = {}
        for number, stem in facts["stems"].items():
            played = stem["instrument"] if isinstance(stem["instrument"], list) else [stem["instrument"]]
            names = [str(instrument).strip().lower() for instrument in played]
            stems[str(number)] = tuple(name for name in names if name and name not in NO_INSTRUMENTS)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{table} is not metadata of MedleyDB ({one_line(error)}); expected stems with an instrument each, get it "
            "again from https://github.com/marl/medleydb"
        ) from None
    return facts, stems


def _read_activations(table: Path, stems: dict[str, tuple[str, ...]]) -> list[Segment]:
    try:
        first, *lines = read_text(table).splitlines()
        header = [column.strip() for column in first.split(",")]
        values = np.array([line.split(",") for line in lines if line.strip()], float)  # [frames, 1 + stems]
        damaged = header[0] != "time" or values.shape[1] != len(header) or not (np.diff(values[:, 0]) > 0).all()
        if damaged or not np.isfinite(values).all() or not 0 <= values[0, 0] <= values[-1, 0] < MAX_SONG_S:
            raise ValueError("expected columns time, S01, S02 ... with increasing times")
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{table} is not a table of activations ({one_line(error)}); get it again from "
            "https://github.com/marl/medleydb, or remove it to label the whole mix"
        ) from None
    active: dict[str, np.ndarray] = {}
    for column, confidence in zip(header[1:], values.T[1:], strict=True):
        for instrument in stems.get(column, ()):
            active[instrument] = active.get(instrument, False) | (confidence >= ACTIVE)
    return segments(values[:, 0], dict(sorted(active.items())))


def _artists(songs: list[_Song]) -> dict[str, str]:
    """The artist of each song: songs with the same name in metadata or file names have the same artist."""
    names_of = {song.name: {_letters(song.name.partition("_")[0]), _letters(song.artist)} - {""} for song in songs}
    joined: list[set[str]] = []
    for names in names_of.values():
        others = [one for one in joined if one & names]
        joined = [one for one in joined if not one & names] + [names.union(*others)]
    return {song: min(next(one for one in joined if one & names)) for song, names in names_of.items()}


def _letters(name: str) -> str:
    """A name without case, spaces and punctuation, which differ between spellings of an artist."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _clip(song: _Song, segment: Segment, artist: str, kept: set[str]) -> Clip:
    whole = segment.end_s == np.inf
    return Clip(
        path=str(song.path),
        labels=tuple(label for label in segment.labels if label in kept),
        group=f"artist-{artist}",
        clip_id=song.path.name + ("" if whole else f"#{segment.start_s:g}-{segment.end_s:g}"),
        start_s=segment.start_s,
        end_s=None if whole else segment.end_s,
        metadata=song.facts,
    )

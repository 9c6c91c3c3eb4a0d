"""The composer of `general_midi`: songs with a band, a key, a tempo and chords, and their excerpts.

Training and test music use different melodies: a note may follow only if it and the notes before it form a phrase that
belongs to the song's split (`phrase_split`). So labeled instruments never play the same phrase in a training song and
in a test song, in any key and at any tempo.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from hf_audio.corpora._midi_band import Band, Harmony, Note, Part
from hf_audio.corpora._midi_instruments import LABELLED, Instrument

SPLITS = ("train", "test")
PHRASE_NOTES = 5
TRAIN_CLIP_S = 3.0
TEST_CLIP_S = (5.0, 20.0)
PRE_ROLL_S = 0.5  # composed before each excerpt and cut off, so that excerpts begin in the middle of the music

# Times from note to note in sixteenths, and their frequencies in fast to slow melodies
RHYTHM_UNITS = (1, 2, 3, 4, 6, 8, 12)
RHYTHMS = (
    (0.30, 0.40, 0.08, 0.14, 0.03, 0.04, 0.01),
    (0.08, 0.45, 0.12, 0.22, 0.05, 0.06, 0.02),
    (0.02, 0.18, 0.10, 0.38, 0.12, 0.16, 0.04),
    (0.01, 0.05, 0.04, 0.25, 0.15, 0.35, 0.15),
)
# Melodic steps in notes of the scale, and their frequencies
STEPS = (-7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7)
STEP_WEIGHTS = np.array([1, 1, 2, 4, 8, 14, 6, 14, 8, 4, 2, 1, 1]) / 66.0
# From staccato to legato: the share of the time to the next note for which a note is held
ARTICULATIONS = (0.45, 0.8, 0.95, 1.05)
ARTICULATION_WEIGHTS = (0.15, 0.25, 0.3, 0.3)
NON_CHORD_TONE_REJECTED = 0.4
REST_PROBABILITY = 0.05
SHORT_DECAY_DB_PER_S = 20.0


@dataclass(frozen=True)
class Song:
    """A song with several excerpts; `seed` determines everything that is drawn for it."""

    split: str
    number: int
    seed: tuple[int, ...]
    labels: tuple[str, ...]
    num_excerpts: int


@dataclass(frozen=True)
class Player:
    """The player of a labeled instrument, the same in all excerpts of a song.

    Attributes:
        label: the class.
        instrument: the program.
        register: lowest and highest pitch of the melody.
        rhythm: weights of RHYTHM_UNITS.
        held_ratio: share of the time to the next note for which a note is held.
        chord_size: 1 plays a single line, more adds chord tones below it.
    """

    label: str
    instrument: Instrument
    register: tuple[int, int]
    rhythm: tuple[float, ...]
    held_ratio: float
    chord_size: int


@dataclass(frozen=True)
class Excerpt:
    """One clip before it is rendered: its notes run from 0 to PRE_ROLL_S + duration_s."""

    duration_s: float
    leads: tuple[Part, ...]
    accompaniment: tuple[Part, ...]

    @property
    def has_drums(self) -> bool:
        return any(part.instrument.is_drum_kit for part in self.accompaniment)


def phrase_split(phrase: tuple[tuple[int, int], ...]) -> str:
    """The split of a phrase of PHRASE_NOTES entries (interval in semitones from the previous note, sixteenths)."""
    return SPLITS[zlib.crc32(repr(phrase).encode()) % len(SPLITS)]


def compose(song: Song) -> list[Excerpt]:
    """All excerpts of a song: the same band, key, tempo and harmony, but different melodies."""
    rng = np.random.default_rng(song.seed)
    harmony = Harmony.draw(rng)
    band = Band.draw(rng)
    players = [draw_player(rng, label) for label in song.labels]
    excerpts = []
    for _ in range(song.num_excerpts):
        duration_s = TRAIN_CLIP_S if song.split == "train" else _test_duration_s(rng)
        first_unit = int(rng.integers(harmony.num_units))
        num_units = int(np.ceil((PRE_ROLL_S + duration_s) / harmony.unit_s))
        leads = tuple(write_melody(rng, player, harmony, song.split, first_unit, num_units) for player in players)
        excerpts.append(Excerpt(duration_s, leads, band.play(rng, harmony, first_unit, num_units)))
    return excerpts


def draw_player(rng: np.random.Generator, label: str) -> Player:
    """A player of one of the class's programs, in a register of one octave to one and a half within its range."""
    instrument = LABELLED[label][rng.integers(len(LABELLED[label]))]
    width = int(rng.integers(12, 19))
    lowest = int(rng.integers(instrument.lowest, max(instrument.lowest, instrument.highest - width) + 1))
    plays_chords = instrument.touch.plays_chords and rng.random() < 0.6
    # instruments with a short sound play no slow melodies, and slow melodies are not staccato: most would be rests
    fastest, slowest = int(plays_chords), 2 if instrument.touch.decay_db_per_s > SHORT_DECAY_DB_PER_S else 4
    tempo = int(rng.integers(fastest, slowest))
    held_ratio = float(rng.choice(ARTICULATIONS, p=ARTICULATION_WEIGHTS))
    return Player(
        label=label,
        instrument=instrument,
        register=(lowest, min(lowest + width, instrument.highest)),
        rhythm=RHYTHMS[tempo],
        held_ratio=held_ratio if tempo < 2 else max(held_ratio, 0.8),
        chord_size=int(rng.integers(2, 5)) if plays_chords else 1,
    )


def write_melody(
    rng: np.random.Generator, player: Player, harmony: Harmony, split: str, first_unit: int, num_units: int
) -> Part:
    """A melody (with chords below it if the player plays them) of `num_units` sixteenths, with phrases of the split."""
    lowest, highest = player.register
    scale = [pitch for pitch in harmony.scale if lowest <= pitch <= highest]
    position = int(rng.integers(len(scale)))
    phrase: list[tuple[int, int]] = []
    notes: list[Note] = []
    swell_phase = rng.uniform(0.0, 2.0 * np.pi)
    unit = 0
    while unit < num_units:
        chord = harmony.chord_at(first_unit + unit)
        position, entry = _next_note(rng, player, scale, position, chord, phrase, split)
        phrase.append(entry)
        units = entry[1]
        held_units = units * player.held_ratio * (0.4 if rng.random() < REST_PROBABILITY else 1.0)
        swell_db = 2.5 * np.sin(swell_phase + 2.0 * np.pi * unit / 32.0)
        accent_db = 1.5 if (first_unit + unit) % 4 == 0 else 0.0
        gain_db = swell_db + accent_db + rng.normal(0.0, 1.2)
        chord_pitches = harmony.voicing_below(scale[position], chord, player.chord_size, player.instrument.lowest)
        spread_s = rng.uniform(0.008, 0.03) if player.chord_size > 1 else 0.0  # a strum, or fingers not quite together
        for index, pitch in enumerate(sorted(chord_pitches)):
            late_s = index * spread_s + rng.uniform(0.0, 0.01)
            notes.append(Note(unit * harmony.unit_s + late_s, held_units * harmony.unit_s, pitch, gain_db))
        unit += units
    return Part(player.instrument, tuple(notes), player.label, tuple(phrase))


def _next_note(
    rng: np.random.Generator,
    player: Player,
    scale: list[int],
    position: int,
    chord: tuple[int, ...],
    phrase: list[tuple[int, int]],
    split: str,
) -> tuple[int, tuple[int, int]]:
    """Position in the scale and (interval, sixteenths) of a next note whose phrase belongs to the split."""
    while True:  # about half of all continuations belong to each split, so this ends after a few draws
        target = position + int(rng.choice(STEPS, p=STEP_WEIGHTS))
        if not 0 <= target < len(scale):
            continue
        if scale[target] % 12 not in chord and rng.random() < NON_CHORD_TONE_REJECTED:
            continue
        entry = (scale[target] - scale[position], int(rng.choice(RHYTHM_UNITS, p=player.rhythm)))
        grown = (*phrase[-(PHRASE_NOTES - 1) :], entry)
        if len(grown) < PHRASE_NOTES or phrase_split(grown) == split:
            return target, entry


def _test_duration_s(rng: np.random.Generator) -> float:
    shortest, longest = TEST_CLIP_S
    return round(shortest + (longest - shortest) * float(rng.beta(1.0, 2.0)), 2)

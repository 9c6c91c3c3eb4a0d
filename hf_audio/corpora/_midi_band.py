"""The accompanying band of `general_midi`: notes, harmony, and parts for bass, pad, comping and drums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_audio.corpora._midi_instruments import BASSES, COMPERS, DRUM_KITS, PADS, Instrument

UNITS_PER_BAR = 16  # time is counted in sixteenths of a bar of four beats
SCALES = (  # semitones above the tonic: major, minor, dorian, mixolydian, harmonic minor
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 5, 7, 9, 10),
    (0, 2, 3, 5, 7, 8, 11),
)
PROGRESSIONS = (  # degrees of the scale, one chord per bar
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (0, 3, 4, 0),
    (5, 3, 0, 4),
    (0, 6, 5, 4),
    (1, 4, 0, 0),
    (0, 2, 3, 4),
)
KICK, SNARE, CLOSED_HAT, OPEN_HAT, RIDE = 36, 38, 42, 46, 51
TEMPO_BPM = (66.0, 168.0)


@dataclass(frozen=True)
class Note:
    """One note: onset and duration in seconds, MIDI pitch, gain in dB relative to the part's other notes."""

    onset_s: float
    duration_s: float
    pitch: int
    gain_db: float


@dataclass(frozen=True)
class Part:
    """What one player plays in an excerpt.

    `label` is the class of a labeled instrument, None in the accompaniment. `phrase` is its top line, for each note
    (interval in semitones from the previous note, sixteenths to the next note).
    """

    instrument: Instrument
    notes: tuple[Note, ...]
    label: str | None = None
    phrase: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Harmony:
    """Key, tempo and chords of a song.

    Attributes:
        unit_s: a sixteenth in seconds.
        scale: all MIDI pitches of the key.
        chords: pitch classes of each bar's chord, root first.
    """

    unit_s: float
    scale: tuple[int, ...]
    chords: tuple[tuple[int, ...], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Harmony:
        """A key, a tempo and a progression."""
        unit_s = 60.0 / rng.uniform(*TEMPO_BPM) / 4.0
        tonic = int(rng.integers(12))
        degrees = SCALES[rng.integers(len(SCALES))]
        progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
        chords = tuple(tuple((tonic + degrees[(root + third) % 7]) % 12 for third in (0, 2, 4)) for root in progression)
        return cls(unit_s, tuple(pitch for pitch in range(128) if (pitch - tonic) % 12 in degrees), chords)

    @property
    def num_units(self) -> int:
        """Sixteenths until the chords repeat."""
        return UNITS_PER_BAR * len(self.chords)

    def chord_at(self, unit: int) -> tuple[int, ...]:
        """Pitch classes of the chord that sounds at a sixteenth of the song."""
        return self.chords[unit // UNITS_PER_BAR % len(self.chords)]

    def voicing_below(self, top: int, chord: tuple[int, ...], size: int, lowest: int) -> list[int]:
        """`top` and the nearest chord tones below it, `size` pitches unless the instrument's range ends before."""
        below = [pitch for pitch in range(top - 3, lowest - 1, -1) if pitch % 12 in chord]
        return [top, *below[: size - 1]]

    def note(self, unit: int, num_units: float, pitch: int, gain_db: float) -> Note | None:
        """A note of the excerpt, cut if it began earlier; None if it also ended earlier."""
        end = unit + num_units
        if end <= 0:
            return None
        return Note(max(unit, 0) * self.unit_s, (end - max(unit, 0)) * self.unit_s, pitch, gain_db)


def nearest_pitch(pitch_class: int, around: int) -> int:
    """The MIDI pitch of a pitch class nearest to `around`."""
    return around + (pitch_class - around + 6) % 12 - 6


@dataclass(frozen=True)
class Band:
    """Who accompanies a song, and the patterns they repeat in every bar. Absent players are None."""

    bass: Instrument | None
    pad: Instrument | None
    comper: Instrument | None
    kit: Instrument | None
    bass_onsets: tuple[int, ...]
    comp_onsets: tuple[int, ...]
    comp_broken: bool
    drum_onsets: dict[int, tuple[int, ...]]
    center: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Band:
        """A band of one to four players."""
        present = rng.random(4) < (0.75, 0.35, 0.4, 0.6)
        if not present.any():
            present[rng.integers(4)] = True
        bass, pad, comper, kit = (
            players[rng.integers(len(players))] if here else None
            for players, here in zip((BASSES, PADS, COMPERS, DRUM_KITS), present, strict=True)
        )
        return cls(
            bass, pad, comper, kit,
            bass_onsets=_pattern(rng, [1.0, 0.0, 0.1, 0.1, 0.4, 0.0, 0.3, 0.1] * 2),
            comp_onsets=_pattern(rng, [0.6, 0.05, 0.35, 0.15, 0.5, 0.05, 0.35, 0.1] * 2),
            comp_broken=bool(rng.random() < 0.5),
            drum_onsets=_drum_patterns(rng),
            center=int(rng.integers(58, 72)),
        )  # fmt: skip

    def play(self, rng: np.random.Generator, harmony: Harmony, first_unit: int, num_units: int) -> tuple[Part, ...]:
        """The parts of an excerpt that starts at a sixteenth of the song and lasts `num_units`."""
        bars = range(
            -(first_unit % UNITS_PER_BAR), num_units, UNITS_PER_BAR
        )  # first sixteenth of each bar, relative to the excerpt
        parts = []
        for instrument, bar_notes in (
            (self.bass, self._bass_bar),
            (self.pad, self._pad_bar),
            (self.comper, self._comp_bar),
            (self.kit, self._drum_bar),
        ):
            if instrument is not None:
                notes = [
                    harmony.note(bar + unit, units, pitch, float(rng.normal(0.0, 1.2)))
                    for bar in bars
                    for unit, units, pitch in bar_notes(harmony.chord_at(first_unit + bar))
                ]
                notes = [note for note in notes if note is not None and note.onset_s < num_units * harmony.unit_s]
                parts.append(Part(instrument, tuple(notes)))
        return tuple(parts)

    def _bass_bar(self, chord: tuple[int, ...]) -> list[tuple[int, float, int]]:
        ends = (*self.bass_onsets[1:], UNITS_PER_BAR)
        tones = [chord[0], chord[0], chord[2], chord[0]]
        return [
            (unit, 0.9 * (end - unit), nearest_pitch(tones[index % 4], 38))
            for index, (unit, end) in enumerate(zip(self.bass_onsets, ends, strict=True))
        ]

    def _pad_bar(self, chord: tuple[int, ...]) -> list[tuple[int, float, int]]:
        return [(0, UNITS_PER_BAR, nearest_pitch(tone, self.center - 5)) for tone in chord]

    def _comp_bar(self, chord: tuple[int, ...]) -> list[tuple[int, float, int]]:
        assert self.comper is not None
        around = min(max(self.center, self.comper.lowest + 6), self.comper.highest - 6)
        pitches = sorted(nearest_pitch(tone, around) for tone in chord)
        if self.comp_broken:
            return [(unit, 4.0, pitches[unit // 2 % 3]) for unit in range(0, UNITS_PER_BAR, 2)]
        return [(unit, 2.0, pitch) for unit in self.comp_onsets for pitch in pitches]

    def _drum_bar(self, chord: tuple[int, ...]) -> list[tuple[int, float, int]]:
        return [(unit, 2.0, drum) for drum, units in self.drum_onsets.items() for unit in units]


def _pattern(rng: np.random.Generator, probabilities: list[float]) -> tuple[int, ...]:
    """The sixteenths of a bar on which something is played; never none."""
    onsets = np.flatnonzero(rng.random(UNITS_PER_BAR) < probabilities)
    return tuple(int(unit) for unit in onsets) or (0,)


def _drum_patterns(rng: np.random.Generator) -> dict[int, tuple[int, ...]]:
    cymbal = (CLOSED_HAT, OPEN_HAT, RIDE)[rng.choice(3, p=(0.6, 0.1, 0.3))]
    density = rng.uniform(0.0, 0.35)
    return {
        KICK: _pattern(rng, [0.95, 0.0, 0.1, 0.1, 0.1, 0.0, 0.3, 0.1] * 2),
        SNARE: _pattern(rng, [0.02, 0.02, 0.02, 0.05, 0.95, 0.02, 0.05, 0.08] * 2),
        cymbal: _pattern(rng, [0.9, density, 0.8, density] * 4),
    }

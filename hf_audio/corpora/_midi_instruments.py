"""The instruments of `general_midi`: General MIDI programs with realistic ranges and articulation.

Program numbers count from 0, pitches are MIDI note numbers (middle C is 60), and ranges are those of orchestration
books at sounding pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

# the 11 classes of IRMAS, in its order
CLASS_NAMES = ("cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi")


@dataclass(frozen=True)
class Touch:
    """How a family of instruments shapes a note.

    Attributes:
        attack_s: minimum and maximum time to full loudness.
        release_s: time constant of the decay after the note's end.
        decay_db_per_s: decay while the note is held, at middle C (twice as fast two octaves higher); 0 sustains.
        vibrato_cents: minimum and maximum depth of the vibrato.
        slides: whether a note may glide into its pitch.
        plays_chords: whether it can play several notes at once.
    """

    attack_s: tuple[float, float] = (0.002, 0.006)
    release_s: float = 0.06
    decay_db_per_s: float = 0.0
    vibrato_cents: tuple[float, float] = (0.0, 0.0)
    slides: bool = False
    plays_chords: bool = False


BOWED = Touch((0.02, 0.12), 0.08, vibrato_cents=(10.0, 40.0), slides=True)
BLOWN = Touch((0.015, 0.06), 0.05, vibrato_cents=(0.0, 25.0))
BREATHY = Touch((0.03, 0.09), 0.06, vibrato_cents=(8.0, 35.0))
BENT = Touch((0.01, 0.05), 0.05, vibrato_cents=(8.0, 45.0), slides=True)
SUNG = Touch((0.05, 0.18), 0.12, vibrato_cents=(20.0, 70.0), slides=True, plays_chords=True)
ORGAN = Touch((0.004, 0.03), 0.04, vibrato_cents=(0.0, 8.0), plays_chords=True)
STRUCK = Touch(release_s=0.08, decay_db_per_s=7.0, plays_chords=True)
PLUCKED = Touch(release_s=0.07, decay_db_per_s=12.0, vibrato_cents=(0.0, 10.0), plays_chords=True)
AMPLIFIED = Touch(release_s=0.06, decay_db_per_s=8.0, vibrato_cents=(0.0, 30.0), slides=True, plays_chords=True)
DISTORTED = Touch(release_s=0.05, decay_db_per_s=2.5, vibrato_cents=(0.0, 45.0), slides=True, plays_chords=True)
PIZZICATO = Touch(release_s=0.15, decay_db_per_s=22.0)
MALLET = Touch(release_s=0.12, decay_db_per_s=25.0, plays_chords=True)
PAD = Touch((0.15, 0.5), 0.15, plays_chords=True)


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program, the lowest and highest pitch that it plays, and its touch."""

    program: int
    lowest: int
    highest: int
    touch: Touch
    is_drum_kit: bool = False


# One family of programs per class. The pizzicato and tremolo programs serve both violin and cello, each in the register
# that only one of them plays.
LABELLED = {
    "cel": (Instrument(42, 36, 76, BOWED), Instrument(42, 36, 69, BOWED), Instrument(45, 36, 54, PIZZICATO)),
    "cla": (Instrument(71, 50, 91, BLOWN), Instrument(71, 50, 77, BLOWN)),
    "flu": (
        Instrument(73, 60, 96, BREATHY),
        Instrument(72, 74, 102, BREATHY),
        Instrument(74, 65, 93, BLOWN),
        Instrument(75, 60, 88, BREATHY),
    ),
    "gac": (Instrument(24, 40, 83, PLUCKED), Instrument(25, 40, 83, PLUCKED)),
    "gel": (
        Instrument(26, 40, 86, AMPLIFIED),
        Instrument(27, 40, 86, AMPLIFIED),
        Instrument(28, 40, 76, AMPLIFIED),
        Instrument(29, 40, 86, DISTORTED),
        Instrument(30, 40, 86, DISTORTED),
    ),
    "org": (
        Instrument(16, 36, 96, ORGAN),
        Instrument(17, 36, 96, ORGAN),
        Instrument(18, 36, 96, ORGAN),
        Instrument(19, 36, 96, ORGAN),
        Instrument(20, 41, 84, ORGAN),
    ),
    "pia": (
        Instrument(0, 33, 100, STRUCK),
        Instrument(1, 33, 100, STRUCK),
        Instrument(2, 33, 100, STRUCK),
        Instrument(3, 33, 96, STRUCK),
    ),
    "sax": (
        Instrument(64, 56, 88, BENT),
        Instrument(65, 49, 81, BENT),
        Instrument(66, 44, 76, BENT),
        Instrument(67, 36, 69, BENT),
    ),
    "tru": (Instrument(56, 52, 83, BENT), Instrument(59, 52, 83, BLOWN)),
    "vio": (Instrument(40, 55, 100, BOWED), Instrument(110, 55, 93, BOWED), Instrument(45, 64, 88, PIZZICATO)),
    "voi": (
        Instrument(52, 43, 81, SUNG),
        Instrument(53, 43, 81, SUNG),
        Instrument(54, 43, 81, SUNG),
        Instrument(85, 48, 81, SUNG),
    ),
}

# The accompaniment uses programs that cannot be confused with any class.
BASSES = (
    *(Instrument(program, 28, 50, PLUCKED) for program in (32, 33, 34, 36, 38, 39)),
    Instrument(58, 28, 53, BLOWN),
)
PADS = tuple(Instrument(program, 43, 79, PAD) for program in (50, 51, 89, 90, 92, 93, 95))
COMPERS = (
    Instrument(8, 60, 96, MALLET),
    Instrument(11, 53, 89, MALLET),
    Instrument(12, 45, 91, MALLET),
    Instrument(13, 65, 96, MALLET),
    Instrument(114, 55, 84, MALLET),
)
DRUM_KITS = tuple(Instrument(program, 35, 59, Touch(), is_drum_kit=True) for program in (0, 8, 16, 25, 32, 40))

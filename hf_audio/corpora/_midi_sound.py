"""Renders the notes of one player of `general_midi` to samples.

symusic's synthesizer plays the SoundFont's samples, but without velocity, decay, release and pitch bend. So the notes
of a part are rendered one after another, and this module adds what is missing: gain, attack, decay and release,
vibrato, glides, and the size of the instrument's body (the sample of a neighboring pitch, played faster or slower).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio.corpora._midi_band import Note, Part
from hf_audio.corpora._midi_instruments import Instrument

SAMPLE_RATE = 44_100
NOTE_GAP_S = 0.1  # the synthesizer lets a note ring a little longer than its duration
TAIL_RELEASES = 4.0  # release time constants after which a note is over (-35 dB)
BODY_SEMITONES = 1  # maximum difference in size between a player's instrument and the sampled one
GLIDE_S = 0.08
GLIDE_SEMITONES = 1.5


@dataclass(frozen=True)
class Voice:
    """How one player sounds, the same in all excerpts of a song; times in seconds, body in semitones."""

    attack_s: float
    release_s: float
    decay_db_per_s: float
    body_semitones: int = 0
    detune_cents: float = 0.0
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.5
    glide_probability: float = 0.0
    is_lead: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, instrument: Instrument, is_lead: bool) -> Voice:
        """A player of an instrument; only lead players differ in body, tuning, vibrato and glides."""
        touch = instrument.touch
        attack_s = float(np.exp(rng.uniform(*np.log(touch.attack_s))))
        release_s = touch.release_s * float(rng.uniform(0.6, 1.6))
        decay_db_per_s = touch.decay_db_per_s * float(rng.uniform(0.6, 1.6))
        if not is_lead:
            return cls(attack_s, release_s, decay_db_per_s)
        return cls(
            attack_s,
            release_s,
            decay_db_per_s,
            body_semitones=int(rng.integers(-BODY_SEMITONES, BODY_SEMITONES + 1)),
            detune_cents=float(rng.normal(0.0, 8.0)),
            vibrato_cents=float(rng.uniform(*touch.vibrato_cents)),
            vibrato_hz=float(rng.uniform(4.5, 6.8)),
            glide_probability=0.3 if touch.slides else 0.0,
            is_lead=True,
        )


def load_synthesizer(soundfont: Path) -> Any:
    """A new symusic synthesizer (2 ms) with a fixed SoundFont.

    It caches samples in a way that lets earlier notes change later ones, so sound that must not depend on what was
    rendered before needs a new synthesizer.
    """
    from symusic import Synthesizer

    return Synthesizer(str(soundfont), SAMPLE_RATE, 0)


def render_part(synthesizer: Any, part: Part, voice: Voice, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """All notes of a part, mono float32 `[samples]`; `rng` draws what differs between notes."""
    track = np.zeros(num_samples, dtype=np.float32)
    total_s = num_samples / SAMPLE_RATE
    tail_s = TAIL_RELEASES * voice.release_s
    notes = [note for note in part.notes if note.onset_s < total_s]
    lengths_s = [min(note.duration_s + tail_s, total_s - note.onset_s) for note in notes]
    for note, length_s, sample in zip(
        notes, lengths_s, _raw_notes(synthesizer, part, voice, notes, lengths_s), strict=True
    ):
        first = round(note.onset_s * SAMPLE_RATE)
        length = min(round(length_s * SAMPLE_RATE), num_samples - first)
        time_s = np.arange(length, dtype=np.float32) / SAMPLE_RATE
        track[first : first + length] += _bent(sample, voice, time_s, rng) * _envelope(note, voice, time_s)
    return track


def _raw_notes(
    synthesizer: Any, part: Part, voice: Voice, notes: list[Note], lengths_s: list[float]
) -> list[np.ndarray]:
    """The synthesizer's sound of each note, a little longer than needed, float32 `[samples]`."""
    from symusic import Note as SymusicNote
    from symusic import Score, Track

    # a smaller body and vibrato read the sample faster than it was rendered
    reserve = 2.0 ** ((max(-voice.body_semitones, 0) + 1) / 12.0) if voice.is_lead else 1.0
    track: Any = Track(name="", program=part.instrument.program, is_drum=part.instrument.is_drum_kit, ttype="second")
    onset_s, onsets_s = 0.0, []
    for note, length_s in zip(notes, lengths_s, strict=True):
        onsets_s.append(onset_s)
        pitch = note.pitch + voice.body_semitones
        track.notes.append(SymusicNote(onset_s, length_s * reserve + 0.01, pitch, 100, ttype="second"))
        onset_s += length_s * reserve + NOTE_GAP_S
    score: Any = Score(ttype="second")
    score.tracks.append(track)
    audio = synthesizer.render(score, stereo=False)[0]
    ends_s = [*onsets_s[1:], onset_s]
    return [
        audio[round(start * SAMPLE_RATE) : round((end - NOTE_GAP_S) * SAMPLE_RATE) + 2]
        for start, end in zip(onsets_s, ends_s, strict=True)
    ]


def _bent(sample: np.ndarray, voice: Voice, time_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sample, resampled with the voice's body, tuning, delayed vibrato and, sometimes, a glide."""
    base = -voice.body_semitones + voice.detune_cents / 100.0
    semitones = np.full_like(time_s, base)
    if voice.vibrato_cents > 0.0:
        onset = np.clip((time_s - 0.12) / 0.25, 0.0, 1.0)
        phase = rng.uniform(0.0, 2.0 * np.pi)
        depth = voice.vibrato_cents / 100.0 * rng.uniform(0.6, 1.2)
        semitones += depth * onset * np.sin(2.0 * np.pi * voice.vibrato_hz * time_s + phase)
    if rng.random() < voice.glide_probability:
        semitones -= GLIDE_SEMITONES * np.exp(-time_s / (GLIDE_S / 2.0))
    if not semitones.any():
        return sample[: len(time_s)]
    position = np.cumsum(np.exp2(semitones / 12.0, dtype=np.float64)) - 1.0
    return np.interp(position, np.arange(len(sample)), sample).astype(np.float32)


def _envelope(note: Note, voice: Voice, time_s: np.ndarray) -> np.ndarray:
    """Gain over time: attack, decay while the note is held (faster for high pitches), release after it."""
    gain = np.full_like(time_s, 10.0 ** (note.gain_db / 20.0))
    if voice.decay_db_per_s > 0.0:
        decay_db_per_s = voice.decay_db_per_s * 2.0 ** ((note.pitch - 60) / 24.0)
        gain *= np.exp(time_s * np.float32(-np.log(10.0) / 20.0 * decay_db_per_s))
    attack = time_s[: round(voice.attack_s * SAMPLE_RATE)]
    gain[: len(attack)] *= attack / np.float32(voice.attack_s)
    end = round(note.duration_s * SAMPLE_RATE)
    gain[end:] *= np.exp((note.duration_s - time_s[end:]) / np.float32(voice.release_s))
    return gain

"""The mixing desk of `general_midi`: equalizer, levels, panning, room and hiss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

from hf_audio.corpora._midi_band import Part
from hf_audio.corpora._midi_songs import PRE_ROLL_S, Excerpt
from hf_audio.corpora._midi_sound import SAMPLE_RATE, Voice, render_part

ACCOMPANIMENT_UNDER_LEAD_DB = (14.0, 20.0)
LEAD_SPREAD_DB = 3.0  # maximum level difference between labeled instruments of an excerpt
ACCOMPANIMENT_SPREAD_DB = 8.0
EQUALIZER_DB = 1.0  # standard deviation of the gain at a frequency, for each part and for the mix
PEAK_DB = (-8.0, -1.0)
HISS_DB = (-75.0, -60.0)
REVERBERATION_S = (0.2, 1.6)  # time to decay by 60 dB
REVERBERATION_DB = (-24.0, -12.0)  # relative to the direct sound


@dataclass(frozen=True)
class Stems:
    """An excerpt's parts at their levels in the mix: spectra `[bins]` of `num_samples`, including the pre-roll."""

    leads: list[np.ndarray]
    accompaniment: list[np.ndarray]
    num_samples: int


def render_excerpt(synthesizer: Any, excerpt: Excerpt, seed: tuple[int, ...], take: int) -> np.ndarray:
    """The mix of an excerpt, int16 `[samples, 2]` at 44.1 kHz.

    `seed` determines the sound of the song, `take` (the excerpt's number) what differs between excerpts.
    """
    song_rng = np.random.default_rng([*seed, 1])
    take_rng = np.random.default_rng([*seed, 2, take])
    stems = render_stems(synthesizer, excerpt, song_rng, take_rng)
    mix = _mix(stems, song_rng)[:, round(PRE_ROLL_S * SAMPLE_RATE) :]
    mix *= _amplitude(song_rng.uniform(*PEAK_DB)) / max(float(np.abs(mix).max()), 1e-9)
    mix += take_rng.standard_normal(mix.shape, dtype=np.float32) * _amplitude(song_rng.uniform(*HISS_DB))
    np.clip(mix, -1.0, 1.0, out=mix)
    return np.ascontiguousarray(np.rint(mix * np.float32(32767.0)).astype(np.int16).T)


def render_stems(
    synthesizer: Any, excerpt: Excerpt, song_rng: np.random.Generator, take_rng: np.random.Generator
) -> Stems:
    """All parts, equalized and set to their levels by A-weighted loudness over the excerpt.

    The accompaniment as a whole is ACCOMPANIMENT_UNDER_LEAD_DB below the quietest labeled instrument.
    """
    num_samples = round((PRE_ROLL_S + excerpt.duration_s) * SAMPLE_RATE)
    leads = [_spectrum(synthesizer, part, num_samples, song_rng, take_rng) for part in excerpt.leads]
    levels_db = song_rng.uniform(-LEAD_SPREAD_DB, 0.0, len(leads))
    leads = [_at_level(lead, level_db) for lead, level_db in zip(leads, levels_db, strict=True)]

    band = [_spectrum(synthesizer, part, num_samples, song_rng, take_rng) for part in excerpt.accompaniment]
    band_db = song_rng.uniform(-ACCOMPANIMENT_SPREAD_DB, 0.0, len(band))
    band = [_at_level(part, level_db) for part, level_db in zip(band, band_db, strict=True)]
    under_db = float(levels_db.min()) - song_rng.uniform(*ACCOMPANIMENT_UNDER_LEAD_DB)
    together: Any = sum(band)
    gain = _amplitude(under_db) / loudness(together)
    return Stems(leads, [part * gain for part in band], num_samples)


def loudness(spectrum: np.ndarray) -> float:
    """Root of the A-weighted energy (IEC 61672) of a spectrum `[bins]` up to 22.05 kHz, in arbitrary units."""
    return float(np.linalg.norm(spectrum * _a_weighting(len(spectrum)))) + 1e-12


@lru_cache(maxsize=4)
def _a_weighting(num_bins: int) -> np.ndarray:
    hz2 = np.square(_frequencies_hz(num_bins))
    weight = 12194.0**2 * hz2**2 / ((hz2 + 20.6**2) * np.sqrt((hz2 + 107.7**2) * (hz2 + 737.9**2)) * (hz2 + 12194.0**2))
    return weight.astype(np.float32)


def _spectrum(
    synthesizer: Any,
    part: Part,
    num_samples: int,
    song_rng: np.random.Generator,
    take_rng: np.random.Generator,
) -> np.ndarray:
    voice = Voice.draw(song_rng, part.instrument, is_lead=part.label is not None)
    samples = render_part(synthesizer, part, voice, num_samples, take_rng)
    spectrum = fft.rfft(samples, fft.next_fast_len(num_samples, real=True))
    return spectrum * _equalizer(song_rng, len(spectrum))


def _at_level(spectrum: np.ndarray, level_db: float) -> np.ndarray:
    return spectrum * np.float32(_amplitude(level_db) / loudness(spectrum))


def _mix(stems: Stems, song_rng: np.random.Generator) -> np.ndarray:
    """The stereo mix in its room, float32 `[2, samples]`."""
    parts = [*stems.leads, *stems.accompaniment]
    places = song_rng.uniform(0.2, 0.8, len(parts)) * np.pi / 2.0  # constant-power panning, never fully to one side
    master = _equalizer(song_rng, len(parts[0]))
    reverberation_s = float(np.exp(song_rng.uniform(*np.log(REVERBERATION_S))))
    wet = _amplitude(song_rng.uniform(*REVERBERATION_DB))
    channels = []
    for gains in (np.cos(places), np.sin(places)):
        dry = sum(part * np.float32(gain) for part, gain in zip(parts, gains, strict=True))
        room = 1.0 + np.float32(wet) * _room(song_rng, reverberation_s, len(parts[0]))
        # The convolution is circular: the last reverberation ends in the beginning, as if music came before.
        channels.append(fft.irfft(dry * master * room)[: stems.num_samples])
    return np.stack(channels)


def _room(rng: np.random.Generator, reverberation_s: float, num_bins: int) -> np.ndarray:
    """Frequency response `[bins]` of a diffuse room: noise that decays by 60 dB in `reverberation_s`, with energy 1."""
    time_s = np.arange(min(round(reverberation_s * SAMPLE_RATE), 2 * (num_bins - 1)), dtype=np.float32) / SAMPLE_RATE
    impulse = rng.standard_normal(len(time_s), dtype=np.float32) * np.exp(-np.log(1e3) / reverberation_s * time_s)
    impulse /= np.sqrt(np.square(impulse).sum())
    return fft.rfft(impulse.astype(np.float32), 2 * (num_bins - 1))


def _equalizer(rng: np.random.Generator, num_bins: int) -> np.ndarray:
    """A smooth random gain over frequency `[bins]`: a sum of a few cosines over octaves."""
    octaves = np.linspace(0.0, 10.0, 101)  # above 20 Hz
    waves = np.arange(1, 6)
    phases = rng.uniform(0.0, 2.0 * np.pi, len(waves))
    weights = rng.normal(0.0, EQUALIZER_DB * np.sqrt(2.0 / len(waves)), len(waves))
    gain_db = weights @ np.cos(np.pi * waves[:, None] * octaves / 10.0 + phases[:, None])
    hz = 20.0 * 2.0**octaves
    return np.interp(_frequencies_hz(num_bins), hz, _amplitude(gain_db)).astype(np.float32)


def _frequencies_hz(num_bins: int) -> np.ndarray:
    return np.linspace(0.0, SAMPLE_RATE / 2.0, num_bins)


def _amplitude(level_db: float | np.ndarray) -> float | np.ndarray:
    return 10.0 ** (level_db / 20.0)

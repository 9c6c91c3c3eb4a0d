"""Degradations of recordings: noise, codecs, levels, rooms, microphones.

A degradation has the same strength for all sounds. Most are steps of `augment/waveform` with fixed numbers instead of
random ones. Randomness depends only on the key of a sound and is the same at all strengths, so conditions of one kind
differ only in strength.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_audio.augment.energies import Windows
from hf_audio.augment.waveform.background import Background, BackgroundNumbers
from hf_audio.augment.waveform.biquads import BUTTERWORTH, FilterNumbers, PassFilter
from hf_audio.augment.waveform.codec import NUM_THREADS
from hf_audio.augment.waveform.noise import Noise, NoiseNumbers
from hf_audio.augment.waveform.reverb import RoomNumbers, SyntheticReverb
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.step import KEYS, WaveformStep
from hf_audio.judging.codecs import bit_rates, coded, of_length

PIECE_S = 30.0  # longer sounds are changed in pieces of this length, each at the requested signal-to-noise ratio
BATCH_SIZE = 16


class Around(NamedTuple):
    """The context of a degradation: the sample rate in Hz, whether the model reads stereo, and background recordings,
    if any were given."""

    sample_rate: int
    is_stereo: bool = False
    background: SoundPool | None = None


class Degraded(NamedTuple):
    """Degraded sounds, `[samples]` or `[2, samples]` each, and measurements per sound."""

    sounds: list[np.ndarray]
    facts: Mapping[str, np.ndarray] = MappingProxyType({})


Change = Callable[[Sequence[np.ndarray], Sequence[int], float, Around], Degraded]


@dataclass(frozen=True)
class Degradation:
    """One kind of degradation.

    Attributes:
        unit: unit of its strength.
        strengths: the default strengths, the mildest first.
        meaning: one line for --help.
        change: sounds, a key for each (see `uniform_noise`), a strength and the context → sounds.
        idle: the reason why a strength would have no effect or is invalid; None if it can be used.
    """

    unit: str
    strengths: tuple[float, ...]
    meaning: str
    change: Change
    idle: Callable[[float, Around], str | None]


def _by_rows(change: Callable[[Tensor, Tensor, Tensor, float, Around], Tensor]) -> Change:
    """Turns a change of pieces `[rows, samples]`, with their lengths and keys `[rows]`, into a change of sounds.

    Each piece of each channel is a row.
    """

    def changed(sounds: Sequence[np.ndarray], keys: Sequence[int], strength: float, around: Around) -> Degraded:
        size = round(PIECE_S * around.sample_rate)
        channels = [channel for sound in sounds for channel in np.atleast_2d(sound)]
        own_keys = [key + 7919 * place for sound, key in zip(sounds, keys, strict=True) for place in range(sound.ndim)]
        pieces = [channel[first : first + size] for channel in channels for first in range(0, len(channel), size)]
        piece_keys = [
            (key + 104_729 * number) % KEYS
            for key, channel in zip(own_keys, channels, strict=True)
            for number in range(-(-len(channel) // size))
        ]
        found = iter(_in_batches(change, pieces, piece_keys, strength, around))
        whole = [np.concatenate([next(found) for _ in range(0, len(one), size)]) for one in channels]
        rest = iter(whole)
        return Degraded([_like(sound, [next(rest) for _ in range(sound.ndim)]) for sound in sounds])

    return changed


def _in_batches(
    change: Callable[[Tensor, Tensor, Tensor, float, Around], Tensor],
    pieces: Sequence[np.ndarray],
    keys: Sequence[int],
    strength: float,
    around: Around,
) -> list[np.ndarray]:
    """The changed pieces in their order; pieces of similar length are batched."""
    order = sorted(range(len(pieces)), key=lambda place: len(pieces[place]))
    found: list[Any] = [None] * len(pieces)
    for first in range(0, len(order), BATCH_SIZE):
        places = order[first : first + BATCH_SIZE]
        lengths = torch.tensor([len(pieces[place]) for place in places])
        values = pad_sequence([torch.from_numpy(np.ascontiguousarray(pieces[place])) for place in places], True)
        new = change(values.float(), lengths, torch.tensor([keys[place] for place in places]), strength, around)
        for place, row, length in zip(places, new.numpy(), lengths.tolist(), strict=True):
            found[place] = row[:length]
    return found


def _like(sound: np.ndarray, channels: list[np.ndarray]) -> np.ndarray:
    return channels[0] if sound.ndim == 1 else np.stack(channels)


def _stepped(step: WaveformStep, values: Tensor, lengths: Tensor, numbers: type, *given: Any) -> Tensor:
    """Applies an augmentation step to all rows with given numbers, one for all or one per row."""
    of_rows = [torch.as_tensor(one, dtype=torch.float32).expand(len(values)) for one in given]
    drawn = numbers(torch.ones(len(values)), *of_rows)
    return step.apply(Windows.of(values, values.new_zeros(len(values), 1), lengths), drawn).values


def _noise(exponent: float, values: Tensor, lengths: Tensor, keys: Tensor, snr_db: float, around: Around) -> Tensor:
    step = Noise(1.0, (snr_db, snr_db), (exponent, exponent), around.sample_rate)
    return _stepped(step, values, lengths, NoiseNumbers, snr_db, exponent, keys)


def _background(values: Tensor, lengths: Tensor, keys: Tensor, snr_db: float, around: Around) -> Tensor:
    step = Background(1.0, (snr_db, snr_db), around.background)
    share = (keys * 7919 % KEYS) / KEYS
    return _stepped(
        step, values, lengths, BackgroundNumbers, snr_db, keys % around.background.num_recordings, share.float()
    )


def _reverb(values: Tensor, lengths: Tensor, keys: Tensor, rt60_s: float, around: Around) -> Tensor:
    step = SyntheticReverb(1.0, (rt60_s, rt60_s), (0.0, 0.0), around.sample_rate)
    return _stepped(step, values, lengths, RoomNumbers, rt60_s, 0.0, keys)


def _low_pass(values: Tensor, lengths: Tensor, keys: Tensor, frequency_hz: float, around: Around) -> Tensor:
    step = PassFilter(1.0, "low_pass", (frequency_hz, frequency_hz), around.sample_rate)
    return _stepped(step, values, lengths, FilterNumbers, frequency_hz, BUTTERWORTH)


def _gain(sounds: Sequence[np.ndarray], keys: Sequence[int], gain_db: float, around: Around) -> Degraded:
    """Samples beyond full scale are clipped, as in a 16-bit file."""
    louder = [sound * np.float32(10 ** (gain_db / 20)) for sound in sounds]
    cut_off = np.array([float((np.abs(sound) > 1).mean()) for sound in louder])
    return Degraded([np.clip(sound, -1, 1) for sound in louder], {"clipped_share": cut_off})


def _codec(name: str, sounds: Sequence[np.ndarray], keys: Sequence[int], strength: float, around: Around) -> Degraded:
    """Channels are encoded separately; the bit rate is their sum."""
    channels = [channel for sound in sounds for channel in np.atleast_2d(sound)]
    with ThreadPoolExecutor(min(NUM_THREADS, len(channels))) as threads:
        found = iter(list(threads.map(partial(coded, name, strength, around.sample_rate), channels)))
    each = [[next(found) for _ in range(sound.ndim)] for sound in sounds]
    heard = [_like(sound, [one.sound for one in its]) for sound, its in zip(sounds, each, strict=True)]
    return Degraded(heard, {"kbit_per_s": np.array([sum(one.kbit_per_s for one in its) for its in each])})


def _sample_rate(sounds: Sequence[np.ndarray], keys: Sequence[int], rate: float, around: Around) -> Degraded:
    def there_and_back(sound: np.ndarray) -> np.ndarray:
        low = soxr.resample(sound.T, around.sample_rate, rate)
        return of_length(soxr.resample(low, rate, around.sample_rate).T, sound.shape[-1])

    return Degraded([there_and_back(sound) for sound in sounds])


def _shift(sounds: Sequence[np.ndarray], keys: Sequence[int], shift_s: float, around: Around) -> Degraded:
    """Removes the beginning, at most half of the sound."""
    lost = [min(round(shift_s * around.sample_rate), sound.shape[-1] // 2) for sound in sounds]
    shifted = [sound[..., count:] for sound, count in zip(sounds, lost, strict=True)]
    return Degraded(shifted, {"shifted_s": np.array(lost) / around.sample_rate})


def _mono(sounds: Sequence[np.ndarray], keys: Sequence[int], strength: float, around: Around) -> Degraded:
    """Replaces both channels by their mean."""
    return Degraded([sound if sound.ndim == 1 else np.stack([sound.mean(axis=0)] * 2) for sound in sounds])


def _within(minimum: float, maximum: float) -> Callable[[float, Around], str | None]:
    def idle(strength: float, around: Around) -> str | None:
        return None if minimum <= strength <= maximum else f"the strength must be {minimum:g} to {maximum:g}"

    return idle


def _needs_background(strength: float, around: Around) -> str | None:
    return _within(-60, 60)(strength, around) if around.background else "no background recordings were given"


def _needs_lower_rate(strength: float, around: Around) -> str | None:
    if 1_000 <= strength < around.sample_rate:
        return None
    return f"the model reads sound at {around.sample_rate:,} Hz, and only lower rates, from 1,000 Hz, have an effect"


def _needs_lower_frequency(strength: float, around: Around) -> str | None:
    if 20 <= strength < around.sample_rate / 2:
        return None
    return f"the model hears up to {around.sample_rate / 2:,.0f} Hz, and only lower cutoffs, from 20 Hz, have an effect"


def _needs_stereo(strength: float, around: Around) -> str | None:
    return None if around.is_stereo else "the model reads the mean of all channels anyway"


def _needs_gain(strength: float, around: Around) -> str | None:
    return "a gain of 0 dB changes nothing" if strength == 0 else _within(-90, 90)(strength, around)


def _needs_bit_rate(name: str) -> Callable[[float, Around], str | None]:
    def idle(strength: float, around: Around) -> str | None:
        return _within(*bit_rates(name, around.sample_rate))(strength, around)

    return idle


SNRS_DB = (30.0, 20.0, 10.0, 0.0)
DEGRADATIONS = {
    "white_noise": Degradation(
        "dB SNR", SNRS_DB, "hiss, equally loud at all frequencies", _by_rows(partial(_noise, 0.0)), _within(-60, 60)
    ),
    "pink_noise": Degradation(
        "dB SNR", SNRS_DB[1:], "noise, equally loud in all octaves", _by_rows(partial(_noise, 1.0)), _within(-60, 60)
    ),
    "brown_noise": Degradation(
        "dB SNR", (10.0, 0.0), "rumble, like traffic and wind", _by_rows(partial(_noise, 2.0)), _within(-60, 60)
    ),
    "background": Degradation(
        "dB SNR", SNRS_DB[1:], "given recordings in the background", _by_rows(_background), _needs_background
    ),
    "reverb": Degradation(
        "s RT60",
        (0.3, 1.0),
        "synthetic room, as much reflected as direct sound",
        _by_rows(_reverb),
        _within(0.05, 10),
    ),
    "low_pass": Degradation(
        "Hz", (4_000.0, 1_000.0), "a dull microphone or loudspeaker", _by_rows(_low_pass), _needs_lower_frequency
    ),
    "mp3": Degradation(
        "kbit/s",
        (32.0,),
        "MP3 compression at a constant bit rate",
        partial(_codec, "mp3"),
        _needs_bit_rate("mp3"),
    ),
    "vorbis": Degradation(
        "quality", (0.0,), "Ogg Vorbis compression, quality 0 to 10", partial(_codec, "vorbis"), _within(0, 10)
    ),
    "opus": Degradation(
        "kbit/s",
        (16.0, 6.0),
        "Opus compression at an average bit rate",
        partial(_codec, "opus"),
        _needs_bit_rate("opus"),
    ),
    "sample_rate": Degradation(
        "Hz", (22_050.0, 16_000.0, 8_000.0), "resampling to a lower rate and back", _sample_rate, _needs_lower_rate
    ),
    "gain": Degradation(
        "dB", (-30.0, -12.0, 6.0, 12.0), "quieter or louder, clipped at full scale", _gain, _needs_gain
    ),
    "shift": Degradation("s", (0.1, 0.5), "the beginning is removed", _shift, _within(0.001, 60)),
    "mono": Degradation("", (1.0,), "both channels are replaced by their mean", _mono, _needs_stereo),
}

"""Augmentation of waveforms: every step does what it claims, to some of the windows, each on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio.functional as stock
from augmenting import numbers_of, places
from waveforms import RATE, augmented_waves, level_db, tone, white

from hf_audio.augment import Compose
from hf_audio.augment.waveform import Clipping, Gain, Noise, PassFilter, Polarity, Shift, Standardize
from hf_audio.augment.waveform.biquads import filtered
from hf_audio.augment.waveform.levels import LevelNumbers
from hf_audio.augment.waveform.shift import ShiftNumbers

ALL = np.ones(4)
NOISE = Noise(1.0, (5.0, 30.0), (-1.0, 2.0), RATE)


def test_noise_has_the_drawn_level_below_the_sound_and_the_level_stays():
    values, num_frames = torch.stack([tone(440.0)] * 4), torch.tensor([RATE, RATE, 9000, 12000])
    values = values.masked_fill(torch.arange(RATE) >= num_frames[:, None], 0.0)
    found, _ = augmented_waves(NOISE, values, num_frames)
    drawn = numbers_of(NOISE, 4)
    for window, before, length, snr_db in zip(found, values, num_frames, drawn.snr_db, strict=True):
        own, before = window[:length].double(), before[:length].double()
        assert float(level_db(own)) == pytest.approx(float(level_db(before)), abs=1e-3)
        sound = before * (own @ before) / (before @ before)
        assert float(level_db(sound) - level_db(own - sound)) == pytest.approx(float(snr_db), abs=0.3)
        assert not window[length:].any()


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0], ids=["blue", "white", "pink", "brown"])
def test_noise_has_the_drawn_color(exponent):
    """Energies of neighboring octaves differ by 3 dB per unit of the exponent, relative to white noise."""
    step = Noise(1.0, (-100.0, -100.0), (exponent, exponent), RATE)
    found, _ = augmented_waves(step, white(4, 4 * RATE))
    power = torch.fft.rfft(found).abs().square().sum(dim=0)
    octaves = [power[4 * low : 8 * low].mean().log10() * 10 for low in (125, 250, 500, 1000, 2000)]
    slopes = np.diff([float(one) for one in octaves])
    assert slopes.mean() == pytest.approx(-3.01 * exponent, abs=0.3)
    assert np.abs(slopes + 3.01 * exponent).max() < 1.0


def test_silence_stays_silent_under_noise():
    found, _ = augmented_waves(NOISE, torch.zeros(2, RATE))
    assert not found.any()


def test_gain_and_polarity():
    values, step = white(), Gain(1.0, (-12.0, 6.0))
    found, _ = augmented_waves(step, values)
    torch.testing.assert_close(level_db(found) - level_db(values), torch.tensor(numbers_of(step, 4).level_db))
    assert len(set(numbers_of(step, 4).level_db)) == 4
    torch.testing.assert_close(augmented_waves(Polarity(1.0), values)[0], -values)


def test_clipping_cuts_at_the_drawn_level_below_the_peak():
    values, level = white(), np.array([0.0, 3.0, 6.0, 20.0])
    found, _ = augmented_waves(Clipping(1.0, (0.0, 20.0)), values, drawn=LevelNumbers(ALL, level))
    peaks, before = found.abs().amax(dim=1), values.abs().amax(dim=1)
    torch.testing.assert_close(peaks, before * torch.tensor(10 ** (-level / 20)).float())
    is_below = values.abs() < peaks[:, None]
    torch.testing.assert_close(found[is_below], values[is_below])


def test_shifts_roll_or_pad_within_the_length_of_the_window():
    values = torch.arange(1.0, 11.0).repeat(4, 1)
    num_frames = torch.tensor([10, 10, 6, 10])
    values = values.masked_fill(torch.arange(10) >= num_frames[:, None], 0.0)
    drawn = ShiftNumbers(np.array([1, 1, 1, 0]), np.array([0.7, -0.7, 0.999, 0.7]))
    rolled, frames = augmented_waves(Shift(1.0, 2, "roll"), values, num_frames, drawn)
    padded, _ = augmented_waves(Shift(1.0, 2, "pad"), values, num_frames, drawn)
    assert rolled.long().tolist() == [
        [9, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        [3, 4, 5, 6, 7, 8, 9, 10, 1, 2],
        [5, 6, 1, 2, 3, 4, 0, 0, 0, 0],
        list(range(1, 11)),
    ]
    assert padded.long().tolist() == [
        [0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        [3, 4, 5, 6, 7, 8, 9, 10, 0, 0],
        [0, 0, 1, 2, 3, 4, 0, 0, 0, 0],
        list(range(1, 11)),
    ]
    assert frames.tolist() == num_frames.tolist()


STOCK = {
    "low_pass": lambda x: stock.lowpass_biquad(x, RATE, 900.0, 0.9),
    "high_pass": lambda x: stock.highpass_biquad(x, RATE, 900.0, 0.9),
    "band_pass": lambda x: stock.bandpass_biquad(x, RATE, 900.0, 0.9),
    "band_stop": lambda x: stock.bandreject_biquad(x, RATE, 900.0, 0.9),
    "all_pass": lambda x: stock.allpass_biquad(x, RATE, 900.0, 0.9),
    "peak": lambda x: stock.equalizer_biquad(x, RATE, 900.0, 7.0, 0.9),
    "low_shelf": lambda x: stock.bass_biquad(x, RATE, 7.0, 900.0, 0.9),
    "high_shelf": lambda x: stock.treble_biquad(x, RATE, 7.0, 900.0, 0.9),
}


@pytest.mark.parametrize("kind", STOCK)
def test_filters_equal_torchaudio_with_settings_per_window(kind):
    values = white(3) * 0.3  # torchaudio clamps to [-1, 1]
    frequency, quality, gain = torch.tensor([300.0, 900.0, 5000.0]), torch.full((3,), 0.9), torch.full((3,), 7.0)
    found = filtered(values, kind, RATE, frequency, quality, gain)
    torch.testing.assert_close(found[1], STOCK[kind](values[1].double()).float(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_pass_filters_attenuate_tones_by_the_drawn_frequency():
    """3 dB at the cutoff and 12 dB per octave beyond it; a band-pass keeps its center."""
    values = torch.stack([tone(hz) for hz in (500.0, 1000.0, 4000.0)])
    for kind, wanted in (("low_pass", (-0.26, -3.01, -28.1)), ("high_pass", (-12.3, -3.01, -0.02))):
        found, _ = augmented_waves(PassFilter(1.0, kind, (1000.0, 1000.0), RATE), values)
        fall = level_db(found[:, 4000:]) - level_db(values[:, 4000:])
        torch.testing.assert_close(fall, torch.tensor(wanted).double(), rtol=0, atol=0.3)
    found, _ = augmented_waves(PassFilter(1.0, "band_pass", (1000.0, 1000.0), RATE, (1.0, 1.0)), values)
    fall = level_db(found[:, 4000:]) - level_db(values[:, 4000:])
    assert fall[1] == pytest.approx(0, abs=0.1) and fall[0] < -5 and fall[2] < -12


def test_windows_are_standardized_as_by_the_wav2vec2_extractor():
    from transformers import Wav2Vec2FeatureExtractor

    values, num_frames = white(2) + 0.05, torch.tensor([RATE, 5000])
    values[1, 5000:] = 0
    extracted = Wav2Vec2FeatureExtractor(return_attention_mask=True)(
        [values[0].numpy(), values[1, :5000].numpy()], sampling_rate=RATE, padding=True, return_tensors="pt"
    )
    augment = Compose((Polarity(1.0), Standardize()), None)
    found, _, _ = augment(values, torch.zeros(2, 1), num_frames, augment.draw(places(2)))
    torch.testing.assert_close(found, -extracted["input_values"], rtol=1e-4, atol=1e-5)

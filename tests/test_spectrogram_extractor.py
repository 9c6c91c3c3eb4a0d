"""SpectrogramFeatureExtractor: equal to librosa, stereo in order, normalization and padding."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from chord_sounds import RATE, music, stereo_music

from hf_audio.extractors.compiled_librosa import librosa
from hf_audio.extractors.spectrogram import CHANNELS, SpectrogramFeatureExtractor
from hf_audio.kinds._spectrogram_settings import Spectrogram

pytestmark = pytest.mark.timeout(60)


def extractor_of(**settings) -> SpectrogramFeatureExtractor:
    return Spectrogram(**settings).to_feature_extractor(None, None, None)


def values_of(sound: np.ndarray, **settings) -> np.ndarray:
    """The extractor's values in dB, `[channels, frames, bins]`."""
    return extractor_of(**{"normalization": "none", **settings}).extract(sound).swapaxes(0, 1)


def decibels(power: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(power, top_db=None).T


# Values


@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "bins"),
    [(22_050, 2048, 512, 128), (44_100, 2048, 512, 64), (16_000, 512, 160, 40), (96_000, 4096, 1000, 128)],
)
def test_log_mel_and_mfcc_are_librosas(rate, n_fft, hop, bins):
    sound = music(2.0, rate)
    mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=bins)
    settings = {"sample_rate": rate, "n_fft": n_fft, "hop_samples": hop, "num_mel_bins": bins}
    ours, mfcc = values_of(sound, channels=("mel", "mfcc"), **settings)
    np.testing.assert_allclose(ours, decibels(mel), atol=1e-3)
    np.testing.assert_allclose(mfcc, librosa.feature.mfcc(S=decibels(mel).T, n_mfcc=bins, norm="ortho").T, atol=5e-3)


@pytest.mark.parametrize("num_samples", [66_150, 22_050, 3000])
def test_harmonic_and_percussive_parts_are_librosas(num_samples):
    """The shortest one has fewer frames than the width of the median filter."""
    sound = music(3.0)[:num_samples]
    parts = librosa.decompose.hpss(np.abs(librosa.stft(sound, n_fft=2048, hop_length=512)))
    for ours, part in zip(values_of(sound, channels=("harmonic", "percussive")), parts, strict=True):
        np.testing.assert_allclose(ours, decibels(librosa.feature.melspectrogram(S=part**2, sr=RATE)), atol=1e-2)


def test_a_tone_is_harmonic_and_a_click_percussive():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    tone[RATE // 2] += 20
    harmonic, percussive = 10 ** (values_of(tone.astype(np.float32), channels=("harmonic", "percussive")) / 10)
    assert harmonic.sum(axis=1)[10] > 100 * percussive.sum(axis=1)[10]
    at_click = 1 + RATE // 2 // 512
    assert percussive[at_click, 100:].sum() > 100 * harmonic[at_click, 100:].sum()


@pytest.mark.parametrize("hop", [512, 441, 200, 127])
def test_wavelets_equal_a_convolution_with_each_one(hop):
    """By convolution in time with Torrence and Compo's wavelets, whose spectrum is not truncated."""
    rate, bins, sound = 8000, 24, music(0.5, 8000)
    settings = {"sample_rate": rate, "hop_samples": hop, "num_mel_bins": bins, "n_fft": 1024}
    (ours,) = values_of(sound, channels=("wavelet",), **settings)
    hz = np.geomspace(32.7, 0.4 * rate, bins)
    expected = np.zeros_like(ours)
    for number, center in enumerate(hz):
        scale = 6 / (2 * np.pi * center)
        time_s = np.arange(-round(6 * scale * rate), round(6 * scale * rate) + 1) / rate
        wavelet = np.exp(6j * time_s / scale - (time_s / scale) ** 2 / 2)
        wavelet *= 2 / (scale * rate * np.sqrt(2 * np.pi))
        whole = np.convolve(sound, wavelet)
        half = len(time_s) // 2
        lead = max(0, hop // 2 - half)
        energy = np.abs(np.pad(whole, (lead, len(sound)))[lead + half - hop // 2 :]) ** 2
        energy = energy[: len(ours) * hop].reshape(len(ours), hop)
        expected[:, number] = energy.mean(axis=1)
    # the highest ones extend beyond half the sampling rate, where a convolution aliases and the FFT does not
    away_db = np.abs(ours - 10 * np.log10(expected))[:, :18]
    assert away_db.mean() < 0.02 and away_db.max() < 0.7


def test_a_sine_has_its_level_at_its_own_wavelet():
    hz = np.geomspace(32.7, 0.4 * 44_100, 64)
    for place in (0, 20, 45, 63):
        tone = 0.5 * np.sin(2 * np.pi * hz[place] * np.arange(44_100) / 44_100)
        settings = {"sample_rate": 44_100, "num_mel_bins": 64, "channels": ("wavelet",)}
        middle = values_of(tone.astype(np.float32), **settings)[0, 43]
        assert middle.argmax() == place and middle[place] == pytest.approx(20 * np.log10(0.5), abs=0.05)


def test_shapes_are_those_of_earlier_systems():
    stereo = extractor_of(sample_rate=44_100, num_mel_bins=64, channels=("left", "right"))
    sound = np.stack([music(5.0, 44_100)] * 2)
    assert stereo(sound, 44_100, return_tensors="pt")["input_values"].shape == (1, 2, 431, 64)
    whole = Spectrogram()
    assert whole.window_frames(30.0) == 1292 and whole.window_frames(3.0) == 130 and whole.window_frames(0.05) == 0
    ((*parts,),) = whole.windows([music(30.0)], 3.0, 3.0)
    assert [round(start_s, 6) for start_s, _ in parts] == [3.0 * number for number in range(10)]
    assert {window.shape for _, window in parts} == {(130, 1, 128)}
    ((_, window),) = next(iter(whole.windows([music(30.0)], 30.0, 30.0)))
    assert window.shape == (1292, 1, 128)


def test_left_is_first_and_mono_is_used_for_both_channels():
    sound = stereo_music(1.0)
    left, right, mel = values_of(sound, channels=("left", "right", "mel"))
    np.testing.assert_allclose(left, values_of(sound[0])[0], atol=1e-4)
    np.testing.assert_allclose(right, values_of(sound[1])[0], atol=1e-4)
    np.testing.assert_allclose(mel, values_of(sound.mean(axis=0))[0], atol=1e-4)
    assert (right - left)[20].max() > 20  # the tone of 3 kHz
    left, right = values_of(sound[0], channels=("left", "right"))
    np.testing.assert_array_equal(left, right)


def test_accepted_forms_of_waveforms():
    sound, extractor = stereo_music(0.5), extractor_of(channels=("left", "right"))
    one = extractor(sound, RATE)["input_values"]
    np.testing.assert_array_equal(extractor([sound], RATE)["input_values"], one)
    np.testing.assert_array_equal(extractor(torch.from_numpy(sound), RATE)["input_values"], one)
    np.testing.assert_array_equal(extractor([sound, sound[1]], RATE)["input_values"][:1], one)
    mono = extractor_of()
    np.testing.assert_array_equal(mono(sound, RATE)["input_values"][1:], mono(sound[1], RATE)["input_values"])
    np.testing.assert_array_equal(mono(sound[0].tolist(), RATE)["input_values"], mono(sound[0], RATE)["input_values"])
    for wrong in ([np.zeros((3, 100))], [np.zeros((2, 0))], np.zeros((1, 1, 1, 5)), np.array(0.5)):
        with pytest.raises(ValueError, match="mono or stereo waveforms"):
            extractor(wrong, RATE)
    with pytest.raises(ValueError, match="sampled at 22050 Hz, but this audio is sampled at 16000 Hz"):
        mono(sound[0], 16_000)


# Normalization and padding


def test_per_clip_normalization_uses_real_frames_only():
    extractor = Spectrogram(normalization="clip", channels=("mel", "wavelet"))
    extractor = extractor.to_feature_extractor(130, [-1.0, -1.0], [5.0, 5.0])
    sound = music(1.0)
    (values,) = extractor(sound, RATE, return_tensors="pt")["input_values"]
    assert values.shape == (2, 130, 128) and (values[:, 44:] == 0).all()
    real = values[:, :44]
    torch.testing.assert_close(real.mean(dim=(1, 2)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.std(dim=(1, 2), correction=0), torch.ones(2), atol=1e-4, rtol=0)
    louder = extractor(0.1 * sound, RATE, return_tensors="pt")["input_values"][0]
    torch.testing.assert_close(louder[0], values[0], atol=2e-3, rtol=0)  # the level no longer matters


def test_padding_and_statistics_of_each_normalization():
    sound = stereo_music(0.5)
    settings = {"channels": ("left", "right")}
    plain = Spectrogram(**settings, normalization="none").to_feature_extractor(30, [-40, -50], [10, 20])
    values = plain(sound, RATE)["input_values"]
    assert plain.padding_value == -110 and (values[:, :, 22:] == -110).all()
    np.testing.assert_array_equal(values[0, :, :22], values_of(sound, **settings))
    by_dataset = Spectrogram(**settings).to_feature_extractor(30, [-40, -50], [10, 20])
    normalized = by_dataset(sound, RATE)["input_values"]
    assert by_dataset.padding_value == 0 and (normalized[:, :, 22:] == 0).all()
    np.testing.assert_allclose(normalized[0, 1, :22], (values[0, 1, :22] + 50) / 20, rtol=1e-5, atol=1e-5)
    again = SpectrogramFeatureExtractor.from_dict(json.loads(plain.to_json_string()))
    assert again.to_dict() == plain.to_dict() and again.padding_value == -110


def test_a_waveform_that_is_too_long_is_cut():
    extractor = Spectrogram().to_feature_extractor(10, None, None)
    values = extractor(music(3.0), RATE)["input_values"]
    assert values.shape == (1, 10, 128)
    np.testing.assert_allclose(values[0, :7], values_of(music(3.0))[0, :7], atol=1e-5)


@pytest.mark.parametrize("normalization", ["dataset", "clip", "none"])
def test_silence_gives_finite_values(normalization):
    sound = np.stack([music(0.5), np.zeros(RATE // 2, np.float32)])
    settings = {"channels": CHANNELS, "normalization": normalization}
    extractor = Spectrogram(**settings).to_feature_extractor(22, [-50.0] * 7, [1e-6] * 7)
    for one in (sound, np.zeros_like(sound), music(0.5)[:1]):
        values = extractor([one], RATE)["input_values"]
        assert np.isfinite(values).all() and values.dtype == np.float32
    assert (values_of(sound, channels=("right",)) == -100).all()


def test_sound_that_is_not_finite_stays_so():
    sound = music(0.5)
    sound[5000] = np.nan
    for name in CHANNELS:
        assert np.isnan(values_of(sound, channels=(name,)).max()), name

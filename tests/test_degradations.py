"""Degraded recordings: their strength, reproducibility, and refusal of degradations without effect."""

from __future__ import annotations

import numpy as np
import pytest
from tagging_models import changing_sound

from hf_audio.augment.waveform import SoundPool
from hf_audio.errors import InputError
from hf_audio.judging import degradations
from hf_audio.judging.conditions import conditions_of
from hf_audio.judging.degradations import DEGRADATIONS, Around

RATE = 16_000
AROUND = Around(RATE)
STEREO = np.stack([changing_sound(0.9, 1), changing_sound(0.9, 2)])
SOUNDS = [changing_sound(1.0), 0.2 * changing_sound(1.7, 3), STEREO]
KEYS = [5, 77, 123_456]
BACKGROUND = SoundPool.of("rain", [changing_sound(2.0, 8), changing_sound(0.4, 9)], RATE)
ALL_AROUND = Around(RATE, True, BACKGROUND)


def worse(name: str, strength: float, sounds=SOUNDS, keys=KEYS, around=ALL_AROUND):
    return DEGRADATIONS[name].change(sounds, keys, strength, around)


def energy(sound: np.ndarray) -> np.ndarray:
    return np.square(sound.astype(np.float64)).mean(axis=-1)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_each_changes_sounds_reproducibly_and_keeps_their_shape(name):
    strength = next(one for one in DEGRADATIONS[name].strengths if DEGRADATIONS[name].idle(one, ALL_AROUND) is None)
    before = [sound.copy() for sound in SOUNDS]
    found = worse(name, strength).sounds
    alone = [worse(name, strength, [sound], [key]).sounds[0] for sound, key in zip(SOUNDS, KEYS, strict=True)]
    for sound, new, by_itself, old in zip(SOUNDS, found, alone, before, strict=True):
        assert new.dtype == np.float32 and np.isfinite(new).all()
        assert new.shape == sound.shape or name == "shift"
        assert not np.array_equal(new, sound) or (name == "mono" and sound.ndim == 1)
        np.testing.assert_allclose(new, by_itself, atol=2e-5)  # independent of the other sounds
        assert np.array_equal(sound, old)


@pytest.mark.parametrize("name", ["white_noise", "pink_noise", "brown_noise", "background"])
def test_noise_has_the_requested_level_and_loudness_is_kept(name):
    for snr_db in (20.0, 0.0):
        for sound, noisy in zip(SOUNDS, worse(name, snr_db).sounds, strict=True):
            np.testing.assert_allclose(energy(noisy), energy(sound), rtol=1e-3)
            # sound and noise are scaled by one factor, estimated by projection on the sound
            share = (noisy * sound).mean(axis=-1) / energy(sound)
            rest = energy(noisy - share[..., None] * sound)
            found_db = 10 * np.log10(share**2 * energy(sound) / rest)
            np.testing.assert_allclose(found_db, snr_db, atol=1.0)


def test_all_strengths_use_the_same_noise_and_each_clip_its_own():
    def noise(sound: np.ndarray, snr_db: float, key: int) -> np.ndarray:
        noisy = worse("white_noise", snr_db, [sound], [key]).sounds[0]
        rest = noisy - sound * (noisy * sound).mean() / energy(sound)
        return rest / np.sqrt(energy(rest))

    mild, strong, other = noise(SOUNDS[0], 10, 5), noise(SOUNDS[0], 0, 5), noise(SOUNDS[0], 0, 6)
    assert (mild * strong).mean() > 0.99
    assert abs((strong * other).mean()) < 0.05
    channels = worse("white_noise", 0.0, [np.stack([SOUNDS[0]] * 2)], [5]).sounds[0]
    assert abs(np.corrcoef(*(channels - np.stack([SOUNDS[0]] * 2)))[0, 1]) < 0.9


def test_long_sounds_are_changed_in_pieces_without_a_gap(monkeypatch):
    monkeypatch.setattr(degradations, "PIECE_S", 0.5)
    sound = changing_sound(1.3)
    found = worse("white_noise", 10.0, [sound], [5]).sounds[0]
    pieces = [sound[first : first + 8_000] for first in range(0, len(sound), 8_000)]
    alone = [worse("white_noise", 10.0, [one], [5 + 104_729 * number]).sounds[0] for number, one in enumerate(pieces)]
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_codecs_have_the_requested_bit_rate_and_fewer_bits_are_noisier(rate):
    low, high = changing_sound(4.0, 5), Around(rate)
    for name, bad, good in (("mp3", 32, 64), ("opus", 8, 64), ("vorbis", 0, 10)):
        least, most = (worse(name, float(one), [low], [1], high) for one in (bad, good))
        if name == "mp3":
            assert least.facts["kbit_per_s"][0] == pytest.approx(32, rel=0.05)
            assert most.facts["kbit_per_s"][0] == pytest.approx(64, rel=0.05)
        assert least.facts["kbit_per_s"][0] < 0.6 * most.facts["kbit_per_s"][0]
        noise = [energy(one.sounds[0] - low) for one in (least, most)]
        assert noise[0] > noise[1] and noise[1] < 0.2 * energy(low), name  # without delay


def test_gain_reports_the_clipped_share():
    loud = worse("gain", 12.0, [np.float32([0.1, -0.5, 0.9, 0.2])], [1])
    np.testing.assert_allclose(loud.sounds[0], [0.3981, -1.0, 1.0, 0.7962], atol=1e-3)
    assert loud.facts["clipped_share"].tolist() == [0.5]
    assert worse("gain", -12.0).facts["clipped_share"].tolist() == [0, 0, 0]


def test_lower_rates_and_filters_remove_high_frequencies():
    for name, strength in (("sample_rate", 8_000.0), ("low_pass", 1_000.0)):
        spectrum = np.abs(np.fft.rfft(worse(name, strength, [changing_sound(4.0)], [1]).sounds[0]))
        before = np.abs(np.fft.rfft(changing_sound(4.0)))
        high, low = slice(20_000, None), slice(0, 2_000)  # above 5 kHz, and below 500 Hz
        assert (spectrum[high] ** 2).sum() < 0.05 * (before[high] ** 2).sum()
        assert (spectrum[low] ** 2).sum() > 0.5 * (before[low] ** 2).sum()


def test_a_shift_removes_the_beginning_but_at_most_half():
    found = worse("shift", 0.6)
    np.testing.assert_array_equal(found.sounds[1], SOUNDS[1][9_600:])
    assert found.sounds[0].shape == (8_000,) and found.sounds[2].shape == (2, 7_200)
    assert found.facts["shifted_s"].tolist() == [0.5, 0.6, 0.45]


def test_degradations_without_effect_are_skipped_or_refused_if_requested():
    conditions, left_out = conditions_of((), AROUND)
    assert len(conditions) == 24 and len(set(conditions)) == 24
    assert "no background recordings" in left_out["background 20 dB SNR"]
    assert "16,000 Hz" in left_out["sample_rate 22050 Hz"] and "mean of all channels" in left_out["mono 1"]
    assert conditions_of(["gain=3,-3", "shift", "gain=3"], AROUND)[0] == [
        *(("gain", 3.0), ("gain", -3.0), ("shift", 0.1), ("shift", 0.5))
    ]
    for asked, message in (
        ("noise", r"Unknown degradation 'noise': did you mean '\w+noise'"),
        ("gain=loud", "Found gain=loud, expected numbers, such as gain=20,10"),
        ("gain=0", "gain=0 cannot be used here: a gain of 0 dB changes nothing"),
        ("white_noise=nan", "the strength must be -60 to 60"),
        ("sample_rate=16000", "sample_rate=16000 cannot be used here: the model reads sound at 16,000 Hz"),
        ("mp3=320", "the strength must be 8 to 160"),
        ("low_pass=8000", "up to 8,000 Hz"),
        ("mono", "mono cannot be used here: the model reads the mean"),
        ("background", "no background recordings were given"),
    ):
        with pytest.raises(InputError, match=message):
            conditions_of([asked], AROUND)

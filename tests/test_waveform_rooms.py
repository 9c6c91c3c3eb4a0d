"""Reverberation, background noise, codecs and effects."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio.functional as stock
from augmenting import numbers_of
from waveforms import RATE, augmented_waves, level_db, loudest_hz, tone, white

from hf_audio.augment.waveform import Background, Codec, Effects, RecordedReverb, SoundPool, SyntheticReverb
from hf_audio.augment.waveform.effects import EFFECTS, EffectNumbers, Some
from hf_audio.augment.waveform.reverb import RoomNumbers
from hf_audio.errors import InputError


def effect(name: str, values: torch.Tensor, *strengths: float) -> torch.Tensor:
    """Windows after an effect, before their level is restored."""
    drawn = torch.tensor([(*strengths, 0, 0, 0)[:3]] * len(values))
    return EFFECTS[name](Some(values, torch.full((len(values), 1), values.shape[1]), drawn, RATE))


@pytest.mark.parametrize("rt60_s", [0.2, 0.8])
def test_a_synthetic_room_decays_in_the_drawn_time(rt60_s):
    step = SyntheticReverb(1.0, (0.1, 1.0), (0.0, 6.0), RATE)
    response = step.responses(RoomNumbers(*map(torch.tensor, ([1.0], [rt60_s], [4.0], [77.0]))), torch.zeros(1, 9))[0]
    direct, reflections = response[0], response[1:].double()
    assert float(10 * (direct**2 / reflections.square().sum()).log10()) == pytest.approx(4.0, abs=1e-3)
    remaining = reflections.square().flip(0).cumsum(0).flip(0)  # Schroeder's integral
    level = 10 * (remaining / remaining[0]).log10()
    fall = float(level[int(0.6 * rt60_s * RATE)] - level[int(0.1 * rt60_s * RATE)])
    assert fall == pytest.approx(-30.0, abs=2.0), "60 dB in the whole decay time"


def test_convolution_with_a_room_equals_torchaudio_and_keeps_the_level():
    step, values = SyntheticReverb(1.0, (0.1, 0.3), (0.0, 6.0), RATE), white(2, 4000)
    found, _ = augmented_waves(step, values)
    responses = step.responses(RoomNumbers(*map(torch.from_numpy, numbers_of(step, 2))), values)
    wet = stock.fftconvolve(values, responses)[:, :4000]
    torch.testing.assert_close(found, wet * 10 ** ((level_db(values) - level_db(wet)) / 20).float()[:, None])


def test_every_recorded_room_is_drawn_and_its_response_ends():
    rooms = SoundPool.of("halls", [np.array([1.0, 0, 0, 0.5]), np.array([1.0, -0.25])], RATE)
    impulses = torch.zeros(8, 100)
    impulses[:, 10] = 0.5
    found, _ = augmented_waves(RecordedReverb(1.0, rooms), impulses)
    shapes = {tuple((window[10:15] / window[10]).mul(100).round().tolist()) for window in found}
    assert shapes == {(100.0, 0.0, 0.0, 50.0, 0.0), (100.0, -25.0, 0.0, 0.0, 0.0)}


def test_a_background_is_a_looped_stretch_of_a_recording():
    hums = [tone(hz, 5000).numpy() for hz in (500.0, 2000.0)]
    step = Background(1.0, (-60.0, -60.0), SoundPool.of("hums", hums, RATE, "CC0"))
    found, _ = augmented_waves(step, white(8, 8000))
    assert {round(loudest_hz(window[:4000]), -2) for window in found} == {500.0, 2000.0}
    pool = SoundPool.of("ramps", [np.arange(1.0, 6.0), np.arange(10.0, 0.0, -1.0)], RATE)
    stretch = pool.looped(torch.tensor([0, 1]), torch.tensor([0.6, 0.95]), 7, torch.device("cpu"))
    assert (stretch[0] * 5).round().int().tolist() == [4, 5, 1, 2, 3, 4, 5]
    assert (stretch[1] * 10).round().int().tolist() == [1, 10, 9, 8, 7, 6, 5]
    assert "CC0" in repr(step) and "tensor" not in repr(step)
    assert step != Background(1.0, (-60.0, -60.0), SoundPool.of("hums", hums[::-1], RATE, "CC0"))


def test_a_background_has_the_drawn_level_and_is_skipped_if_silent():
    sound = np.concatenate([np.zeros(20_000), tone(3000.0).numpy()])
    step = Background(1.0, (10.0, 10.0), SoundPool.of("half", [sound], RATE))
    values = torch.stack([tone(500.0, 4000)] * 16)
    found, _ = augmented_waves(step, values)
    unchanged = [torch.equal(one, other) for one, other in zip(found, values, strict=True)]
    assert any(unchanged) and not all(unchanged)
    loud = found[torch.tensor(numbers_of(step, 16).share * 36_000 > 20_000)][0]
    spectrum = torch.fft.rfft(loud).abs().square()
    assert float(10 * (spectrum[:500].sum() / spectrum[500:].sum()).log10()) == pytest.approx(10.0, abs=0.3)


@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus"])
def test_a_codec_keeps_length_time_and_level(name):
    values = torch.stack([tone(440.0, 8000), tone(1500.0, 8000) * 1e-3])
    num_frames = torch.tensor([8000, 5000])
    values[1, 5000:] = 0
    found, _ = augmented_waves(Codec(1.0, (name,), (0.5, 1.0), RATE), values, num_frames)
    assert found.shape == values.shape and not torch.equal(found, values)
    for one, other, length in zip(found, values, num_frames, strict=True):
        pair = torch.stack([one[1000 : length - 500], other[1000 : length - 500]])
        assert torch.corrcoef(pair)[0, 1] > 0.9, "the sound is not delayed"
        assert float(level_db(pair[0]) - level_db(pair[1])) == pytest.approx(0, abs=2)


def test_codecs_remove_high_frequencies():
    values = white(4)
    small, _ = augmented_waves(Codec(1.0, ("mp3",), (1.0, 1.0), RATE), values)
    high = torch.fft.rfft(small).abs()[:, -1000:].mean() / torch.fft.rfft(values).abs()[:, -1000:].mean()
    assert high < 0.2
    with pytest.raises(InputError, match=r"opus cannot encode sound at 22050 Hz .*Opus only supports"):
        Codec(1.0, ("opus",), (0.5, 1.0), 22_050)


def test_effects_do_what_their_names_say():
    hum, loud = tone(440.0)[None], white(2)
    assert torch.equal(effect("reverse", loud), loud.flip(1))
    faded = effect("fade", torch.ones(1, RATE), 1.0, 1.0)[0]
    assert faded[0] == 0 and faded[RATE // 2] == 1 and faded[-1] < 0.001 and (faded[:4000].diff() >= 0).all()
    delayed = effect("echo", torch.eye(1, RATE), 1.0, 0.0)[0]
    assert delayed[0] == 1 and delayed[800] == pytest.approx(0.7, abs=1e-3) and delayed.count_nonzero() <= 3
    assert effect("echos", torch.eye(1, RATE), 1.0, 0.0)[0, 2400] == pytest.approx(0.7**3, abs=1e-3)
    swing = level_db(effect("tremolo", hum, 1.0, 0.25)[0].unfold(0, 800, 800))
    assert float(swing.max() - swing.min()) > 12
    steps = torch.cat([tone(440.0, 8000, 0.01), tone(440.0, 8000, 0.5)])[None]
    pressed = effect("compand", steps, 0.5)[0]
    assert float(level_db(pressed[12_000:]) - level_db(pressed[4000:8000])) < 12, "the steps were 34 dB apart"
    assert effect("overdrive", hum, 1.0)[0].abs().mean() > 0.75, "nearly a square wave"
    comb = torch.fft.rfft(effect("flanger", torch.eye(1, 4096), 1.0, 0.0)[0]).abs()
    assert comb.min() < 0.2 < 1.8 < comb.max()


@pytest.mark.parametrize(
    ("name", "hz", "change_db"), [("bass", 50.0, 12.0), ("treble", 7000.0, 12.0), ("bandreject", 894.0, -20.0)]
)
def test_tone_controls_have_the_stated_strength(name, hz, change_db):
    values = tone(hz)[None]
    change = float(level_db(effect(name, values, 0.5, 1.0)[:, 8000:]) - level_db(values[:, 8000:]))
    assert change < change_db if change_db < 0 else change == pytest.approx(change_db, abs=2.5)


def test_contrast_equals_torchaudio():
    values = white(1) / white(1).abs().max()
    found = effect("contrast", values, 0.5)
    torch.testing.assert_close(found, stock.contrast(values, 0.09 * 750), rtol=1e-4, atol=1e-5)


def test_each_window_gets_one_of_the_named_effects():
    step = Effects(1.0, ("reverse", "fade"), RATE)
    found, _ = augmented_waves(step, white(2), drawn=EffectNumbers(np.ones(2), np.array([0, 1]), np.ones((2, 3))))
    assert torch.allclose(found[0], white(2)[0].flip(0), atol=1e-6) and found[1, 0] == 0
    assert math.isclose(np.mean(numbers_of(step, 400).effect), 0.5, abs_tol=0.1)


SOX = """allpass, band, bandpass, bandreject, bass, bend, biquad, chorus, channels, compand, contrast, dcshift, deemph,
delay, dither, divide, downsample, earwax, echo, echos, equalizer, fade, fir, firfit, flanger, gain, highpass, hilbert,
loudness, lowpass, mcompand, norm, oops, overdrive, pad, phaser, pitch, rate, remix, repeat, reverb, reverse, riaa,
silence, sinc, speed, stat, stats, stretch, swap, synth, tempo, treble, tremolo, trim, upsample, vad, vol"""


def test_the_docs_have_a_counterpart_for_every_effect_of_sox():
    page = (Path(__file__).parents[1] / "docs" / "augmentation.md").read_text()
    table = page.split("| SoX | here |")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.strip().split("\n")[1:]]
    named = [name for names, _ in rows for name in names.split(", ")]
    assert sorted(named) == sorted(SOX.replace("\n", " ").replace(",", "").split())
    assert {name for names, call in rows if call == "`--wave_effect_names`" for name in names.split(", ")} == set(
        EFFECTS
    )

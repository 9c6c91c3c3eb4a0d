"""Speed, tempo and pitch move a tone and the end of a sound as drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from augmenting import numbers_of
from waveforms import RATE, augmented_waves, level_db, loudest_hz, tone

from hf_audio.augment.waveform import PitchShift, Speed, TimeStretch
from hf_audio.augment.waveform.speed import RatioNumbers, ratios_between
from hf_audio.errors import InputError

CENT = 2 ** (1 / 1200) - 1
LENGTH = 12_000


def of_every_ratio(step):
    """A short tone of 1 kHz after each ratio of a step, the lengths, and the ratios."""
    ratios = step.ratios
    values = torch.stack([torch.nn.functional.pad(tone(1000.0, LENGTH), (0, RATE - LENGTH))] * len(ratios))
    drawn = RatioNumbers(np.ones(len(ratios)), np.arange(len(ratios)))
    found, num_frames = augmented_waves(step, values, torch.full((len(ratios),), LENGTH), drawn)
    for window, length in zip(found, num_frames, strict=True):
        assert not window[length:].any() and window[length - 400 : length].any(), "num_frames is its end"
    return found, num_frames, [float(one) for one in ratios]


@pytest.mark.parametrize(
    ("step", "pitch", "duration"),
    [
        (Speed(1.0, (0.8, 1.25)), lambda ratio: ratio, lambda ratio: 1 / ratio),
        (TimeStretch(1.0, (0.8, 1.25), RATE), lambda ratio: 1.0, lambda ratio: 1 / ratio),
        (PitchShift(1.0, (-4.0, 4.0), RATE), lambda ratio: ratio, lambda ratio: 1.0),
    ],
    ids=["speed", "stretch", "pitch"],
)
def test_a_tone_moves_as_drawn_and_keeps_its_level(step, pitch, duration):
    found, num_frames, ratios = of_every_ratio(step)
    assert len(ratios) > 10 and min(ratios) < 0.81 and max(ratios) > 1.24
    for window, length, ratio in zip(found, num_frames, ratios, strict=True):
        middle = window[1000 : length - 1000]
        assert loudest_hz(middle) == pytest.approx(1000 * pitch(ratio), rel=5 * CENT)
        assert int(length) == min(LENGTH, round(LENGTH * duration(ratio)))
        assert float(level_db(middle)) == pytest.approx(float(level_db(tone(1000.0))), abs=1.0)


def test_ratios_are_few_and_close_to_the_requested_ones():
    ratios = [float(one) for one in ratios_between(2 ** (-1 / 12), 2 ** (1 / 12))]
    assert len(ratios) > 12 and all(one < other for one, other in pairwise(ratios))
    assert ratios[0] == pytest.approx(2 ** (-1 / 12), rel=CENT) and ratios[-1] == pytest.approx(2 ** (1 / 12), rel=CENT)
    assert len(ratios_between(1.1, 1.1)) == 1
    drawn = numbers_of(Speed(1.0, (0.9, 1.1)), 500).ratio
    assert set(drawn) == set(range(len(ratios_between(0.9, 1.1)))), "every ratio is drawn"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Speed(0.5, (0.999, 1.001)),
        lambda: TimeStretch(0.5, (0.998, 1.002), RATE),
        lambda: PitchShift(0.5, (-0.05, 0.05), RATE),
    ],
)
def test_a_range_without_any_change_is_refused(make):
    with pytest.raises(InputError, match="nothing would change: use a wider range"):
        make()


def test_the_tempo_moves_a_click():
    values = torch.zeros(1, RATE)
    values[0, 8000:8010] = 0.9
    for step, blur in ((Speed(1.0, (1.25, 1.25)), 10), (TimeStretch(1.0, (1.25, 1.25), RATE), 512)):
        found, _ = augmented_waves(step, values)
        when = (found[0].square() * torch.arange(RATE)).sum() / found[0].square().sum()
        assert float(when) == pytest.approx(6400, abs=blur)

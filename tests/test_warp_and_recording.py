"""Warp and Recording, applied to spectrograms with known content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from augmenting import augmented, numbers_of

from hf_audio.augment import Normalization, Recording, Warp, augmentation_for
from hf_audio.augment.energies import NATURAL_DB
from hf_audio.augment.recording import uniform_noise
from hf_audio.augment.warp import WarpNumbers
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.extractors.classical import ClassicalFeatureExtractor

NORMALIZATION = Normalization(-8.0, 3.0)
FRAMES, BINS, REAL = 60, 32, 25


def image(short: bool = False) -> torch.Tensor:
    """Two windows with a loud ridge at frame 10 and one at bin 12; short ones are padded after 25 frames."""
    log_mel = torch.full((2, FRAMES, BINS), -12.0)
    log_mel += torch.linspace(0, 0.5, BINS)  # no real frame has the same value in all bins
    log_mel[:, 10] += 6.0
    log_mel[:, :, 12] += 3.0
    if short:
        log_mel[:, REAL:] = 0.0
    return NORMALIZATION.apply(log_mel)


def lengths(short: bool = False) -> torch.Tensor:
    return torch.full((2,), REAL if short else FRAMES)


def warped(features, drawn: dict, short: bool = False, **settings):
    """Features and lengths after a warp with the given numbers; all others change nothing."""
    plain = {"stretch": 1.0, "scale": 1.0, "shift": 0.0, "gain": 0.0, "start": 0.0}
    numbers = WarpNumbers(**{name: np.full(2, value) for name, value in (plain | drawn).items()})
    found, _, num_frames = augmented(Warp(**settings), NORMALIZATION, features, None, numbers, lengths(short))
    return found, num_frames


@pytest.mark.parametrize("short", [False, True])
def test_a_warp_of_nothing_changes_nothing(short):
    settings = {"time_stretch": 0.5, "frequency_shift_bins": 5.0, "gain_db": 3.0}
    found, num_frames = warped(image(short), {}, short, **settings)
    torch.testing.assert_close(found, image(short), rtol=1e-5, atol=1e-5)
    assert torch.equal(num_frames, lengths(short))


def test_time_shift_rotates_a_full_window():
    found, _ = warped(image(), {"start": 0.5}, time_shift=True)
    torch.testing.assert_close(found, image().roll(-FRAMES // 2, dims=1), rtol=1e-5, atol=1e-5)
    found, _ = warped(image(), {"start": 0.5}, time_shift=False)
    torch.testing.assert_close(found, image(), rtol=1e-5, atol=1e-5)


def test_a_short_clip_keeps_its_start_when_stretched():
    for stretch, length, ridge in ((2.0, 50, 20), (0.5, 12, 5)):
        drawn = {"stretch": stretch, "start": 0.7}
        found, num_frames = warped(image(short=True), drawn, True, time_stretch=1.0)
        assert num_frames.tolist() == [length, length]
        torch.testing.assert_close(found[:, length:], torch.full_like(found[:, length:], NORMALIZATION.padding_value))
        assert int(found[0, :length].sum(dim=1).argmax()) == ridge


def test_pitch_moves_bins_and_gain_moves_values():
    found, _ = warped(image(), {"shift": 4.0}, frequency_shift_bins=4.0)
    assert int(found[0, 30].argmax()) == 12 + 4
    found, _ = warped(image(), {"gain": 10.0 / NATURAL_DB}, gain_db=10.0)
    louder = NORMALIZATION.undo(found) - NORMALIZATION.undo(image())
    torch.testing.assert_close(louder, torch.full_like(louder, 2.302585), rtol=1e-3, atol=1e-3)  # ln 10


def test_numbers_drawn_for_a_warp_are_within_its_limits():
    drawn = numbers_of(Warp(0.25, 0.1, 3.0, 6.0), 2000)
    for numbers, low, high in (
        (drawn.stretch, 0.8, 1.25),
        (drawn.scale, 1 / 1.1, 1.1),
        (drawn.shift, -3.0, 3.0),
        (drawn.gain, -6.0 / NATURAL_DB, 6.0 / NATURAL_DB),
        (drawn.start, 0.0, 1.0),
    ):
        assert low <= numbers.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < numbers.max() <= high
    assert np.median(drawn.stretch) == pytest.approx(1.0, abs=0.03) and abs(drawn.shift.mean()) < 0.15


def test_an_equalizer_changes_all_frames_equally():
    recording = Recording(equalizer_db=6.0)
    drawn = numbers_of(recording, 2)
    found = augmented(recording, NORMALIZATION, image(short=True), None, drawn, lengths(short=True))[0]
    change = (NORMALIZATION.undo(found) - NORMALIZATION.undo(image(short=True)))[:, :REAL]
    torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=1e-3, atol=1e-3)
    nodes = torch.from_numpy(drawn.nodes[:, 0]).float()
    torch.testing.assert_close(change[:, 0, 0], nodes, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[:, REAL:], image(short=True)[:, REAL:])
    assert numbers_of(recording, 3000).nodes.std() * NATURAL_DB == pytest.approx(6.0, rel=0.03)


@pytest.mark.parametrize("short", [False, True])
def test_noise_fills_quiet_parts_at_the_given_level(short):
    recording = Recording(noise_probability=1.0, noise_snr_db=10.0)
    drawn = numbers_of(recording, 2)._replace(drop=np.full(2, 10.0 / NATURAL_DB), tilt=np.zeros(2))
    real = REAL if short else FRAMES
    before = NORMALIZATION.undo(image(short))[:, :real]
    found = augmented(recording, NORMALIZATION, image(short), None, drawn, lengths(short))[0]
    added = NORMALIZATION.undo(found)[:, :real].exp() - before.exp()
    level = added.mean(dim=(1, 2)) / before.exp().mean(dim=(1, 2))
    torch.testing.assert_close(level, torch.full((2,), 0.1), rtol=0.1, atol=0.0)
    torch.testing.assert_close(found[:, real:], image(short)[:, real:])
    never = augmented(Recording(noise_probability=0.5), NORMALIZATION, image(short), None,
                      drawn._replace(drop=np.full(2, np.inf)), lengths(short))[0]  # fmt: skip
    torch.testing.assert_close(never, image(short), rtol=1e-5, atol=1e-5)


def test_noise_has_the_given_probability_and_levels():
    drop_db = numbers_of(Recording(0.0, 0.3, 5.0), 4000).drop * NATURAL_DB
    noisy = drop_db[np.isfinite(drop_db)]
    assert len(noisy) / 4000 == pytest.approx(0.3, abs=0.03)
    assert 5.0 <= noisy.min() < 6.0 and 49.0 < noisy.max() <= 50.0 and noisy.mean() == pytest.approx(27.5, abs=1.5)


def test_hashed_noise_is_uniform_and_uncorrelated():
    noise = uniform_noise(torch.tensor([0.0, 1.0, 2.0, 16_777_215.0]), 40_000)
    assert noise.min() > 0 and noise.max() < 1
    for row in noise:
        counts = torch.histc(row, 64, 0.0, 1.0)
        assert ((counts - 625) ** 2 / 625).sum() < 63 + 5 * (2 * 63) ** 0.5, "chi-square, five standard deviations"
    shifted = torch.corrcoef(torch.stack([*noise, noise[0].roll(1), noise[0].roll(128)])) - torch.eye(6)
    assert shifted.abs().max() < 5 / 200, "five standard deviations"
    torch.testing.assert_close(uniform_noise(torch.tensor([2.0]), 100)[0], noise[2, :100], rtol=0, atol=0)
    assert uniform_noise(torch.tensor([13_419_882]), 36_000).max() < 1  # a 1 would make normal noise infinite


def test_masks_are_limited_in_short_windows():
    from transformers import ASTFeatureExtractor

    steps = augmentation_for(AugmentConfig(time_mask_s=2.0, equalizer_db=3.0), ASTFeatureExtractor(max_length=68)).steps
    assert [type(step).__name__ for step in steps] == ["Recording", "SpecAugment"]
    assert steps[1].longest_time_mask_frames == 6


def test_classical_features_have_no_augmentation():
    assert augmentation_for(AugmentConfig(), ClassicalFeatureExtractor()) is None
    with pytest.raises(InputError, match="--gain_db augments log-mel features"):
        augmentation_for(AugmentConfig(gain_db=3.0), ClassicalFeatureExtractor())

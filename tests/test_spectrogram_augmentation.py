"""Augmentation of spectrograms: rolls lose nothing, curves and statistics are those drawn, labels are mixed by area,
rectangles are hidden, and padding never changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from augmenting import all_frames, augmented, numbers_of

from hf_audio.augment import (
    CutMix,
    Cutout,
    FilterAugment,
    FrequencyMixStyle,
    ImageChange,
    MixOrCut,
    Mixup,
    Normalization,
    Roll,
)
from hf_audio.augment.cutmix import CutMixNumbers
from hf_audio.augment.energies import NATURAL_DB, Windows
from hf_audio.augment.filter_augment import BANDS
from hf_audio.augment.mixstyle import statistics
from hf_audio.augment.roll import RollNumbers

# inputs are plain log energies, so that outputs can be compared with inputs
PLAIN = Normalization(0.0, 1.0, 1.0, padding=-9.0)
BATCH, FRAMES, BINS, SHORT = 64, 60, 32, 25


@pytest.fixture
def batch():
    """Windows, the second with only SHORT real frames; targets with one class per window; numbers of real frames."""
    features = torch.randn(BATCH, FRAMES, BINS, generator=torch.Generator().manual_seed(0))
    num_frames = all_frames(features)
    num_frames[1] = SHORT
    features[1, SHORT:] = PLAIN.padding
    return features, torch.eye(BATCH), num_frames


def windows_of(features, num_frames) -> Windows:
    windows = Windows.of(features[:, None], torch.eye(len(features)), num_frames)
    return windows._replace(values=windows.values.masked_fill(windows.padding(), -torch.inf))


def tensors(numbers):
    return type(numbers)(*(torch.as_tensor(np.asarray(one), dtype=torch.float32) for one in numbers))


def test_a_roll_is_undone_by_its_opposite_and_stays_within_the_sound(batch):
    features, targets, num_frames = batch
    roll = Roll(11, 5)
    drawn = numbers_of(roll, BATCH)
    found, same, frames = augmented(roll, PLAIN, features, targets, drawn, num_frames)
    frame, band = int(drawn.frames[0]), int(drawn.bins[0])
    torch.testing.assert_close(found[0], features[0].roll((frame, band), (0, 1)))
    frame, band = int(drawn.frames[1]), int(drawn.bins[1])
    torch.testing.assert_close(found[1, :SHORT], features[1, :SHORT].roll((frame, band), (0, 1)))
    back = augmented(roll, PLAIN, found, targets, RollNumbers(-drawn.frames, -drawn.bins), num_frames)[0]
    assert torch.equal(back, features) and not torch.equal(found, features)
    assert torch.equal(same, targets) and torch.equal(frames, num_frames)
    many = numbers_of(roll, 2000)
    assert set(many.frames) == set(range(-11, 12)) and set(many.bins) == set(range(-5, 6))


@pytest.mark.parametrize("kind", ["linear", "step"])
@pytest.mark.parametrize("num_bins", [128, 12])
def test_filter_augment_adds_a_curve_of_slopes_or_steps(kind, num_bins):
    step, (fewest, most, narrowest) = FilterAugment(6.0, kind), BANDS[kind]
    drawn = tensors(numbers_of(step, 400))
    curves_db = step.curve(drawn, num_bins).numpy() * NATURAL_DB
    assert curves_db.min() < -5 and curves_db.max() > 5 and abs(curves_db).max() <= 6
    assert set(drawn.count.int().tolist()) == set(range(fewest, most + 1))
    narrowest = min(narrowest, num_bins // most)
    for curve, count, edges, levels in zip(
        curves_db, drawn.count.int().tolist(), step._edges(drawn, num_bins).numpy(), drawn.levels.numpy(), strict=True
    ):
        levels, edges = levels * NATURAL_DB, edges[: count - 1]
        assert (np.diff([0, *edges, num_bins]) >= narrowest).all()
        if kind == "step":
            wanted = levels[np.searchsorted(edges, np.arange(num_bins), side="right")]
        else:
            wanted = np.interp(np.arange(num_bins), [0, *edges, num_bins - 1], levels[: count + 1])
            assert abs(np.diff(curve)).max() <= 12 / max(1, narrowest - 1) + 1e-3, "the curve has no jumps"
        np.testing.assert_allclose(curve, wanted, atol=1e-4)


def test_filter_augment_is_the_same_in_all_frames_and_channels(batch):
    features, targets, num_frames = batch
    both = torch.stack([features, features.flip(0)], dim=1)
    step = FilterAugment(6.0)
    drawn = numbers_of(step, BATCH)
    change = augmented(step, PLAIN, both, targets, drawn, all_frames(features))[0] - both
    wanted = step.curve(tensors(drawn), BINS)[:, None, None].expand_as(change)
    torch.testing.assert_close(change, wanted, rtol=1e-5, atol=1e-5)
    assert (augmented(step, PLAIN, features, targets, drawn, num_frames)[0][1, SHORT:] == PLAIN.padding).all()


def test_freq_mixstyle_gives_statistics_between_those_of_two_windows(batch):
    """Statistics are of real frames; the sound, its order in time and its labels stay the same."""
    features, targets, num_frames = batch
    features = features * torch.linspace(0.5, 3, BATCH)[:, None, None] + torch.linspace(-4, 4, BINS)
    step = FrequencyMixStyle(0.4, probability=0.75)
    drawn = tensors(numbers_of(step, BATCH))
    windows = windows_of(features, num_frames)
    found = step.apply(windows, drawn)
    partner, share = drawn.partner.long(), drawn.share.view(-1, 1, 1, 1)
    for after, before in zip(statistics(found), statistics(windows), strict=True):
        wanted = share * before + (1 - share) * before[partner]
        torch.testing.assert_close(after, wanted, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.targets, targets) and found.values[1, :, SHORT:].isneginf().all()
    alone = (drawn.share == 1).nonzero()[:, 0]
    assert 0 < len(alone) < BATCH // 2 and torch.equal(found.values[alone], windows.values[alone])
    own = (windows.values[0] - statistics(windows)[0][0]) / statistics(windows)[1][0]
    torch.testing.assert_close((found.values[0] - statistics(found)[0][0]) / statistics(found)[1][0], own)


def test_freq_mixstyle_is_finite_for_a_constant_band():
    features = torch.randn(8, FRAMES, BINS)
    features[:4, :, 3] = -9.0
    found = augmented(FrequencyMixStyle(0.4, 1.0), PLAIN, features)[0]
    assert found.isfinite().all() and found[:4, :, 3].std(dim=1).max() < 1e-3


@pytest.mark.parametrize("shape", ["rectangle", "time"])
def test_cutmix_mixes_labels_by_the_replaced_area_of_sound(batch, shape):
    """Each window has one value and one class, which shows where every pixel comes from."""
    _, targets, num_frames = batch
    features = torch.arange(float(BATCH))[:, None, None].repeat(1, FRAMES, BINS)
    features[1, SHORT:] = PLAIN.padding
    num_frames[5], features[5, 40:] = 40, PLAIN.padding
    step = CutMix(1.0, shape)
    shares = []
    for seed in range(8):
        found, labels, frames = augmented(step, PLAIN, features, targets, None, num_frames, seed)
        assert torch.equal(frames, num_frames)
        for window in range(BATCH):
            real, padding = found[window, : frames[window]].round(), found[window, frames[window] :]
            counted = torch.bincount(real.flatten().long(), minlength=BATCH) / real.numel()
            torch.testing.assert_close(labels[window], counted, rtol=1e-5, atol=1e-6)
            assert (padding == PLAIN.padding).all()
            changed = (real != window).float()
            rows, columns = changed.amax(1), changed.amax(0)
            assert torch.equal(changed, rows[:, None] * columns), "the change is one rectangle"
            assert shape == "rectangle" or not changed.any() or columns.all()
            shares.append(labels[window, window].item())
    assert np.histogram(shares, bins=4, range=(0, 1))[0].min() > len(shares) / 6, "shares are spread evenly"


def test_cutmix_of_partial_labels_keeps_what_is_known_of_both(batch):
    features, _, num_frames = batch
    targets = torch.tensor([[1.0, math.nan, 0.0, math.nan], [0.0, 1.0, math.nan, math.nan]]).repeat(BATCH // 2, 1)
    partner = np.arange(BATCH) ^ 1
    share = np.where(np.arange(BATCH) < 4, [0.75] * BATCH, 1.0)
    share[2] = 0.0
    zeros = np.zeros(BATCH)
    num_frames[:] = FRAMES
    drawn = CutMixNumbers(share, zeros, zeros, partner)
    found = augmented(CutMix(1.0, "time"), PLAIN, features, targets, drawn, num_frames)[1]
    nan = math.nan
    wanted = torch.tensor([[0.75, nan, nan, nan], [0.25, nan, nan, nan], [0.0, 1.0, nan, nan]])
    torch.testing.assert_close(found[:3], wanted, equal_nan=True)
    torch.testing.assert_close(found[4:], targets[4:], equal_nan=True)


def test_with_mixup_and_cutmix_each_window_gets_at_most_one():
    step = MixOrCut(Mixup(1.0, probability=0.5), CutMix(1.0, probability=0.3))
    drawn = numbers_of(step, 4000)
    is_mixed, is_cut = drawn.mixup_share < 1, drawn.cutmix_share < 1
    assert not (is_mixed & is_cut).any()
    assert is_mixed.mean() == pytest.approx(0.5, abs=0.03) and is_cut.mean() == pytest.approx(0.3, abs=0.03)
    count = 24
    features = torch.arange(float(count))[:, None, None].repeat(1, FRAMES, BINS)
    found, labels, _ = augmented(step, PLAIN, features, None, None, None, 1)
    assert (labels > 0).sum(dim=1).max() == 2, "no window has parts of three"
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(count))
    drawn = numbers_of(step, count, 1)
    cut = (drawn.cutmix_share < 1).nonzero()[0]
    assert len(cut) > 2
    for window in cut:
        assert set(found[window].unique().tolist()) <= {window, float(drawn.cutmix_partner[window])}


def test_cutout_hides_rectangles_of_sound_up_to_a_maximum_size(batch):
    features, targets, num_frames = batch
    for seed in range(6):
        found = augmented(Cutout(20, 8, count=1), PLAIN, features, targets, None, num_frames, seed)[0]
        hidden = found != features
        assert (found[hidden] == 0).all() and not hidden[1, SHORT:].any()
        rows, columns = hidden.any(dim=2), hidden.any(dim=1)
        assert torch.equal(hidden, rows[:, :, None] & columns[:, None])
        assert rows.sum(1).min() >= 1 and 16 < rows.sum(1).max() <= 20
        assert columns.sum(1).min() >= 1 and columns.sum(1).max() == 8
    several = augmented(Cutout(20, 8, count=4), PLAIN, features, targets, None, num_frames)[0] != features
    assert several.sum() > 2.5 * hidden.sum()
    many = [augmented(Cutout(20, 8, count=20), PLAIN, features, targets, None, num_frames, seed)[0] for seed in (0, 1)]
    assert (torch.cat(many) == 0).any(dim=0).all(), "every place can be hidden"


def test_cutout_uses_the_mean_of_inputs_that_are_not_centered(batch):
    features, targets, num_frames = batch[0] - 3.0, *batch[1:]
    found = augmented(Cutout(20, 8, 1, is_centered=False), PLAIN, features, targets, None, num_frames)[0]
    for window in (0, 1, 9):
        mean = features[window, : num_frames[window]].mean()
        hidden = found[window, : num_frames[window]] != features[window, : num_frames[window]]
        torch.testing.assert_close(found[window, : num_frames[window]][hidden], mean.expand(int(hidden.sum())))


def test_image_gain_and_noise_have_the_given_strength():
    features = torch.randn(400, FRAMES, BINS, generator=torch.Generator().manual_seed(0)) + 0.5
    ratio = (augmented(ImageChange(0.5, probability=0.5), PLAIN, features)[0] / features)[:, 0, 0]
    counts = {factor: (ratio - factor).abs().lt(1e-4).float().mean().item() for factor in (0.5, 1.0, 1.5)}
    assert counts == pytest.approx({0.5: 0.25, 1.0: 0.5, 1.5: 0.25}, abs=0.06)
    added = augmented(ImageChange(noise=0.1, probability=1.0), PLAIN, features)[0] - features
    assert added.mean().item() == pytest.approx(0, abs=1e-3) and added.std().item() == pytest.approx(0.1, abs=1e-3)
    fourth = (added / added.std()).pow(4).mean().item()
    assert fourth == pytest.approx(3, abs=0.1), "the kurtosis of a normal distribution"
    assert not torch.equal(added[0], added[1])
    drawn = numbers_of(ImageChange(0.5, 0.1, 0.6), 4000)
    is_louder, is_noisy = drawn.factor != 1, drawn.noise > 0
    assert not (is_louder & is_noisy).any()
    assert is_louder.mean() == pytest.approx(0.3, abs=0.03) and is_noisy.mean() == pytest.approx(0.3, abs=0.03)

from __future__ import annotations

import numpy as np
import pytest
import torch
from augmenting import all_frames, augmented, numbers_of, places
from transformers import ASTFeatureExtractor

from hf_audio.augment import (
    Compose,
    CutMix,
    Cutout,
    FilterAugment,
    FrequencyMixStyle,
    ImageChange,
    MixOrCut,
    Mixup,
    Normalization,
    Roll,
    SpecAugment,
    augmentation_for,
)
from hf_audio.augment.mixup import mixup_numbers
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank

MEAN, STD = -5.0, 3.5
NORMALIZATION = Normalization(MEAN, STD)
PADDING = -MEAN / (2 * STD)
BATCH, FRAMES, BINS = 64, 98, 32
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Features, of which the second window has only 40 real frames, multi-hot targets, and numbers of real frames."""
    features = torch.randn(BATCH, FRAMES, BINS, generator=generator()) / 2
    features[1, 40:] = PADDING
    num_frames = all_frames(features)
    num_frames[1] = 40
    return features, (torch.rand(BATCH, 5, generator=generator(1)) > 0.6).float(), num_frames


def masked(batch, longest: int, widest: int, seed: int = 0):
    features, targets, num_frames = batch
    return augmented(SpecAugment(longest, widest), NORMALIZATION, features, targets, None, num_frames, seed)


def test_masks_differ_between_windows_and_stay_within_their_limits(batch):
    features, targets, num_frames = batch
    found, same_targets, same_frames = masked(batch, 20, 6)
    assert torch.equal(same_targets, targets) and torch.equal(same_frames, num_frames)
    hidden = (found == 0) & (features != 0)
    assert torch.equal(found[~hidden], features[~hidden])
    frames, bins = hidden.all(dim=2), hidden[:, :40].all(dim=1)
    assert frames.sum(1).max() <= 40 and bins.sum(1).max() <= 12
    assert len({tuple(row.tolist()) for row in frames}) > BATCH // 2
    assert len({tuple(row.tolist()) for row in bins}) > BATCH // 2
    assert 8 < frames.sum(1).float().mean() < 20  # two masks of 0 to 20 frames, which can overlap


def test_any_place_can_be_masked(batch):
    hidden = torch.cat([masked(batch, 20, 6, seed)[0] == 0 for seed in range(30)])
    assert hidden.all(dim=2).any(dim=0).all() and hidden.all(dim=1).any(dim=0).all()


def test_masks_cover_sound_and_never_padding(batch):
    features, seen = batch[0], torch.zeros(40, dtype=torch.bool)
    for seed in range(20):
        found = masked(batch, 98, 0, seed)[0]
        assert torch.equal(found[1, 40:], features[1, 40:])
        seen |= (found[1, :40] == 0).all(dim=1)
    assert seen.all()


def mixed_by(share, partner, features, targets, num_frames=None, labels="interpolate"):
    drawn = mixup_numbers(share.numpy(), np.array(partner))
    return augmented(Mixup(1.0, labels), NORMALIZATION, features, targets, drawn, num_frames)


def test_mixed_features_equal_features_of_mixed_waveforms():
    fbank = KaldiFbank(num_mel_bins=BINS)
    random = generator()
    # Adding powers omits the cross term, which is zero on average for independent noise.
    waveforms = torch.randn(2, 16000 * 4, generator=random) * torch.tensor([[0.1], [0.02]])
    share = torch.tensor([0.8, 0.6])
    features = NORMALIZATION.apply(fbank(waveforms))
    mixed, targets, _ = mixed_by(share, [1, 0], features, torch.eye(2))
    sounds = share.sqrt()[:, None] * waveforms + (1 - share).sqrt()[:, None] * waveforms.flip(0)
    difference = (NORMALIZATION.undo(mixed) - fbank(sounds)).mean(dim=(1, 2))
    assert difference.abs().max() < 0.12  # in log energy; averaging log-mel values is off by more than 0.3
    torch.testing.assert_close(targets, torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    averaged = share[:, None, None] * features + (1 - share)[:, None, None] * features.flip(0)
    assert (NORMALIZATION.undo(averaged) - fbank(sounds)).mean(dim=(1, 2)).abs().max() > 0.3


def test_mixup_draws_a_share_and_another_window_for_each_window():
    drawn = numbers_of(Mixup(0.5), 1000)
    assert drawn.share.min() >= 0.5 and drawn.share.max() <= 1 and len(set(drawn.share.tolist())) > 900
    assert sorted(drawn.partner) == list(range(1000)) and (drawn.partner != np.arange(1000)).all()
    expected = torch.distributions.Beta(0.5, 0.5).sample((20000,))
    assert drawn.share.mean() == pytest.approx(torch.maximum(expected, 1 - expected).mean().item(), abs=0.02)


def test_mixed_labels_are_weighted_means_or_unions(batch):
    features, targets, num_frames = batch
    for labels in ("interpolate", "union"):
        drawn = numbers_of(Mixup(0.5, labels), BATCH)
        mixed = augmented(Mixup(0.5, labels), NORMALIZATION, features, targets, drawn, num_frames)[1]
        share, other = torch.from_numpy(drawn.share)[:, None], targets[drawn.partner]
        if labels == "interpolate":
            torch.testing.assert_close(mixed, share * targets + (1 - share) * other)
        else:
            heard = 1 - share >= 0.05
            assert torch.equal(mixed, torch.where(heard, torch.maximum(targets, other), targets))
            assert 0 < heard.sum() < BATCH


def test_padding_is_mixed_as_silence(batch):
    features, targets, num_frames = batch
    partner = np.arange(BATCH)
    partner[[0, 1]] = [1, 0]
    share = torch.full((BATCH,), 0.7)
    mixed, _, found_frames = mixed_by(share, partner, features, targets, num_frames)
    # after the end of the short window, the long one has 0.7 of its energy
    expected = NORMALIZATION.undo(features[0, 40:]) + torch.tensor(0.7).log()
    torch.testing.assert_close(NORMALIZATION.undo(mixed[0, 40:]), expected, rtol=1e-4, atol=1e-4)
    expected = NORMALIZATION.undo(features[0, 40:]) + torch.tensor(0.3).log()
    torch.testing.assert_close(NORMALIZATION.undo(mixed[1, 40:]), expected, rtol=1e-4, atol=1e-4)
    assert found_frames[:2].tolist() == [FRAMES, FRAMES]
    both_short = features.clone()
    both_short[0, 40:] = PADDING
    num_frames[0] = 40
    mixed, _, found_frames = mixed_by(share, partner, both_short, targets, num_frames)
    torch.testing.assert_close(mixed[:2, 40:], both_short[:2, 40:])
    assert found_frames[:2].tolist() == [40, 40]
    alone = mixed_by(torch.ones(BATCH), partner, features, targets, num_frames)
    torch.testing.assert_close(alone[0][2:], features[2:], rtol=1e-5, atol=1e-5)
    assert torch.equal(alone[1], targets) and torch.equal(alone[2], num_frames), "a partner with share 0 has no effect"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_draws_depend_only_on_places_in_the_run_on_every_device(batch, device, dtype):
    of_energies = (Roll(9, 3), FilterAugment(6.0), FilterAugment(6.0, "step"), FrequencyMixStyle(0.4))
    mixing = MixOrCut(Mixup(0.4, probability=0.5), CutMix(1.0, probability=0.5))
    steps = (*of_energies, mixing, ImageChange(0.5, 0.1), SpecAugment(20, 6), Cutout(20, 6))
    augment = Compose(steps, NORMALIZATION)
    features, rest = batch[0].to(dtype), batch[1:]
    expected = augment(features, *rest, augment.draw(places(BATCH, 3)))
    again = augment(features.to(device), *(one.to(device) for one in rest), augment.draw(places(BATCH, 3)))
    other = augment(features, *rest, augment.draw(places(BATCH, 4)))[0]
    for one, two in zip(expected, again, strict=True):
        assert two.dtype == one.dtype and two.device.type == device and two.isfinite().all()
        torch.testing.assert_close(one, two.cpu(), rtol=1e-2, atol=1e-2) if device != "cpu" else None
        assert device != "cpu" or torch.equal(one, two)
    assert not torch.equal(expected[0], other)
    assert torch.equal(features, batch[0].to(dtype))  # the batch is not modified


def test_mixup_applies_with_its_probability():
    share = numbers_of(Mixup(10.0, probability=0.25), 4000).share
    assert (share < 1).mean() == pytest.approx(0.25, abs=0.03)
    assert (numbers_of(Mixup(10.0), 4000).share < 1).all()
    assert (numbers_of(Mixup(10.0), 1).share == 1).all(), "a single window has no partner"


def test_settings_become_augmentations():
    extractor = ASTFeatureExtractor(mean=MEAN, std=STD)
    assert augmentation_for(AugmentConfig(), extractor) is None
    config = AugmentConfig(time_mask_s=0.25, frequency_mask_bins=8, mixup_alpha=0.3, mixup_labels="union")
    augment = augmentation_for(config, extractor)
    assert augment == Compose((Mixup(0.3, "union", 0.5), SpecAugment(25, 8)), NORMALIZATION)
    assert repr(augment) == repr(augmentation_for(config, extractor))  # a resumed run compares this text
    with pytest.raises(InputError, match=r"Unknown --mixup_labels 'onion': did you mean 'union'\?"):
        augmentation_for(AugmentConfig(mixup_alpha=0.3, mixup_labels="onion"), extractor)

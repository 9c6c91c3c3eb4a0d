from __future__ import annotations

import pytest
import torch
from transformers import ASTFeatureExtractor

from hf_audio.augment import Compose, Mixup, Normalisation, SpecAugment, augmentation_for
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.kinds.fbank import KaldiFbank

MEAN, STD = -5.0, 3.5
NORMALISATION = Normalisation(MEAN, STD)
PADDING = -MEAN / (2 * STD)
BATCH, FRAMES, BINS = 64, 98, 32
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Features of which the second has 40 real frames only, and multi-hot targets."""
    features = torch.randn(BATCH, FRAMES, BINS, generator=generator()) / 2
    features[1, 40:] = PADDING
    targets = (torch.rand(BATCH, 5, generator=generator(1)) > 0.6).float()
    return features, targets


def test_padding_is_what_the_stock_extractor_pads_with():
    extractor = ASTFeatureExtractor(max_length=98, num_mel_bins=32, mean=MEAN, std=STD)
    waveform = torch.randn(8000, generator=generator()) / 10
    features = torch.as_tensor(extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt").input_values)
    padding = Normalisation.of(extractor).is_padding(features)
    assert padding.sum() == 98 - 48 and not padding[0, :48].any()
    assert torch.equal(padding, Normalisation.of(extractor).is_padding(features.bfloat16()))


def test_masks_differ_between_samples_stay_within_their_limits_and_spare_the_rest(batch):
    features, targets = batch
    augment = SpecAugment(longest_time_mask_frames=20, widest_bin_mask_bins=6, normalisation=NORMALISATION)
    masked, same_targets = augment.apply(features, targets, augment.draw(BATCH, generator()))
    assert torch.equal(same_targets, targets)
    hidden = (masked == 0) & (features != 0)
    assert torch.equal(masked[~hidden], features[~hidden])
    frames, bins = hidden.all(dim=2), hidden.all(dim=1)
    assert frames.sum(1).max() <= 40 and bins.sum(1).max() <= 12
    assert len({tuple(row.tolist()) for row in frames}) > BATCH // 2
    assert len({tuple(row.tolist()) for row in bins}) > BATCH // 2
    assert 8 < frames.sum(1).float().mean() < 20  # two masks of 0 to 20 frames, overlapping at times


def test_any_place_can_be_masked(batch):
    features, targets = batch
    augment = SpecAugment(longest_time_mask_frames=20, widest_bin_mask_bins=6, normalisation=NORMALISATION)
    hidden = [augment.apply(features, targets, augment.draw(BATCH, generator(seed)))[0] == 0 for seed in range(30)]
    hidden = torch.cat(hidden)
    assert hidden.all(dim=2).any(dim=0).all() and hidden.all(dim=1).any(dim=0).all()


def test_masks_lie_on_sound_and_leave_padding_alone(batch):
    features, targets = batch
    augment = SpecAugment(longest_time_mask_frames=98, widest_bin_mask_bins=0, normalisation=NORMALISATION)
    seen = torch.zeros(40, dtype=torch.bool)
    for seed in range(20):
        masked, _ = augment.apply(features, targets, augment.draw(BATCH, generator(seed)))
        assert torch.equal(masked[1, 40:], features[1, 40:])
        seen |= (masked[1, :40] == 0).all(dim=1)
    assert seen.all()


def test_mixing_features_is_mixing_waveforms():
    fbank = KaldiFbank(num_mel_bins=BINS)
    random = generator()
    # In independent noise the cross term that the power domain leaves out is zero on average.
    waveforms = torch.randn(2, 16000 * 4, generator=random) * torch.tensor([[0.1], [0.02]])
    share = torch.tensor([0.8, 0.6])
    mixup = Mixup(1.0, NORMALISATION)
    features = NORMALISATION.apply(fbank(waveforms))
    drawn = type(mixup.draw(2, random))(share, torch.tensor([1, 0]))
    mixed, targets = mixup.apply(features, torch.eye(2), drawn)
    sounds = share.sqrt()[:, None] * waveforms + (1 - share).sqrt()[:, None] * waveforms.flip(0)
    difference = (NORMALISATION.undo(mixed) - fbank(sounds)).mean(dim=(1, 2))
    assert difference.abs().max() < 0.12  # in log energy; averaging log-mel values instead is off by 0.3 and more
    torch.testing.assert_close(targets, torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    averaged = share[:, None, None] * features + (1 - share)[:, None, None] * features.flip(0)
    assert (NORMALISATION.undo(averaged) - fbank(sounds)).mean(dim=(1, 2)).abs().max() > 0.3


def test_mixing_draws_a_share_for_each_sample(batch):
    mixup = Mixup(0.5, NORMALISATION)
    share, partner = mixup.draw(1000, generator())
    assert share.min() >= 0.5 and share.max() <= 1 and share.unique().numel() > 900
    assert torch.equal(partner.sort().values, torch.arange(1000))
    expected = torch.distributions.Beta(0.5, 0.5).sample((20000,))
    assert share.mean() == pytest.approx(torch.maximum(expected, 1 - expected).mean().item(), abs=0.02)


def test_mixed_labels_are_shares_or_a_union(batch):
    features, targets = batch
    for labels in ("interpolate", "union"):
        mixup = Mixup(0.5, NORMALISATION, labels)
        drawn = mixup.draw(BATCH, generator())
        _, mixed = mixup.apply(features, targets, drawn)
        share, other = drawn.share[:, None], targets[drawn.partner]
        if labels == "interpolate":
            torch.testing.assert_close(mixed, share * targets + (1 - share) * other)
        else:
            heard = 1 - share >= 0.05
            assert torch.equal(mixed, torch.where(heard, torch.maximum(targets, other), targets))
            assert 0 < heard.sum() < BATCH


def test_padding_is_silence_to_mixing(batch):
    features, targets = batch
    mixup = Mixup(1.0, NORMALISATION)
    drawn = mixup.draw(BATCH, generator())
    partner = torch.arange(BATCH)
    partner[[0, 1]] = torch.tensor([1, 0])
    share = torch.full((BATCH,), 0.7)
    mixed, _ = mixup.apply(features, targets, type(drawn)(share, partner))
    # the long one goes on alone, 0.7 of its energy, where the short one has ended
    expected = NORMALISATION.undo(features[0, 40:]) + torch.tensor(0.7).log()
    torch.testing.assert_close(NORMALISATION.undo(mixed[0, 40:]), expected, rtol=1e-4, atol=1e-4)
    expected = NORMALISATION.undo(features[0, 40:]) + torch.tensor(0.3).log()
    torch.testing.assert_close(NORMALISATION.undo(mixed[1, 40:]), expected, rtol=1e-4, atol=1e-4)
    both_short = features.clone()
    both_short[0, 40:] = PADDING
    mixed, _ = mixup.apply(both_short, targets, type(drawn)(share, partner))
    assert torch.equal(mixed[:2, 40:], both_short[:2, 40:])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_generator_decides_everything_on_every_device(batch, device, dtype):
    augment = Compose((Mixup(0.4, NORMALISATION), SpecAugment(20, 6, NORMALISATION)))
    features, targets = batch[0].to(dtype), batch[1]
    expected = augment(features, targets, generator(3))
    again = augment(features.to(device), targets.to(device), generator(3))
    other, _ = augment(features, targets, generator(4))
    for one, two in zip(expected, again, strict=True):
        assert two.dtype == one.dtype and two.device.type == device and two.isfinite().all()
        torch.testing.assert_close(one, two.cpu(), rtol=1e-2, atol=1e-2) if device != "cpu" else None
        assert device != "cpu" or torch.equal(one, two)
    assert not torch.equal(expected[0], other)
    assert torch.equal(features, batch[0].to(dtype))  # the batch itself is left as it was


def test_mixup_leaves_alone_whom_probability_spares():
    drawn = Mixup(10.0, NORMALISATION, probability=0.25).draw(4000, torch.Generator().manual_seed(0))
    mixed = (drawn.share < 1).float().mean().item()
    assert mixed == pytest.approx(0.25, abs=0.03)
    assert (Mixup(10.0, NORMALISATION).draw(4000, torch.Generator().manual_seed(0)).share < 1).all()


def test_a_recipe_gets_what_its_settings_ask_for():
    extractor = ASTFeatureExtractor(mean=MEAN, std=STD)
    assert augmentation_for(AugmentConfig(), extractor) is None
    config = AugmentConfig(time_mask_s=0.25, frequency_mask_bins=8, mixup_alpha=0.3, mixup_labels="union")
    augment = augmentation_for(config, extractor)
    assert augment == Compose((Mixup(0.3, NORMALISATION, "union", 0.5), SpecAugment(25, 8, NORMALISATION)))
    assert repr(augment) == repr(augmentation_for(config, extractor))  # by which a resumed run knows it again
    with pytest.raises(InputError, match=r"Unknown mixup_labels 'onion': did you mean 'union'\?"):
        augmentation_for(AugmentConfig(mixup_alpha=0.3, mixup_labels="onion"), extractor)

"""Mixtures on the fly: energies add up, labels join, nothing wraps around, and a generator decides everything."""

from __future__ import annotations

import math

import pytest
import torch
from training_run import build_tiny_features, tiny_model
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio import InputError, load_features
from hf_audio.augment import Combine, Compose, Normalisation, SpecAugment, augmentation_for
from hf_audio.augment.combine import CombineParameters
from hf_audio.config import AugmentConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.kinds.fbank import KaldiFbank
from hf_audio.training import AudioTrainer, Classification, training_arguments

MEAN, STD = -5.0, 3.5
NORMALISATION = Normalisation(MEAN, STD)
PADDING = -MEAN / (2 * STD)
BATCH, FRAMES, BINS, CLASSES = 24, 60, 16, 5
NAN = math.nan
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Windows, the second with 20 real frames only, with one label each."""
    features = torch.randn(BATCH, FRAMES, BINS, generator=generator()) / 2
    features[1, 20:] = PADDING
    return features, torch.eye(CLASSES)[torch.arange(BATCH) % CLASSES]


def pairs(partners, offsets=0.0, levels=0.0, count=1) -> CombineParameters:
    """Every window with one partner."""
    size = len(partners)
    numbers = (torch.full((size, 1), float(number)) for number in (offsets, levels))
    return CombineParameters(torch.tensor(partners)[:, None], torch.full((size,), count), *numbers)


def energies(features):
    return NORMALISATION.undo(features).exp()


def test_combining_features_is_adding_waveforms():
    fbank = KaldiFbank(num_mel_bins=32)
    waveforms = torch.randn(2, 16000 * 4, generator=generator()) * torch.tensor([[0.1], [0.01]])
    features = NORMALISATION.apply(fbank(waveforms))
    mixed, targets = Combine(NORMALISATION, 1.0, level_db=6.0).apply(features, torch.eye(2), pairs([1, 0], levels=0.5))
    levels = waveforms.square().mean(dim=1).sqrt()
    quieter = 10 ** (-3 / 20)
    sounds = torch.stack([
        waveforms[0] + quieter * waveforms[1] * levels[0] / levels[1],
        waveforms[1] + quieter * waveforms[0] * levels[1] / levels[0],
    ])  # fmt: skip
    sounds = sounds / (1 + quieter**2) ** 0.5  # as loud as each was alone
    difference = (NORMALISATION.undo(mixed) - fbank(sounds)).mean(dim=(1, 2))
    assert difference.abs().max() < 0.12
    assert torch.equal(targets, torch.ones(2, 2))


def test_three_energies_add_up(batch):
    features, targets = batch[0][[0, 2, 3]], batch[1][[0, 2, 3]]
    partners = torch.tensor([[1, 2], [2, 0], [0, 1]])
    drawn = CombineParameters(partners, torch.tensor([2, 1, 0]), torch.zeros(3, 2), torch.zeros(3, 2))
    mixed, joined = Combine(NORMALISATION, 1.0).apply(features, targets, drawn)
    alone = energies(features) / energies(features).mean(dim=(1, 2), keepdim=True)
    found = energies(mixed) / energies(features).mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(found[0], alone.sum(dim=0) / 3)
    torch.testing.assert_close(found[1], (alone[1] + alone[2]) / 2)
    assert torch.equal(mixed[2], features[2]) and torch.equal(joined[2], targets[2])
    assert joined[0].sum() == 3 and joined[1].sum() == 2


def test_a_partner_is_shifted_and_does_not_wrap_around(batch):
    features = batch[0][[0, 2]].clone()
    features[1, :, :] = -3.0
    features[1, 10:13] = 3.0  # three loud frames
    later, _ = Combine(NORMALISATION, 1.0, longest_offset=20).apply(features, batch[1][:2], pairs([1, 0], 0.999))
    added = energies(later[0]) / energies(later[0]).sum() - energies(features[0]) / energies(features[0]).sum()
    loudest = added.mean(dim=1).topk(3).indices
    assert sorted(loudest.tolist()) == [30, 31, 32]
    ratio = energies(later[0, :20]) / energies(features[0, :20])
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))  # nothing came in from the end
    earlier, _ = Combine(NORMALISATION, 1.0, longest_offset=20).apply(features, batch[1][:2], pairs([1, 0], -0.999))
    ratio = energies(earlier[0, 40:]) / energies(features[0, 40:])
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))


@pytest.mark.parametrize("offset", [-0.999, 0.0, 0.999])
def test_padding_is_silence_and_no_gap_arises_in_a_short_window(batch, offset):
    features, targets = batch[0][[0, 1]], batch[1][[0, 1]]
    combine = Combine(NORMALISATION, 1.0, longest_offset=1000)
    mixed, joined = combine.apply(features, targets, pairs([1, 0], offset))
    assert not NORMALISATION.is_padding(mixed)[0].any()
    padding = NORMALISATION.is_padding(mixed)[1]
    assert padding.sum() == (30 if offset < 0 else 0)  # half a window of the long one, moved forwards
    real = energies(mixed[1])[~padding]
    assert real.isfinite().all() and not ((mixed[1, ~padding] - PADDING).abs() < 1e-4).all(dim=1).any()
    assert torch.equal(joined, torch.maximum(targets, targets.flip(0)))
    # of the short one at least half is heard, however far it was to move forwards
    if offset < 0:
        assert not torch.allclose(mixed[0, :10] - features[0, :10], mixed[0, 20:30] - features[0, 20:30], atol=1e-3)


@pytest.mark.parametrize("normalisation", [None, Normalisation(0.0, 1.0, 1.0, 1.0, padding=-100.0)], ids=["wave", "dB"])
def test_a_window_without_sound_stays_as_it_is_and_joins_no_other(normalisation):
    silence = 0.0 if normalisation is None else normalisation.padding_value
    features = torch.randn(3, FRAMES, BINS, generator=generator()) - (silence < 0) * 40
    features = features[:, :, 0] if normalisation is None else features
    features[1] = silence
    combine, targets = Combine(normalisation, 1.0), torch.eye(3)
    mixed, joined = combine.apply(features, targets, pairs([2, 0, 1]))
    assert torch.equal(mixed[1:], features[1:]) and torch.equal(joined[1:], targets[1:])
    assert mixed[0].isfinite().all() and not torch.equal(mixed[0], features[0]) and joined[0].tolist() == [1, 0, 1]


def test_labels_join_as_far_as_they_are_known_and_no_window_gets_too_many():
    targets = torch.tensor([[1, 0, NAN, 0], [0, NAN, 1, 0], [NAN, 0, NAN, NAN], [1, 1, 0, 1]])
    features = torch.randn(4, FRAMES, BINS, generator=generator())
    _, joined = Combine(NORMALISATION, 1.0, most=3).apply(features, targets, pairs([1, 2, 0, 0]))
    expected = torch.tensor([[1, NAN, 1, 0], [NAN, NAN, 1, NAN], [1, 0, NAN, NAN], [1, 1, NAN, 1]])
    torch.testing.assert_close(joined, expected, equal_nan=True)
    mixed, joined = Combine(NORMALISATION, 1.0, most=3).apply(features, targets, pairs([3, 3, 3, 1]))
    assert torch.equal(mixed[1], features[1]) and torch.equal(mixed[3], features[3]), "four classes are too many"
    torch.testing.assert_close(joined[[1, 3]], targets[[1, 3]], equal_nan=True)
    assert not torch.equal(mixed[0], features[0]) and not torch.equal(mixed[2], features[2])


def test_partners_are_different_ones_and_probability_decides():
    combine = Combine(NORMALISATION, 0.3, most=4)
    drawn = combine.draw(200, generator())
    everyone = torch.cat([torch.arange(200)[:, None], drawn.partners], dim=1)
    assert all(len(set(row)) == 4 for row in everyone.tolist())
    assert (drawn.count > 0).float().mean().item() == pytest.approx(0.3, abs=0.1)
    assert set(drawn.count.tolist()) == {0, 1, 2, 3}
    features, targets = torch.zeros(1, FRAMES, BINS), torch.ones(1, CLASSES)
    alone, _ = combine.apply(features, targets, combine.draw(1, generator()))
    assert torch.equal(alone, features)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [None, 2])
def test_a_generator_decides_everything_on_every_device(batch, device, dtype, channels):
    features = batch[0].to(dtype)
    if channels:
        features = torch.stack([features, features.flip(2)], dim=1)
    augment = Compose((Combine(NORMALISATION, 0.7, longest_offset=20), SpecAugment(9, 4, NORMALISATION)))
    before = features.clone()
    one, two = (augment(features.to(device), batch[1].to(device), generator(3)) for _ in range(2))
    other, _ = augment(features.to(device), batch[1].to(device), generator(4))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and not torch.equal(one[0], other)
    assert one[0].dtype == dtype and one[0].isfinite().all() and one[0].shape == features.shape
    assert torch.equal(features, before)
    torch.testing.assert_close(one[0].cpu(), augment(features, batch[1], generator(3))[0], rtol=1e-2, atol=1e-2)


def test_waveforms_are_summed_at_one_level_and_end_where_they_did():
    waveforms = torch.randn(2, 4000, generator=generator()) * torch.tensor([[1.0], [0.1]])
    waveforms[1, 1000:] = 0.0  # padding
    combine = Combine(None, 1.0, longest_offset=500, level_db=6.0)
    mixed, joined = combine.apply(waveforms, torch.eye(2), pairs([1, 0], offsets=0.999, levels=0.5))
    rms = [waveforms[0].square().mean().sqrt(), waveforms[1, :1000].square().mean().sqrt()]
    expected = waveforms[0].clone()
    expected[500:1500] += 10 ** (-3 / 20) * waveforms[1, :1000] * rms[0] / rms[1]
    torch.testing.assert_close(mixed[0], expected * rms[0] / expected.square().mean().sqrt())
    assert (mixed[1, 1000:] == 0).all(), "the attention mask says that it ends there"
    assert mixed[1, :1000].square().mean().sqrt() == pytest.approx(rms[1].item(), rel=1e-4)
    assert torch.equal(joined, torch.ones(2, 2))


def test_a_recipe_gets_what_its_settings_ask_for():
    config = AugmentConfig(combine_probability=0.5, combine_offset_s=0.4, combine_most=3)
    normalisation = Normalisation.of(ASTFeatureExtractor())
    assert augmentation_for(config, ASTFeatureExtractor()) == Compose((Combine(normalisation, 0.5, 3, 40),))
    waveform = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    assert augmentation_for(config, waveform) == Compose((Combine(None, 0.5, 3, 6400),))
    assert augmentation_for(AugmentConfig(), waveform) is None
    with pytest.raises(InputError, match="--gain_db augments log-mel"):
        augmentation_for(AugmentConfig(combine_probability=0.5, gain_db=3.0), waveform)
    with pytest.raises(InputError, match=r"--combine_probability joins labels, but each clip has exactly one class"):
        augmentation_for(config, ASTFeatureExtractor(), LabelSpace(("a", "b"), SINGLE_LABEL))
    assert augmentation_for(config, ASTFeatureExtractor(), LabelSpace(("a", "b"), MULTI_LABEL)) is not None
    with pytest.raises(InputError, match="--combine_most 1 combines nothing"):
        augmentation_for(AugmentConfig(combine_probability=0.5, combine_most=1), waveform)
    with pytest.raises(InputError, match="--combine_probability needs the energies"):
        augmentation_for(config, SpectrogramFeatureExtractor(normalisation="clip"))


class Witness:
    """Notes what an augmentation made of each batch; gives up at the given one."""

    def __init__(self, augment: Compose, dies_at: int | None = None) -> None:
        self.augment, self.dies_at, self.seen = augment, dies_at, []

    def __call__(self, features, targets, random):
        if len(self.seen) == self.dies_at:
            raise KeyboardInterrupt
        features, targets = self.augment(features, targets, random)
        self.seen.append((round(features.double().sum().item(), 4), targets.sum(dim=1).tolist()))
        return features, targets


def test_mixtures_are_the_same_again_in_another_and_in_a_resumed_run_and_new_in_every_epoch(tmp_path):
    features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL, {"train": 12, "validation": 3}))
    combine = Compose((Combine(Normalisation.of(features.extractor), 0.8, 3, 10),))

    def run(folder, dies_at=None):
        witness = Witness(combine, dies_at)
        settings = {"num_train_epochs": 3, "per_device_train_batch_size": 8, "use_cpu": True, "report_to": "none"}
        arguments = training_arguments(tmp_path / folder, **settings)
        trainer = AudioTrainer(tiny_model(features), arguments, Classification(features, augment=witness))
        if dies_at is None:
            trainer.train_resumable()
        else:
            with pytest.raises(KeyboardInterrupt):
                trainer.train_resumable()
        return witness.seen

    whole = run("whole")
    an_epoch = len(whole) // 3
    assert len({str(one) for one in whole}) == len(whole) == 3 * an_epoch
    assert run("killed", dies_at=an_epoch + 1) == whole[: an_epoch + 1]
    assert run("killed") == whole[an_epoch:], "from the last checkpoint on"

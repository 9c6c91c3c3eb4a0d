"""Batch mixing: energies are added, labels are joined, shifts do not wrap around, and draws are reproducible."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from augmenting import all_frames, augmented, numbers_of, places
from training_run import build_tiny_features, tiny_model
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio import InputError, load_features
from hf_audio.augment import BatchMix, Compose, Normalization, SpecAugment, augmentation_for
from hf_audio.augment.batch_mix import BatchMixNumbers
from hf_audio.augment.energies import NATURAL_DB
from hf_audio.config import AugmentConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.training import AudioTrainer, Classification, training_arguments

MEAN, STD = -5.0, 3.5
NORMALIZATION = Normalization(MEAN, STD)
PADDING = -MEAN / (2 * STD)
BATCH, FRAMES, BINS, CLASSES = 24, 60, 16, 5
NAN = math.nan
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Windows with one label each. The second has only 20 real frames."""
    features = torch.randn(BATCH, FRAMES, BINS, generator=generator()) / 2
    features[1, 20:] = PADDING
    num_frames = all_frames(features)
    num_frames[1] = 20
    return features, torch.eye(CLASSES)[torch.arange(BATCH) % CLASSES], num_frames


def pairs(partners, offset=0.0, drop_db=0.0, count=1) -> BatchMixNumbers:
    """Every window with one partner."""
    size = len(partners)
    numbers = (np.full((size, 1), float(number)) for number in (offset, drop_db / NATURAL_DB))
    return BatchMixNumbers(np.array(partners)[:, None], np.full(size, count), *numbers)


def combined(features, targets, drawn, num_frames=None, **settings):
    return augmented(BatchMix(1.0, **settings), NORMALIZATION, features, targets, drawn, num_frames)


def energies(features):
    return NORMALIZATION.undo(features).exp()


def test_combined_features_equal_features_of_added_waveforms():
    fbank = KaldiFbank(num_mel_bins=32)
    waveforms = torch.randn(2, 16000 * 4, generator=generator()) * torch.tensor([[0.1], [0.01]])
    features = NORMALIZATION.apply(fbank(waveforms))
    mixed, targets, _ = combined(features, torch.eye(2), pairs([1, 0], drop_db=3.0))
    levels = waveforms.square().mean(dim=1).sqrt()
    quieter = 10 ** (-3 / 20)
    sounds = torch.stack([
        waveforms[0] + quieter * waveforms[1] * levels[0] / levels[1],
        waveforms[1] + quieter * waveforms[0] * levels[1] / levels[0],
    ])  # fmt: skip
    sounds = sounds / (1 + quieter**2) ** 0.5  # keeps the loudness of one window
    difference = (NORMALIZATION.undo(mixed) - fbank(sounds)).mean(dim=(1, 2))
    assert difference.abs().max() < 0.12
    assert torch.equal(targets, torch.ones(2, 2))


def test_three_energies_add_up(batch):
    features, targets = batch[0][[0, 2, 3]], batch[1][[0, 2, 3]]
    partners, zeros = np.array([[1, 2], [2, 0], [0, 1]]), np.zeros((3, 2))
    drawn = BatchMixNumbers(partners, np.array([2, 1, 0]), zeros, zeros)
    mixed, joined, _ = combined(features, targets, drawn)
    alone = energies(features) / energies(features).mean(dim=(1, 2), keepdim=True)
    found = energies(mixed) / energies(features).mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(found[0], alone.sum(dim=0) / 3)
    torch.testing.assert_close(found[1], (alone[1] + alone[2]) / 2)
    torch.testing.assert_close(mixed[2], features[2], rtol=1e-5, atol=1e-5)
    assert torch.equal(joined[2], targets[2])
    assert joined[0].sum() == 3 and joined[1].sum() == 2


def test_a_partner_is_shifted_and_does_not_wrap_around(batch):
    features = batch[0][[0, 2]].clone()
    features[1, :, :] = -3.0
    features[1, 10:13] = 3.0  # three loud frames
    later = combined(features, batch[1][:2], pairs([1, 0], 0.999), longest_offset=20)[0]
    added = energies(later[0]) / energies(later[0]).sum() - energies(features[0]) / energies(features[0]).sum()
    loudest = added.mean(dim=1).topk(3).indices
    assert sorted(loudest.tolist()) == [30, 31, 32]
    ratio = energies(later[0, :20]) / energies(features[0, :20])
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))  # nothing wraps around
    earlier = combined(features, batch[1][:2], pairs([1, 0], -0.999), longest_offset=20)[0]
    ratio = energies(earlier[0, 40:]) / energies(features[0, 40:])
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))


@pytest.mark.parametrize("offset", [-0.999, 0.0, 0.999])
def test_padding_is_silence_and_a_short_window_gets_no_gap(batch, offset):
    features, targets, num_frames = (one[[0, 1]] for one in batch)
    mixed, joined, found_frames = combined(features, targets, pairs([1, 0], offset), num_frames, longest_offset=1000)
    # a shift moves the long window forwards by at most half of it
    assert found_frames.tolist() == [FRAMES, 30 if offset < 0 else FRAMES]
    padding = torch.arange(FRAMES) >= found_frames[1]
    assert (mixed[1, padding] == NORMALIZATION.padding_value).all()
    real = energies(mixed[1])[~padding]
    assert real.isfinite().all() and not ((mixed[1, ~padding] - PADDING).abs() < 1e-4).all(dim=1).any()
    assert torch.equal(joined, torch.maximum(targets, targets.flip(0)))
    # at least half of the short window remains, whatever the requested shift
    if offset < 0:
        assert not torch.allclose(mixed[0, :10] - features[0, :10], mixed[0, 20:30] - features[0, 20:30], atol=1e-3)


@pytest.mark.parametrize("normalization", [None, Normalization(0.0, 1.0, 1.0, 1.0, padding=-100.0)], ids=["wave", "dB"])
def test_silent_windows_are_neither_changed_nor_added_to_others(normalization):
    features = torch.randn(3, FRAMES, BINS, generator=generator()) - (normalization is not None) * 40
    features = features[:, :, 0] if normalization is None else features
    features[1] = 0.0 if normalization is None else -400.0
    targets = torch.eye(3)
    mixed, joined, _ = augmented(BatchMix(1.0), normalization, features, targets, pairs([2, 0, 1]))
    torch.testing.assert_close(mixed[1:], features[1:], rtol=1e-5, atol=1e-5)
    assert torch.equal(joined[1:], targets[1:])
    assert mixed[0].isfinite().all() and not torch.allclose(mixed[0], features[0]) and joined[0].tolist() == [1, 0, 1]


def test_known_labels_are_joined_up_to_their_maximum_number():
    targets = torch.tensor([[1, 0, NAN, 0], [0, NAN, 1, 0], [NAN, 0, NAN, NAN], [1, 1, 0, 1]])
    features = torch.randn(4, FRAMES, BINS, generator=generator())
    joined = combined(features, targets, pairs([1, 2, 0, 0]), most=3)[1]
    expected = torch.tensor([[1, NAN, 1, 0], [NAN, NAN, 1, NAN], [1, 0, NAN, NAN], [1, 1, NAN, 1]])
    torch.testing.assert_close(joined, expected, equal_nan=True)
    mixed, joined, _ = combined(features, targets, pairs([3, 3, 3, 1]), most=3)
    is_mixed = (mixed - features).abs().amax(dim=(1, 2)) > 1e-3
    assert is_mixed.tolist() == [True, False, True, False], "four classes exceed the maximum"
    torch.testing.assert_close(joined[[1, 3]], targets[[1, 3]], equal_nan=True)


def test_partners_are_distinct_and_mixing_applies_with_its_probability():
    drawn = numbers_of(BatchMix(0.3, most=4), 200)
    everyone = np.concatenate([np.arange(200)[:, None], drawn.partners], axis=1)
    assert all(len(set(row)) == 4 for row in everyone.tolist())
    assert (drawn.count > 0).mean() == pytest.approx(0.3, abs=0.1)
    assert set(drawn.count.tolist()) == {0, 1, 2, 3}
    features = torch.zeros(1, FRAMES, BINS)
    alone = augmented(BatchMix(1.0), NORMALIZATION, features, torch.ones(1, CLASSES))[0]
    torch.testing.assert_close(alone, features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [None, 2])
def test_draws_depend_only_on_places_in_the_run_on_every_device(batch, device, dtype, channels):
    features = batch[0].to(dtype)
    if channels:
        features = torch.stack([features, features.flip(2)], dim=1)
    augment = Compose((BatchMix(0.7, longest_offset=20), SpecAugment(9, 4)), NORMALIZATION)
    before, here = features.clone(), [one.to(device) for one in (features, *batch[1:])]
    one, two = (augment(*here, augment.draw(places(BATCH, 3))) for _ in range(2))
    other = augment(*here, augment.draw(places(BATCH, 4)))[0]
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and not torch.equal(one[0], other)
    assert one[0].dtype == dtype and one[0].isfinite().all() and one[0].shape == features.shape
    assert torch.equal(features, before)
    on_cpu = augment(features, *batch[1:], augment.draw(places(BATCH, 3)))[0]
    torch.testing.assert_close(one[0].cpu(), on_cpu, rtol=1e-2, atol=1e-2)


def test_waveforms_are_added_at_equal_level_and_keep_their_lengths():
    waveforms = torch.randn(2, 4000, generator=generator()) * torch.tensor([[1.0], [0.1]])
    waveforms[1, 1000:] = 0.0  # padding
    combine, drawn = BatchMix(1.0, longest_offset=500), pairs([1, 0], 0.999, drop_db=3.0)
    mixed, joined, _ = augmented(combine, None, waveforms, torch.eye(2), drawn, torch.tensor([4000, 1000]))
    rms = [waveforms[0].square().mean().sqrt(), waveforms[1, :1000].square().mean().sqrt()]
    expected = waveforms[0].clone()
    expected[500:1500] += 10 ** (-3 / 20) * waveforms[1, :1000] * rms[0] / rms[1]
    torch.testing.assert_close(mixed[0], expected * rms[0] / expected.square().mean().sqrt())
    assert (mixed[1, 1000:] == 0).all(), "padding of the attention mask stays silent"
    assert mixed[1, :1000].square().mean().sqrt() == pytest.approx(rms[1].item(), rel=1e-4)
    assert torch.equal(joined, torch.ones(2, 2))


def test_settings_become_batch_mixing():
    config = AugmentConfig(batch_mix_probability=0.5, batch_mix_offset_s=0.4, batch_mix_max_windows=3)
    normalization = Normalization.of(ASTFeatureExtractor())
    assert augmentation_for(config, ASTFeatureExtractor()) == Compose((BatchMix(0.5, 3, 40),), normalization)
    waveform = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    assert augmentation_for(config, waveform) == Compose((BatchMix(0.5, 3, 6400),), None)
    assert augmentation_for(AugmentConfig(), waveform) is None
    with pytest.raises(InputError, match="--gain_db augments log-mel"):
        augmentation_for(AugmentConfig(batch_mix_probability=0.5, gain_db=3.0), waveform)
    with pytest.raises(
        InputError, match=r"--batch_mix_probability combines labels, but each clip has exactly one class"
    ):
        augmentation_for(config, ASTFeatureExtractor(), LabelSpace(("a", "b"), SINGLE_LABEL))
    assert augmentation_for(config, ASTFeatureExtractor(), LabelSpace(("a", "b"), MULTI_LABEL)) is not None
    with pytest.raises(InputError, match="--batch_mix_max_windows must be a number, between 2 and"):
        augmentation_for(AugmentConfig(batch_mix_probability=0.5, batch_mix_max_windows=1), waveform)
    with pytest.raises(InputError, match="--batch_mix_probability needs the energies"):
        augmentation_for(config, SpectrogramFeatureExtractor(normalization="clip"))


class Witness:
    """Records an augmentation's output for each batch, and interrupts training at a given one."""

    def __init__(self, augment: Compose, dies_at: int | None = None) -> None:
        self.augment, self.dies_at, self.seen = augment, dies_at, []

    def draw(self, places):
        return self.augment.draw(places)

    def __call__(self, features, targets, num_frames, draws):
        if len(self.seen) == self.dies_at:
            raise KeyboardInterrupt
        features, targets, num_frames = self.augment(features, targets, num_frames, draws)
        self.seen.append((round(features.double().sum().item(), 4), targets.sum(dim=1).tolist()))
        return features, targets, num_frames


def test_mixtures_differ_between_epochs_and_equal_those_of_a_resumed_run(tmp_path):
    features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL, {"train": 12, "validation": 3}))
    combine = Compose((BatchMix(0.8, 3, 10),), Normalization.of(features.extractor))

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
    assert run("killed") == whole[an_epoch:], "resumed at the last checkpoint"

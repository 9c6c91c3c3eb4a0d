"""Augmentation of one- and multi-channel spectrograms in decibels: units, padding, and invalid settings."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from augmenting import augmented, numbers_of, places

from hf_audio.augment import (
    CutMix,
    Cutout,
    FilterAugment,
    FrequencyMixStyle,
    Mixup,
    Normalization,
    Recording,
    Roll,
    SpecAugment,
    Warp,
    augmentation_for,
    spectrogram_steps,
)
from hf_audio.augment.energies import NATURAL_DB
from hf_audio.augment.mixup import mixup_numbers
from hf_audio.augment.warp import WarpNumbers
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.extractors.spectrogram import FLOOR_DB, SpectrogramFeatureExtractor

RATE, FRAMES, BINS, REAL = 16_000, 64, 32, 40
MEAN, STD = [-35.0, -45.0, -20.0], [12.0, 20.0, 30.0]


def extractor(*channels: str, **settings) -> SpectrogramFeatureExtractor:
    sizes = {"sampling_rate": RATE, "num_mel_bins": BINS, "n_fft": 1024, "hop_samples": 256, "max_length": FRAMES}
    if settings.get("normalization", "dataset") == "dataset":
        settings |= {"mean": MEAN[: len(channels)], "std": STD[: len(channels)]}
    return SpectrogramFeatureExtractor(channels=channels, **sizes, **settings)


def sounds(seconds: float = 1.0, count: int = 4) -> list[np.ndarray]:
    """Stereo noise `[2, samples]`, different in each channel."""
    random, size = np.random.default_rng(0), (count, 2, int(seconds * RATE))
    return list((random.standard_normal(size) * np.array([[0.1], [0.05]])).astype(np.float32))


def batch(source: SpectrogramFeatureExtractor, waveforms) -> torch.Tensor:
    if not source.is_stereo:
        waveforms = [waveform.mean(axis=0) for waveform in waveforms]
    return source(waveforms, sampling_rate=RATE, return_tensors="pt")["input_values"]


STEREO = extractor("left", "right")
NORMALIZATION = Normalization.of(STEREO)


@pytest.mark.parametrize("normalization", ["dataset", "clip", "none"])
@pytest.mark.parametrize("channels", [("mel",), ("left", "right"), ("mel", "mfcc", "wavelet")])
def test_padding_is_the_extractors(channels, normalization):
    source = extractor(*channels, normalization=normalization)
    short, long = (batch(source, sounds(seconds=seconds, count=1)) for seconds in (0.4, 2.0))
    is_padding = (short == Normalization.of(source).padding_value).flatten(2 if short.ndim == 3 else 3).all(dim=-1)
    assert is_padding.flatten(0, -2).all(dim=0).tolist() == [frame > 0.4 * RATE // 256 for frame in range(FRAMES)]
    assert not (long == Normalization.of(source).padding_value).all(dim=-1).any()


def test_silence_within_a_sound_is_not_taken_for_padding():
    """Masks can cover it, although its frames look like padding."""
    source = extractor("mel", normalization="none")
    waveform = sounds(count=1)[0]
    waveform[:, 4000:9000] = 0
    found = batch(source, [waveform])
    assert (found[0, 24] == FLOOR_DB).all()
    reached = torch.zeros(FRAMES, dtype=torch.bool)
    for seed in range(60):
        masks = SpecAugment(20, 0, is_centered=False)
        masked = augmented(masks, Normalization.of(source), found, None, None, torch.tensor([FRAMES - 1]), seed)[0]
        reached |= (masked != found)[0].any(dim=1)
    assert reached[24] and not reached[-1]  # 1 s has 63 frames


def test_decibels_are_converted_to_log_energies_and_back():
    features = batch(STEREO, sounds())
    decibels = torch.from_numpy(np.stack([STEREO.extract(one) for one in sounds()])).transpose(1, 2)
    energies = NORMALIZATION.undo(features)[:, :, : decibels.shape[2]].exp()
    torch.testing.assert_close(energies, 10 ** (decibels / 10), rtol=1e-3, atol=0.0)
    torch.testing.assert_close(NORMALIZATION.apply(NORMALIZATION.undo(features)), features, rtol=1e-4, atol=1e-4)
    assert NORMALIZATION.mean == tuple(MEAN[:2]) and Normalization.of(extractor("mel")).mean == MEAN[0]


def test_gain_equals_features_of_louder_sound():
    """Doubling the amplitude adds 6 dB, whatever the standard deviation of a channel."""
    six_db, ones = 20 * math.log10(2), np.ones(4)
    drawn = WarpNumbers(ones, ones, 0 * ones, six_db / NATURAL_DB * ones, 0 * ones)
    warp, features = Warp(gain_db=six_db, time_shift=False), batch(STEREO, sounds())
    found = augmented(warp, NORMALIZATION, features, None, drawn, torch.full((4,), FRAMES - 1))[0]
    wanted = batch(STEREO, [2 * sound for sound in sounds()])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_mixed_features_equal_features_of_mixed_waveforms_in_each_channel():
    first, second = sounds(seconds=2.0, count=2)
    second = second[::-1] * 0.5
    share = np.array([0.8, 0.6], dtype=np.float32)
    drawn = mixup_numbers(share, np.array([1, 0]))
    mixed = augmented(Mixup(1.0), NORMALIZATION, batch(STEREO, [first, second]), None, drawn)[0]
    pairs = zip(share.tolist(), (first, second), (second, first), strict=True)
    wanted = batch(STEREO, [own**0.5 * one + (1 - own) ** 0.5 * other for own, one, other in pairs])
    difference = (NORMALIZATION.undo(mixed) - NORMALIZATION.undo(wanted)).mean(dim=(2, 3))
    assert difference.abs().max() < 0.12  # in natural logarithms, as in test_augment.py


def test_noise_has_the_requested_level_below_each_channel():
    recording = Recording(noise_probability=1.0, noise_snr_db=10.0)
    drawn = numbers_of(recording, 4)._replace(drop=np.full(4, 10.0 / NATURAL_DB), tilt=np.zeros(4))
    features = batch(STEREO, sounds(seconds=2.0))
    found = augmented(recording, NORMALIZATION, features, None, drawn)[0]
    before, after = (NORMALIZATION.undo(one).exp() for one in (features, found))
    added = (after - before).mean(dim=(2, 3)) / before.mean(dim=(2, 3))
    torch.testing.assert_close(added, torch.full((4, 2), 0.1), rtol=0.1, atol=0.0)


def test_an_equalizer_changes_both_channels_equally():
    recording = Recording(equalizer_db=6.0)
    drawn, features = numbers_of(recording, 4), batch(STEREO, sounds())
    change = NORMALIZATION.undo(augmented(recording, NORMALIZATION, features, None, drawn)[0])
    change = change - NORMALIZATION.undo(features)
    change = change[:, :, :REAL] * (10 / math.log(10))
    torch.testing.assert_close(change, change[:, :1, :1].expand_as(change), rtol=1e-3, atol=1e-3)
    nodes_db = torch.from_numpy(drawn.nodes[:, 0] * NATURAL_DB).float()
    torch.testing.assert_close(change[:, 0, 0, 0], nodes_db, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "step",
    [
        SpecAugment(12, 6),
        Warp(0.3, 0.1, 3.0, 6.0),
        Recording(3.0, 1.0, 5.0),
        Mixup(1.0),
        CutMix(1.0),
        Cutout(12, 6),
        FilterAugment(6.0),
        FrequencyMixStyle(1.0, 1.0),
        Roll(9, 4),
    ],
    ids=lambda step: type(step).__name__,
)
def test_two_equal_channels_are_augmented_like_one(step):
    """The same holds for one channel in four dimensions and in three."""
    of = Normalization(MEAN[0], STD[0], 1.0, 1.0, 0.0)
    mono = batch(extractor("mel"), sounds(seconds=0.8))
    mono[1, 20:] = 0.0
    num_frames = torch.tensor([51, 20, 51, 51])
    wanted, labels, frames = augmented(step, of, mono, None, None, num_frames)
    assert not torch.allclose(wanted, mono)
    for channels in (1, 2):
        several = mono[:, None].repeat(1, channels, 1, 1)
        found, found_labels, found_frames = augmented(step, of, several, None, None, num_frames)
        torch.testing.assert_close(found, wanted[:, None].expand_as(found), rtol=1e-5, atol=1e-5)
        assert torch.equal(found_labels, labels) and torch.equal(found_frames, frames)
    is_padding = torch.arange(FRAMES) >= frames[:, None]
    assert (wanted[is_padding] == 0.0).all() and is_padding.any(dim=1).all()


def test_masks_fill_with_the_mean_of_features_that_are_not_normalized():
    source = extractor("left", "right", normalization="none")
    features = batch(source, sounds(seconds=0.5))
    real = int(0.5 * RATE / 256) + 1
    masks = augmentation_for(AugmentConfig(time_mask_s=1.0), source).steps[0]
    assert not masks.is_centered
    found = augmented(
        SpecAugment(12, 0, False), Normalization.of(source), features, None, None, torch.full((4,), real)
    )[0]
    hidden = found != features
    for sample, channel in ((0, 0), (0, 1), (3, 1)):
        mean = features[sample, channel, :real].mean()
        values = found[sample, channel][hidden[sample, channel]]
        assert len(values) and torch.allclose(values, mean.expand_as(values))


def test_seconds_become_frames_of_the_extractor_and_shortened_masks_are_logged_once(caplog, monkeypatch):
    long = SpectrogramFeatureExtractor(sampling_rate=44_100, hop_samples=512, max_length=431, mean=-30.0, std=15.0)
    steps = augmentation_for(AugmentConfig(time_mask_s=0.3, frequency_mask_bins=6), long).steps
    assert steps[0].longest_time_mask_frames == 26 and not caplog.messages
    assert augmentation_for(AugmentConfig(time_mask_s=3.0), long).steps[0].longest_time_mask_frames == 43
    assert caplog.messages[0].startswith("time_mask_s is 3, but time masks are at most 0.499 s here, a tenth")
    monkeypatch.setattr(spectrogram_steps, "process_state", lambda: SimpleNamespace(is_main_process=False))
    assert augmentation_for(AugmentConfig(time_mask_s=3.0), long).steps[0].longest_time_mask_frames == 43
    assert len(caplog.messages) == 1, "another process says it too"


@pytest.mark.parametrize(
    ("channels", "normalization", "setting", "sentence"),
    [
        (("mel",), "clip", {"gain_db": 3.0}, "--gain_db needs the energies.*--normalization dataset"),
        (("mel",), "clip", {"gain_db": 3.0, "mixup_alpha": 1.0}, "use --gain_db 0 --mixup_alpha 0, or"),
        (("mel",), "clip", {"mixup_alpha": 1.0}, "--mixup_alpha needs the energies"),
        (("mel", "mfcc"), "dataset", {"noise_probability": 0.5}, "--noise_probability is for energies.*MFCCs are not"),
        (("mel", "mfcc"), "dataset", {"frequency_shift_bins": 2.0}, "--frequency_shift_bins is for energies"),
    ],
)
def test_unsuitable_augmentations_are_refused(channels, normalization, setting, sentence):
    source = extractor(*channels, normalization=normalization)
    with pytest.raises(InputError, match=sentence) as raised:
        augmentation_for(AugmentConfig(**setting), source)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("channels", "normalization"), [(("mel",), "clip"), (("mel", "mfcc"), "dataset")])
def test_masks_and_shifts_work_with_any_normalization(channels, normalization):
    source = extractor(*channels, normalization=normalization)
    config = AugmentConfig(time_shift=True, time_stretch=0.2, time_mask_s=0.2, frequency_mask_bins=4)
    augment = augmentation_for(config, source)
    assert [type(step).__name__ for step in augment.steps] == ["Warp", "SpecAugment"]
    features = batch(source, sounds())
    found = augment(features, torch.eye(4), torch.full((4,), FRAMES - 1), augment.draw(places(4)))[0]
    assert found.shape == features.shape and found.isfinite().all() and not torch.equal(found, features)

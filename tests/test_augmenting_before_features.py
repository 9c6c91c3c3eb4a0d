"""Waveforms are augmented before features are computed. The draws depend only on a window's place in the run."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from augmenting import places
from test_resuming_training import interrupted
from training_run import assert_same_weights, build_tiny_features, tiny_model, trainer_of

from hf_audio import load_features
from hf_audio.augment import BeforeFeatures, Compose, augmentation_of, waveform_steps
from hf_audio.config import AugmentConfig, WaveformAugmentConfig
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.computed_features import computed_features
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.errors import InputError
from hf_audio.figures.augmented import augmented_plot
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.fbank import NATURAL_DB
from hf_audio.kinds.waveform import Waveform

FBANK = KaldiFbank(num_mel_bins=32)
VARIED = {"wave_noise_probability": 0.5, "wave_shift_probability": 0.5, "wave_shift_s": 0.1}
OFF = AugmentConfig()


def waves(**settings) -> tuple:
    return waveform_steps(WaveformAugmentConfig(**settings), 16_000)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return load_features(build_tiny_features(tmp_path_factory.mktemp("s") / "s", SINGLE_LABEL, extractor=Waveform()))


@pytest.fixture(scope="module")
def features(sound):
    return computed_features(sound, FBANK)


def batch_of(features) -> tuple[FeatureCollator, dict]:
    """Eight training windows, some of them short, as they are copied to the device."""
    collate = FeatureCollator(features.extractor, features.labels, stored=True, of_sound=features.of_sound)
    return collate, collate(list(features.splits["train"])[:8])


def augmented(augment, collate: FeatureCollator, batch: dict):
    given = collate.on_device(batch, as_sound=True)
    assert given["input_values"].shape == (8, 6400)
    return augment(given["input_values"], given["labels"], given["num_frames"], augment.draw(places(8)))


def test_features_are_those_of_the_augmented_sound(features):
    collate, batch = batch_of(features)
    augment = augmentation_of(features, OFF, waves(**VARIED))
    assert isinstance(augment, BeforeFeatures) and augment.features is None
    values, targets, num_frames = augmented(augment, collate, batch)
    given = collate.on_device(batch, as_sound=True)
    lengths = given["num_frames"]
    waveforms, _, samples = augment.sound(given["input_values"], targets, lengths, augment.sound.draw(places(8)))
    assert not torch.equal(waveforms, given["input_values"])
    for window, length, found, frames in zip(waveforms, samples, values, num_frames, strict=True):
        (wanted,) = features.extractor(window[:length].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
        assert frames == FBANK.num_frames(int(length))


def test_gain_acts_before_features_and_masks_after(features):
    collate, batch = batch_of(features)
    before = collate.on_device(batch)
    louder = waves(wave_gain_probability=1.0, wave_gain_db=[6.0, 6.0])
    values, _, num_frames = augmented(augmentation_of(features, OFF, louder), collate, batch)
    raised = (values - before["input_values"])[0, : num_frames[0]] * 2 * features.extractor.std * NATURAL_DB
    assert raised.median() == pytest.approx(6.0, abs=0.01)
    masked = augmentation_of(features, AugmentConfig(time_mask_s=0.03, frequency_mask_bins=6), louder)
    found, _, _ = augmented(masked, collate, batch)
    is_hidden = (found - values).abs() > 1e-5
    assert 0.01 < is_hidden.float().mean() < 0.5 and (found[is_hidden] == 0).all(), "masks hide with the training mean"
    assert "Gain" in repr(masked) and "SpecAugment" in repr(masked) and "0x" not in repr(masked)
    assert [type(step).__name__ for step in masked.steps] == ["Gain", "SpecAugment"]
    assert len(augmented_plot(features, masked).axes) == 3 * 5, "one plain version and two draws"
    plain = augmentation_of(features, AugmentConfig(frequency_mask_bins=6), waves())
    assert type(plain) is Compose, "augmenting only features equals augmenting stored ones"


def test_draws_for_features_differ_from_draws_for_sound(features):
    """Both come from one generator per window, one after the other."""
    augment = augmentation_of(features, AugmentConfig(gain_db=6.0, time_shift=True), waves(wave_gain_probability=0.5))
    of_sound, of_features = augment.draw(places(4)).split(1)
    alone = augment.features.draw(places(4))
    assert of_sound.numbers.shape == (4, 2) and not torch.equal(of_features.numbers, alone.numbers)


@pytest.mark.parametrize(
    ("source", "settings", "sentence"),
    [
        (
            FBANK,
            {"wave_polarity_probability": 0.5},
            "--wave_polarity_probability has no effect, since polarity",
        ),
        (
            Spectrogram(16_000, 32, 512, normalization="clip"),
            {"wave_gain_probability": 0.5},
            r"--wave_gain_probability has no effect, since --normalization clip removes .*: leave it out",
        ),
    ],
)
def test_waveform_augmentations_without_effect_on_features_are_refused(sound, source, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        augmentation_of(computed_features(sound, source), OFF, waves(**settings))


def test_a_resumed_run_equals_an_uninterrupted_one(features, tmp_path):
    augment = augmentation_of(features, AugmentConfig(mixup_alpha=0.4), waves(**VARIED))
    steps = {"save_steps": 3, "eval_steps": 3, "save_strategy": "steps", "eval_strategy": "steps", "max_steps": 7}

    def start(folder):
        arguments = {**steps, "save_total_limit": None, "per_device_train_batch_size": 8}
        return trainer_of(features, folder, tiny_model(features, dropout=0.1), arguments, {"augment": augment})

    trainer = start(tmp_path / "whole")
    trainer.train_resumable()
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    interrupted(tmp_path / "resumed", 7)
    again = start(tmp_path / "resumed")
    again.train_resumable()
    assert_same_weights(trainer.model.state_dict(), again.model.state_dict())
    settings = json.loads((tmp_path / "whole" / "checkpoints" / "run.json").read_text())
    assert "Noise(probability=0.5" in settings["augmentation"] and "Mixup" in settings["augmentation"]

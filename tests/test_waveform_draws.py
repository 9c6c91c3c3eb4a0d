"""Waveform augmentation depends on a window and its place in the run, not on its batch or earlier draws."""

from __future__ import annotations

import pytest
import torch
from augmenting import places
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
from waveforms import RATE, white

from hf_audio.augment import Compose, augmentation_for, waveform_steps
from hf_audio.augment.waveform import example_sounds, example_waveform_augmentations, example_waveform_steps
from hf_audio.augment.waveform.codec import CODECS
from hf_audio.augment.waveform.effects import EFFECTS
from hf_audio.config import AugmentConfig, WaveformAugmentConfig
from hf_audio.config.waveform_augment import CODEC_NAMES, EFFECT_NAMES
from hf_audio.errors import InputError

BATCH, SAMPLES = 8, 6400
EXAMPLES, STEPS = example_waveform_augmentations(), example_waveform_steps(RATE)


@pytest.fixture(scope="module")
def batch():
    """Windows, the third one short."""
    values, num_frames = white(BATCH, SAMPLES), torch.full((BATCH,), SAMPLES)
    values[2, 4000:], num_frames[2] = 0, 4000
    return values, torch.zeros(BATCH, 1), num_frames


def test_settings_list_all_codecs_and_effects():
    assert sorted(CODEC_NAMES) == sorted(CODECS) and sorted(EFFECT_NAMES) == sorted(EFFECTS)


def test_samples_are_augmented_in_full_precision_under_autocast(batch):
    """A convolution in bfloat16 would have an error of -40 dB."""
    for name in ("speed", "pitch", "low pass", "reverb, synthetic"):
        augment = Compose(STEPS[name], None)
        wanted = augment(*batch, augment.draw(places(BATCH)))[0]
        with torch.autocast("cpu", torch.bfloat16):
            found = augment(*batch, augment.draw(places(BATCH)))[0]
        assert torch.equal(found, wanted), name


def test_every_switch_has_an_example():
    switches = [name for name in vars(WaveformAugmentConfig()) if name.endswith("_probability")]
    shown = [switch for flags in EXAMPLES.values() for switch in flags if switch in switches]
    assert sorted(set(shown)) == sorted(switches)
    assert all(flags[switch] == 1 for flags in EXAMPLES.values() for switch in flags if switch in switches)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_window_is_augmented_the_same_alone_and_in_any_batch(name, batch):
    """So two processes equal one, whatever the length of their longest windows."""
    augment = Compose(STEPS[name], None)
    values, _, num_frames = augment(*batch, augment.draw(places(BATCH)))
    assert not torch.equal(values[0], batch[0][0]), "nothing changed"
    for window, length in ((2, 4000), (5, SAMPLES)):
        own = (batch[0][window : window + 1, :length], batch[1][:1], batch[2][window : window + 1])
        alone, _, frames = augment(*own, augment.draw(places(1, first=window)))
        assert frames[0] == num_frames[window]
        torch.testing.assert_close(alone[0], values[window, :length], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_padding_stays_silent_and_levels_reasonable(name, batch):
    augment = Compose(STEPS[name], None)
    values, _, num_frames = augment(*batch, augment.draw(places(BATCH)))
    assert (num_frames <= batch[2]).all() and (num_frames > 0).all()
    assert not values.masked_fill(torch.arange(SAMPLES) < num_frames[:, None], 0).any()
    assert torch.isfinite(values).all() and values.abs().max() < 10 * batch[0].abs().max()
    assert torch.equal(augment(*batch, augment.draw(places(BATCH)))[0], values), "the same draws give the same values"
    silent = (torch.zeros(BATCH, SAMPLES), *batch[1:])
    assert not augment(*silent, augment.draw(places(BATCH)))[0].any(), "silence stays silent"


def test_everything_at_once_changes_some_windows_by_chance(batch):
    everything = {name: value for flags in EXAMPLES.values() for name, value in flags.items()}
    everything |= {name: 0.1 for name in everything if name.endswith("_probability")}
    augment = Compose(waveform_steps(WaveformAugmentConfig(**everything), RATE, example_sounds(RATE)), None)
    together = augment(*batch, augment.draw(places(BATCH)))[0]
    changed = (together != batch[0]).any(dim=1)
    assert changed.any()
    halves = [
        augment(*(one[half] for one in batch), augment.draw(places(BATCH)[half]))[0]
        for half in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(torch.cat(halves), together, rtol=1e-4, atol=1e-5)
    assert repr(augment) == repr(
        Compose(waveform_steps(WaveformAugmentConfig(**everything), RATE, example_sounds(RATE)), None)
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"wave_gain_db": [5.0, 3.0]}, "--wave_gain_db must be two numbers, the lower first, between -100 and"),
        ({"wave_clip_db": [5.0]}, "--wave_clip_db must be two numbers, .* found 5: try --wave_clip_db 3 15"),
        ({"wave_noise_probability": 2.0}, "--wave_noise_probability must be a number, between 0 and 1, found 2"),
        (
            {"wave_speed_probability": 0.5, "wave_speed_ratio": [1, 1]},
            "--wave_speed_ratio 1 1 changes nothing: give anot",
        ),
        (
            {"wave_shift_probability": 0.5, "wave_shift_s": 0},
            "--wave_shift_s 0 changes nothing: give .* --wave_shift_p",
        ),
        ({"wave_shift_mode": "rol"}, "did you mean 'roll'"),
        ({"wave_codec_names": ["mp3", "vorbs"]}, "Unknown --wave_codec_names 'vorbs': did you mean 'vorbis'"),
        ({"wave_effect_names": ["tremelo"]}, "Unknown --wave_effect_names 'tremelo': did you mean 'tremolo'"),
    ],
)
def test_bad_augmentation_settings_are_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        WaveformAugmentConfig(**settings)


def test_augmentation_without_effect_on_the_model_is_refused():
    high = WaveformAugmentConfig(wave_low_pass_probability=0.5)
    with pytest.raises(InputError, match="--wave_low_pass_hz 1000 7000 must be below half the sample rate"):
        waveform_steps(high, 8000)
    with pytest.raises(InputError, match="--wave_shift_s 1e-05 is less than a sample, so nothing would change"):
        waveform_steps(WaveformAugmentConfig(wave_shift_probability=0.5, wave_shift_s=1e-5), RATE)
    gain = waveform_steps(WaveformAugmentConfig(wave_gain_probability=0.5), RATE)
    with pytest.raises(
        InputError, match="--wave_gain_probability has no effect, since the model normalizes each window"
    ):
        augmentation_for(AugmentConfig(), Wav2Vec2FeatureExtractor(), waveform=gain)
    with pytest.raises(InputError, match=r"--time_mask_s augments log-mel features .* leave it out"):
        augmentation_for(AugmentConfig(time_mask_s=0.1), Wav2Vec2FeatureExtractor(), waveform=gain)
    kept = augmentation_for(AugmentConfig(), Wav2Vec2FeatureExtractor(do_normalize=False), waveform=gain)
    assert kept == Compose(gain, None)
    with pytest.raises(InputError, match="has other features: add --features_on_device"):
        augmentation_for(AugmentConfig(), ASTFeatureExtractor(), waveform=gain)
    with pytest.raises(InputError, match="this model's WhisperFeatureExtractor computes its own features"):
        augmentation_for(AugmentConfig(), WhisperFeatureExtractor(), waveform=gain)

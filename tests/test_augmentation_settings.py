"""From settings to augmentations of spectrograms: their order, an example of each, and refused settings."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from augmenting import places
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio import parse_recipe, prepare_features
from hf_audio.augment import Compose, CutMix, Cutout, Mixup, Normalization, Roll, augmentation_for
from hf_audio.augment.examples import example_augmentations
from hf_audio.config import AugmentConfig
from hf_audio.config.augment import FRACTIONS
from hf_audio.errors import InputError
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor

EXTRACTOR = ASTFeatureExtractor(mean=-5.0, std=3.5, max_length=298, num_mel_bins=128)


def test_every_switch_has_an_example_that_changes_sound_but_not_padding():
    named = {name for settings in example_augmentations().values() for name in settings}
    assert named == AugmentConfig.__dataclass_fields__.keys() - set(FRACTIONS)
    random = torch.Generator().manual_seed(0)
    features, num_frames = torch.randn(8, 298, 128, generator=random) / 2, torch.full((8,), 298)
    num_frames[:2], features[:2, 90:] = 90, -5.0 / -7.0
    targets = (torch.rand(8, 5, generator=random) > 0.6).float()
    for name, settings in example_augmentations().items():
        augment = augmentation_for(AugmentConfig(**settings), EXTRACTOR)
        found, _, frames = augment(features, targets, num_frames, augment.draw(places(8)))
        assert len(augment.steps) == 1 and not torch.allclose(found, features, atol=1e-3), name
        assert found.isfinite().all(), name
        is_padding = torch.arange(298) >= frames[:, None]
        assert (found[is_padding] == augment.normalization.padding_value).all(), name


def test_augmentations_that_mix_windows_are_marked():
    """A teacher's stored logits are for unmixed windows."""
    names = {name for name, settings in example_augmentations().items() if _mixes(settings)}
    assert names == {"batch mixing", "mixup", "CutMix, rectangle", "CutMix, time", "mixup or CutMix"}


def _mixes(settings: dict) -> bool:
    (step,) = augmentation_for(AugmentConfig(**settings), EXTRACTOR).steps
    return getattr(step, "mixes_windows", False)


def test_settings_become_steps_in_the_physical_order():
    everything = {name: value for settings in example_augmentations().values() for name, value in settings.items()}
    everything |= {"cutmix_probability": 0.5, "mixup_probability": 0.5}
    steps = augmentation_for(AugmentConfig(**everything), EXTRACTOR)
    assert [type(step).__name__ for step in steps.steps] == [
        *("Warp", "Roll", "BatchMix", "Recording", "FilterAugment", "FrequencyMixStyle", "MixOrCut"),
        *("ImageChange", "SpecAugment", "Cutout"),
    ]
    both = AugmentConfig(time_roll_s=0.5, cutout_s=0.2, cutmix_alpha=1.0, cutmix_shape="time")
    wanted = (Roll(50, 0), CutMix(1.0, "time", 0.5), Cutout(20, 16, 2))
    assert augmentation_for(both, EXTRACTOR) == Compose(wanted, Normalization(-5.0, 3.5))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cutmix_shape": "rectangel"}, "Unknown --cutmix_shape 'rectangel': did you mean 'rectangle'"),
        ({"filter_augment_type": "steps"}, "Unknown --filter_augment_type 'steps': did you mean 'step'"),
        ({"image_gain": 1.5}, "--image_gain must be a number, between 0 and 1, found 1.5"),
        ({"patch_dropout": 1.0}, "--patch_dropout must be a number, between 0 and 0.99, found 1"),
        ({"cutout_bins": 0}, "--cutout_bins must be a number, 1 or more, found 0"),
        (
            {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "cutmix_probability": 0.75},
            "--mixup_probability and --cutmix_probability add up to 1.25",
        ),
        ({"time_stretch": 1e30}, "--time_stretch must be a number, between 0 and 1, found 1e.30"),
        ({"gain_db": 1e30}, "--gain_db must be a number, between 0 and 100, found 1e.30"),
        ({"noise_snr_db": 60.0}, "--noise_snr_db must be a number, between -200 and 50, found 60"),
        ({"batch_mix_max_windows": 10**5}, "--batch_mix_max_windows must be a number, between 2 and 32"),
        ({"cutout_rectangles": 10**8}, "--cutout_rectangles must be a number, between 1 and 100"),
        ({"time_roll_s": 3.5}, "--time_roll_s 3.5 is longer than a window, which has 2.98 s here: use at most 2.98"),
        ({"cutout_s": 0.5, "cutout_bins": 200}, "--cutout_bins 200 is too much for 128 mel bins: use at most 128"),
        ({"frequency_roll_bins": 128}, "--frequency_roll_bins 128 is too much for .* use at most 127"),
        ({"frequency_shift_bins": 128.0}, "--frequency_shift_bins 128 is too much for .* use at most 127"),
        ({"frequency_mask_bins": 129}, "--frequency_mask_bins 129 is too much for .* use at most 128"),
        ({"time_mask_s": 0.004}, "--time_mask_s 0.004 changes nothing, since a frame is 0.01 s long"),
        ({"time_roll_s": 1e-5}, "--time_roll_s 1e-05 changes nothing, since a frame is 0.01 s long"),
    ],
)
def test_invalid_settings_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        augmentation_for(AugmentConfig(**settings), EXTRACTOR)


def test_a_window_that_is_too_short_for_masks_is_told():
    short = ASTFeatureExtractor(mean=-5.0, std=3.5, max_length=9, num_mel_bins=128)
    with pytest.raises(InputError, match=r"--time_mask_s 0.25 masks nothing: .* has 9 frames here: use --time_mask"):
        augmentation_for(AugmentConfig(time_mask_s=0.25), short)


def test_a_probability_of_0_is_off_and_no_report_names_it():
    on = {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "mixstyle_alpha": 0.3, "image_noise": 0.1}
    off = dict.fromkeys(("cutmix_probability", "mixstyle_probability", "image_probability"), 0.0)
    (only,) = augmentation_for(AugmentConfig(**on, **off), EXTRACTOR).steps
    assert only == Mixup(1.0, probability=0.5)
    assert augmentation_for(AugmentConfig(**on, **off, mixup_probability=0.0), EXTRACTOR) is None


@pytest.mark.parametrize(
    ("channels", "normalization", "settings", "sentence"),
    [
        (["mel"], "clip", {"filter_augment_db": 6.0}, "--filter_augment_db needs the energies"),
        (
            ["mel", "mfcc"],
            "dataset",
            {"frequency_roll_bins": 4},
            "--frequency_roll_bins is for energies of frequency bands",
        ),
        (["mel", "mfcc"], "dataset", {"cutmix_alpha": 1.0}, "--cutmix_shape rectangle.* use --cutmix_shape time"),
        (["mel", "mfcc"], "dataset", {"cutmix_alpha": 1.0, "cutmix_shape": "time", "mixstyle_alpha": 0.3}, None),
        (["mel"], "clip", {"cutmix_alpha": 1.0, "cutout_s": 0.2, "image_noise": 0.1, "time_roll_s": 0.1}, None),
    ],
)
def test_augmentations_of_energies_or_bands_are_refused_without_them(channels, normalization, settings, sentence):
    more = {"mean": [-35.0, -4.0][: len(channels)], "std": [12.0, 20.0][: len(channels)]}
    more = {"max_length": 64, "num_mel_bins": 32, **(more if normalization == "dataset" else {})}
    extractor = SpectrogramFeatureExtractor(channels=channels, normalization=normalization, **more)
    if sentence is None:
        assert augmentation_for(AugmentConfig(**settings), extractor).steps
        return
    with pytest.raises(InputError, match=sentence):
        augmentation_for(AugmentConfig(**settings), extractor)


def test_image_augmentations_are_refused_for_waveforms():
    with pytest.raises(InputError, match="--cutmix_alpha augments log-mel features"):
        augmentation_for(AugmentConfig(cutmix_alpha=1.0), Wav2Vec2FeatureExtractor())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--filter_augment_type step", "--filter_augment_type would have no effect here: FilterAugment is off"),
        ("--mixstyle_probability 1", "--mixstyle_probability would have no effect here: Freq-MixStyle is off"),
        ("--mixstyle_alpha 0.3 --mixstyle_probability 0", "--mixstyle_alpha would have no effect"),
        ("--cutmix_shape time", "--cutmix_shape would have no effect here: CutMix is off"),
        ("--cutmix_alpha 1 --cutmix_probability 0", "--cutmix_alpha would have no effect"),
        ("--warp_probability 0.5 --gain_db 3", "--warp_probability would have no effect here: nothing is warped"),
        ("--time_stretch 0.1 --warp_probability 0", "--time_stretch would have no effect"),
        ("--mask_probability 0.5", "--mask_probability would have no effect here: nothing is masked"),
        ("--time_mask_s 0.2 --mask_probability 0", "--time_mask_s would have no effect"),
        ("--cutout_bins 8", "--cutout_bins would have no effect here: Cutout is off"),
        ("--image_probability 1", "--image_probability would have no effect here: image augmentation is off"),
        ("--image_noise 0.1 --image_probability 0", "--image_noise would have no effect"),
        (
            "--time_shift --time_roll_s 0.5",
            "--time_roll_s would have no effect here: --time_shift already shifts",
        ),
    ],
)
def test_settings_without_effect_are_refused(flags, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe({"output_dir": "runs/x", "corpus": "irmas"}, argv=flags.split())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--features waveform --patch_dropout 0.4", "ast-mini needs fbank or spectrogram features, but these"),
        (
            "--model cnn --features spectrogram --channels mel mfcc --cutmix_alpha 1",
            "--cutmix_shape rectangle is for frequency bands",
        ),
        ("--features spectrogram --normalization clip --filter_augment_db 6", "--filter_augment_db needs the energies"),
        ("--num_mel_bins 32 --frequency_shift_bins 40", "--frequency_shift_bins 40 is too much for 32 mel bins"),
        ("--mixup_alpha 1 --mixup_labels union", "--mixup_labels union gives .* use --mixup_labels interpolate"),
    ],
)
def test_unsuitable_augmentations_are_refused_before_building(flags, sentence, tmp_path):
    for number in range(12):
        path = tmp_path / "sounds" / ("bell", "hiss")[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(size=16_000) / 10, 16_000)
    argv = ["--data_dir", str(tmp_path / "sounds"), "--model", "ast-mini", *flags.split()]
    with pytest.raises(InputError, match=sentence):
        prepare_features(parse_recipe({"output_dir": str(tmp_path / "run")}, argv=argv))
    assert not list(tmp_path.glob("run/features/data/*"))

"""Example settings for each augmentation, for figures and benchmarks."""

from __future__ import annotations

from typing import Any

# For spectrograms: a name, and the settings of an AugmentConfig that switch it on, strong enough to be visible.
_OF_SPECTROGRAMS: dict[str, dict[str, Any]] = {
    "time shift": {"time_shift": True},
    "time stretch": {"time_stretch": 0.3},
    "frequency scale": {"frequency_scale": 0.2},
    "frequency shift": {"frequency_shift_bins": 8.0},
    "gain": {"gain_db": 12.0},
    "time roll": {"time_roll_s": 0.3},
    "frequency roll": {"frequency_roll_bins": 12},
    "batch mixing": {
        "batch_mix_probability": 1.0,
        "batch_mix_max_windows": 2,
        "batch_mix_offset_s": 0.3,
        "batch_mix_level_db": 3.0,
    },
    "equalizer": {"equalizer_db": 6.0},
    "noise": {"noise_probability": 1.0, "noise_snr_db": 10.0},
    "FilterAugment, linear": {"filter_augment_db": 6.0, "filter_augment_type": "linear"},
    "FilterAugment, step": {"filter_augment_db": 6.0, "filter_augment_type": "step"},
    "Freq-MixStyle": {"mixstyle_alpha": 0.3, "mixstyle_probability": 1.0},
    "mixup": {"mixup_alpha": 10.0, "mixup_probability": 1.0, "mixup_labels": "interpolate"},
    "CutMix, rectangle": {"cutmix_alpha": 1.0, "cutmix_probability": 1.0, "cutmix_shape": "rectangle"},
    "CutMix, time": {"cutmix_alpha": 1.0, "cutmix_probability": 1.0, "cutmix_shape": "time"},
    "mixup or CutMix": {"mixup_alpha": 10.0, "cutmix_alpha": 1.0},
    "image gain": {"image_gain": 0.5, "image_probability": 1.0},
    "image noise": {"image_noise": 0.1, "image_probability": 1.0},
    "SpecAugment": {"time_mask_s": 0.25, "frequency_mask_bins": 16},
    "cutout": {"cutout_s": 0.4, "cutout_bins": 24, "cutout_rectangles": 3},
}


def example_augmentations() -> dict[str, dict[str, Any]]:
    """Settings of an AugmentConfig by name, each for one augmentation of spectrograms of 1 s or more."""
    return {name: dict(settings) for name, settings in _OF_SPECTROGRAMS.items()}


# For spectrogram transformers: shares of patches, of columns and of rows
_OF_PATCHES: dict[str, dict[str, float]] = {
    "half of the patches": {"patch_dropout": 0.5},
    "half of the columns": {"patch_dropout_time": 0.5},
    "half of the rows": {"patch_dropout_frequency": 0.5},
    "a third of the columns, then a third of the patches": {"patch_dropout": 0.34, "patch_dropout_time": 0.34},
}


def example_patch_dropouts() -> dict[str, dict[str, float]]:
    """Settings of an AugmentConfig by name, each for a patch dropout."""
    return {name: dict(settings) for name, settings in _OF_PATCHES.items()}

"""How training batches are varied."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import require_within, setting
from hf_audio.errors import InputError, unknown_name

# What a setting may be called, where it is a name
NAMED = {
    "filter_augment_type": ("linear", "step"),
    "mixup_labels": ("interpolate", "union"),
    "cutmix_shape": ("rectangle", "time"),
}
PROBABILITIES = (
    *("noise_probability", "batch_mix_probability", "mixstyle_probability", "mixup_probability"),
    *("cutmix_probability", "image_probability"),
)
FRACTIONS = ("patch_dropout", "patch_dropout_time", "patch_dropout_frequency")  # of patches, which never are all


@dataclass
class AugmentConfig:
    """How training batches are varied, on the device, per sample."""

    _argument_group_name = "augmentation"

    time_shift: bool = setting(False, "Warp: a window that is full of sound starts anywhere in it, as a loop.")
    time_stretch: float = setting(0.0, "Warp: up to so much faster or slower, 0.2 is 20 %%; 0 is off.")
    frequency_scale: float = setting(0.0, "Warp: the mel axis is scaled up or down by up to so much; 0 is off.")
    frequency_shift_bins: float = setting(0.0, "Warp: pitch and formants move by up to so many mel bins; 0 is off.")
    gain_db: float = setting(0.0, "Warp: up to so many decibels louder or quieter; 0 is off.")
    time_roll_s: float = setting(
        0.0, "Roll: up to so many seconds earlier or later; what leaves at one end comes back at the other; 0 is off."
    )
    frequency_roll_bins: int = setting(
        0, "Roll: up to so many mel bins up or down; what leaves at one end comes back at the other; 0 is off."
    )
    equalizer_db: float = setting(0.0, "Recording: deviation of a random smooth equalization in decibels; 0 is off.")
    noise_probability: float = setting(0.0, "Recording: how likely noise is added to a window; 0 is off.")
    noise_snr_db: float = setting(5.0, "Recording: the loudest noise is so many decibels below the sound.")
    batch_mix_probability: float = setting(
        0.0,
        "Batch mixing: how likely others of the batch (of any genre) are added to a window, labels joined; 0 is off.",
    )
    batch_mix_max_windows: int = setting(4, "Batch mixing: most windows, and most classes, in such a mixture.")
    batch_mix_offset_s: float = setting(
        0.0, "Batch mixing: the others begin up to so much earlier or later, at most half a window."
    )
    batch_mix_level_db: float = setting(6.0, "Batch mixing: the others are up to so many decibels quieter.")
    filter_augment_db: float = setting(
        0.0, "FilterAugment: random bands of frequency get up to so many decibels louder or quieter; 0 is off."
    )
    filter_augment_type: str = setting(
        "linear", "FilterAugment: 'linear' (slopes between the bands' edges) or 'step' (each band one level)."
    )
    mixstyle_alpha: float = setting(
        0.0,
        "Freq-MixStyle: each mel bin's mean and standard deviation move towards another window's, labels stay; both "
        "parameters of the Beta distribution of the share; 0 is off.",
    )
    mixstyle_probability: float = setting(0.5, "Freq-MixStyle: how likely a window is changed at all.")
    mixup_alpha: float = setting(0.0, "Mixup: both parameters of the Beta distribution of the mixing share; 0 is off.")
    mixup_probability: float = setting(0.5, "Mixup: how likely a window is mixed with another at all.")
    mixup_labels: str = setting(
        "interpolate",
        "Mixup: labels of a mixed window: 'interpolate' (their shares) or 'union' (multi-label: all that is heard).",
    )
    cutmix_alpha: float = setting(
        0.0,
        "CutMix: part of a window is replaced by the same part of another, labels by area; both parameters of the Beta "
        "distribution of the area that stays; 0 is off.",
    )
    cutmix_probability: float = setting(
        0.5, "CutMix: how likely a window gets such a part at all; beside mixup, each window gets one of both or none."
    )
    cutmix_shape: str = setting(
        "rectangle", "CutMix: the part is a 'rectangle' of time and mel bins, or a stretch of 'time' with all bins."
    )
    image_gain: float = setting(
        0.0, "Image: normalized features are multiplied by 1 - this or 1 + this, 0.5 is 0.5 or 1.5; 0 is off."
    )
    image_noise: float = setting(
        0.0, "Image: standard deviation of Gaussian noise on the normalized features, e.g. 0.1; 0 is off."
    )
    image_probability: float = setting(
        0.5, "Image: how likely a window is changed; where gain and noise are both on, by one of them."
    )
    time_mask_s: float = setting(
        0.0, "SpecAugment: longest time mask in seconds, at most a tenth of the window; 0 is off."
    )
    frequency_mask_bins: int = setting(0, "SpecAugment: widest frequency mask in mel bins; 0 is off.")
    cutout_s: float = setting(0.0, "Cutout: longest side of a hidden rectangle along time, in seconds; 0 is off.")
    cutout_bins: int = setting(16, "Cutout: longest side along frequency, in mel bins.")
    cutout_rectangles: int = setting(2, "Cutout: rectangles per window.")
    patch_dropout: float = setting(
        0.0,
        "Patch dropout (PaSST's patchout), of Audio Spectrogram Transformers: share of the patches that a training "
        "step leaves out, any of them; 0 is off.",
    )
    patch_dropout_time: float = setting(
        0.0, "Patch dropout: share of the columns of patches, which stand for stretches of time; 0 is off."
    )
    patch_dropout_frequency: float = setting(
        0.0, "Patch dropout: share of the rows of patches, which stand for bands of frequency; 0 is off."
    )

    def __post_init__(self) -> None:
        for name, known in NAMED.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        require_within(self, PROBABILITIES, 0, 1)
        require_within(self, ("time_stretch", "frequency_scale", "frequency_shift_bins", "gain_db", "equalizer_db"), 0)
        require_within(self, ("time_roll_s", "frequency_roll_bins", "filter_augment_db", "mixstyle_alpha"), 0)
        require_within(self, ("batch_mix_offset_s", "batch_mix_level_db", "time_mask_s", "frequency_mask_bins"), 0)
        require_within(self, ("mixup_alpha", "cutmix_alpha", "image_noise", "cutout_s"), 0)
        require_within(self, ("image_gain",), 0, 1)
        require_within(self, ("cutout_bins", "cutout_rectangles"), 1)
        require_within(self, ("noise_snr_db",), -200, 200)
        require_within(self, FRACTIONS, 0, 0.99)
        both = self.mixup_probability + self.cutmix_probability
        if self.mixup_alpha and self.cutmix_alpha and both > 1:
            raise InputError(
                f"--mixup_probability and --cutmix_probability are together {both:g}, and each window gets one of both "
                "or none: lower them to 1 or less"
            )

    @property
    def drops_patches(self) -> bool:
        """Whether training steps leave out patches."""
        return any(getattr(self, name) for name in FRACTIONS)

"""How training batches are augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hf_audio.config.setting import require_choices, require_within, setting
from hf_audio.errors import InputError

PROBABILITIES = (
    *("noise_probability", "batch_mix_probability", "mixstyle_probability", "mixup_probability"),
    *("cutmix_probability", "image_probability", "warp_probability", "mask_probability"),
)
MAX_NOISE_SNR_DB = 50  # noise that far below the sound is inaudible
FRACTIONS = ("patch_dropout", "patch_dropout_time", "patch_dropout_frequency")  # of patches; below 1, so some remain


@dataclass
class AugmentConfig:
    """How training batches are augmented: on the device, each window independently."""

    _argument_group_name = "augmentation"

    time_shift: bool = setting(False, "Warp: random circular shift in time, for windows without padding.")
    time_stretch: float = setting(0.0, "Warp: maximum stretch or compression of time, 0.2 is 20%%; 0 is off.")
    frequency_scale: float = setting(0.0, "Warp: maximum scaling of the mel axis up or down, 0.2 is 20%%; 0 is off.")
    frequency_shift_bins: float = setting(0.0, "Warp: maximum shift of the spectrum up or down, in mel bins; 0 is off.")
    warp_probability: float = setting(
        1.0, "Warp: probability per window that its time and mel axis are stretched, scaled and shifted."
    )
    gain_db: float = setting(0.0, "Warp: maximum change of a window's level, in dB; 0 is off.")
    time_roll_s: float = setting(0.0, "Roll: maximum circular shift in time, in seconds; 0 is off.")
    frequency_roll_bins: int = setting(0, "Roll: maximum circular shift in frequency, in mel bins; 0 is off.")
    equalizer_db: float = setting(
        0.0, "Recording: standard deviation of a random smooth equalizer curve, in dB; 0 is off."
    )
    noise_probability: float = setting(0.0, "Recording: probability that noise is added to a window; 0 is off.")
    noise_snr_db: float = setting(
        5.0, f"Recording: minimum signal-to-noise ratio, in dB; the maximum is {MAX_NOISE_SNR_DB}."
    )
    batch_mix_probability: float = setting(
        0.0,
        "Batch mixing: probability of adding other windows of the batch, with their labels, to a window; 0 is off.",
    )
    batch_mix_max_windows: int = setting(4, "Batch mixing: maximum number of windows, and of classes, per mixture.")
    batch_mix_offset_s: float = setting(
        0.0, "Batch mixing: maximum time shift of the other windows, in seconds, up to half a window."
    )
    batch_mix_level_db: float = setting(6.0, "Batch mixing: maximum attenuation of the other windows, in dB.")
    filter_augment_db: float = setting(
        0.0, "FilterAugment: maximum gain or attenuation of random frequency bands, in dB; 0 is off."
    )
    filter_augment_type: Literal["linear", "step"] = setting(
        "linear", "FilterAugment: how gain varies with frequency: linear between band edges, or one step per band."
    )
    mixstyle_alpha: float = setting(
        0.0,
        "Freq-MixStyle (mix the mean and standard deviation of each mel bin with another window's, keep the labels): "
        "alpha of the Beta distribution; 0 is off.",
    )
    mixstyle_probability: float = setting(0.5, "Freq-MixStyle: probability per window.")
    mixup_alpha: float = setting(
        0.0, "Mixup: alpha of the Beta distribution of the mixing weight; 10 keeps it near 0.5; 0 is off."
    )
    mixup_probability: float = setting(0.5, "Mixup: probability per window.")
    mixup_labels: Literal["interpolate", "union"] = setting(
        "interpolate",
        "Mixup: targets of a mixed window: interpolate (weighted mean) or union (multi-label: all labels of both).",
    )
    cutmix_alpha: float = setting(
        0.0,
        "CutMix (replace part of a window with the same part of another, mix labels by area): alpha of the Beta "
        "distribution of the area; 0 is off.",
    )
    cutmix_probability: float = setting(
        0.5, "CutMix: probability per window. If mixup is also on, a window gets at most one of the two."
    )
    cutmix_shape: Literal["rectangle", "time"] = setting(
        "rectangle", "CutMix: replace a rectangle of time and mel bins, or a stretch of time with all bins."
    )
    image_gain: float = setting(0.0, "Image: multiply normalized features by 1 - gain or 1 + gain; 0 is off.")
    image_noise: float = setting(
        0.0, "Image: standard deviation of Gaussian noise added to normalized features, e.g. 0.1; 0 is off."
    )
    image_probability: float = setting(
        0.5, "Image: probability per window. If gain and noise are both on, a window gets one of them."
    )
    time_mask_s: float = setting(
        0.0, "SpecAugment: maximum time mask, in seconds, at most a tenth of the window; 0 is off."
    )
    frequency_mask_bins: int = setting(0, "SpecAugment: maximum frequency mask, in mel bins; 0 is off.")
    mask_probability: float = setting(1.0, "SpecAugment: probability per window.")
    cutout_s: float = setting(0.0, "Cutout: maximum length of a rectangle, in seconds; 0 is off.")
    cutout_bins: int = setting(16, "Cutout: maximum height of a rectangle, in mel bins.")
    cutout_rectangles: int = setting(2, "Cutout: rectangles per window.")
    patch_dropout: float = setting(
        0.0,
        "Patch dropout (Patchout of PaSST; for Audio Spectrogram Transformers): share of all patches dropped in "
        "each training step; 0 is off.",
    )
    patch_dropout_time: float = setting(
        0.0, "Patch dropout: share of the columns of patches (stretches of time) dropped; 0 is off."
    )
    patch_dropout_frequency: float = setting(
        0.0, "Patch dropout: share of the rows of patches (frequency bands) dropped; 0 is off."
    )

    def __post_init__(self) -> None:
        require_choices(self)
        require_within(self, PROBABILITIES, 0, 1)
        require_within(self, ("frequency_shift_bins", "time_roll_s", "frequency_roll_bins", "batch_mix_offset_s"), 0)
        require_within(self, ("mixup_alpha", "cutmix_alpha", "mixstyle_alpha"), 0)
        require_within(self, ("time_mask_s", "frequency_mask_bins", "cutout_s"), 0)
        require_within(self, ("time_stretch", "frequency_scale", "image_gain"), 0, 1)
        require_within(
            self, ("gain_db", "equalizer_db", "filter_augment_db", "batch_mix_level_db", "image_noise"), 0, 100
        )
        require_within(self, ("batch_mix_max_windows",), 2, 32)  # a batch holds a copy of all of them at once
        require_within(self, ("cutout_bins",), 1)
        require_within(self, ("cutout_rectangles",), 1, 100)
        require_within(self, ("noise_snr_db",), -200, MAX_NOISE_SNR_DB)
        require_within(self, FRACTIONS, 0, 0.99)
        both = self.mixup_probability + self.cutmix_probability
        if self.mixup_alpha and self.cutmix_alpha and both > 1:
            raise InputError(
                f"--mixup_probability and --cutmix_probability add up to {both:g}, but a window gets at most one of "
                "the two: lower their sum to 1 or less"
            )

    @property
    def drops_patches(self) -> bool:
        """Whether training steps drop patches."""
        return any(getattr(self, name) for name in FRACTIONS)

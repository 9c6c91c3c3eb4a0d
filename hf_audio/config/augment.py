"""How training batches are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hf_audio.config.setting import require_choices, require_within, setting
from hf_audio.errors import InputError

PROBABILITIES = (
    *("noise_probability", "batch_mix_probability", "mixstyle_probability", "mixup_probability"),
    *("cutmix_probability", "image_probability"),
)
FRACTIONS = ("patch_dropout", "patch_dropout_time", "patch_dropout_frequency")  # of patches, which never are all


@dataclass
class AugmentConfig:
    """How training batches are varied, on the device, per sample."""

    _argument_group_name = "augmentation"

    time_shift: bool = setting(False, "Warp: random circular shift in time of windows that are full of sound.")
    time_stretch: float = setting(0.0, "Warp: most that time is stretched or compressed, 0.2 is 20 %%; 0 is off.")
    frequency_scale: float = setting(0.0, "Warp: most that the mel axis is scaled up or down, as a share; 0 is off.")
    frequency_shift_bins: float = setting(0.0, "Warp: most mel bins that the spectrum is shifted up or down; 0 is off.")
    gain_db: float = setting(0.0, "Warp: most that a window gets louder or quieter, in dB; 0 is off.")
    time_roll_s: float = setting(0.0, "Roll: longest circular shift in time, in seconds; 0 is off.")
    frequency_roll_bins: int = setting(0, "Roll: largest circular shift in frequency, in mel bins; 0 is off.")
    equalizer_db: float = setting(
        0.0, "Recording: standard deviation of a random smooth equalizer curve, in dB; 0 is off."
    )
    noise_probability: float = setting(0.0, "Recording: probability that noise is added to a window; 0 is off.")
    noise_snr_db: float = setting(5.0, "Recording: lowest signal-to-noise ratio, in dB.")
    batch_mix_probability: float = setting(
        0.0,
        "Batch mixing: probability that other windows of the batch are added to a window; labels are united; 0 is off.",
    )
    batch_mix_max_windows: int = setting(4, "Batch mixing: most windows, and most classes, in a mixture.")
    batch_mix_offset_s: float = setting(
        0.0, "Batch mixing: most seconds that the other windows are shifted, up to half a window."
    )
    batch_mix_level_db: float = setting(6.0, "Batch mixing: most that the other windows are quieter, in dB.")
    filter_augment_db: float = setting(
        0.0, "FilterAugment: most that random frequency bands get louder or quieter, in dB; 0 is off."
    )
    filter_augment_type: Literal["linear", "step"] = setting(
        "linear", "FilterAugment: gain between the edges of the bands: linear slopes, or one step per band."
    )
    mixstyle_alpha: float = setting(
        0.0,
        "Freq-MixStyle (mix the mean and standard deviation of each mel bin with another window's; labels stay): "
        "alpha of the Beta distribution; 0 is off.",
    )
    mixstyle_probability: float = setting(0.5, "Freq-MixStyle: probability per window.")
    mixup_alpha: float = setting(
        0.0, "Mixup: alpha of the Beta distribution of the mixing weight; 10 mixes about half and half; 0 is off."
    )
    mixup_probability: float = setting(0.5, "Mixup: probability per window.")
    mixup_labels: Literal["interpolate", "union"] = setting(
        "interpolate",
        "Mixup: labels of a mixed window: interpolate (weighted mean) or union (multi-label: the labels of both).",
    )
    cutmix_alpha: float = setting(
        0.0,
        "CutMix (replace a part of a window by the same part of another; labels by area): alpha of the Beta "
        "distribution of the area; 0 is off.",
    )
    cutmix_probability: float = setting(
        0.5, "CutMix: probability per window. With mixup on too, a window gets at most one of both."
    )
    cutmix_shape: Literal["rectangle", "time"] = setting(
        "rectangle", "CutMix: the part is a rectangle of time and mel bins, or a stretch of time with all bins."
    )
    image_gain: float = setting(0.0, "Image: normalized features are multiplied by 1 - this or 1 + this; 0 is off.")
    image_noise: float = setting(
        0.0, "Image: standard deviation of Gaussian noise added to normalized features, e.g. 0.1; 0 is off."
    )
    image_probability: float = setting(
        0.5, "Image: probability per window. With gain and noise both on, a window gets one of them."
    )
    time_mask_s: float = setting(
        0.0, "SpecAugment: longest time mask in seconds, at most a tenth of the window; 0 is off."
    )
    frequency_mask_bins: int = setting(0, "SpecAugment: widest frequency mask in mel bins; 0 is off.")
    cutout_s: float = setting(0.0, "Cutout: longest rectangle in seconds; 0 is off.")
    cutout_bins: int = setting(16, "Cutout: highest rectangle in mel bins.")
    cutout_rectangles: int = setting(2, "Cutout: rectangles per window.")
    patch_dropout: float = setting(
        0.0,
        "Patch dropout (Patchout of PaSST; for Audio Spectrogram Transformers): share of all patches left out of a "
        "training step; 0 is off.",
    )
    patch_dropout_time: float = setting(
        0.0, "Patch dropout: share of the columns of patches (stretches of time) left out; 0 is off."
    )
    patch_dropout_frequency: float = setting(
        0.0, "Patch dropout: share of the rows of patches (frequency bands) left out; 0 is off."
    )

    def __post_init__(self) -> None:
        require_choices(self)
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

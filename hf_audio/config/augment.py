"""How training batches are varied."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import require_within, setting


@dataclass
class AugmentConfig:
    """How training batches are varied, on the device, per sample."""

    _argument_group_name = "augmentation"

    time_shift: bool = setting(False, "Warp: a window that is full of sound starts anywhere in it, as a loop.")
    time_stretch: float = setting(0.0, "Warp: up to so much faster or slower, 0.2 is 20 %%; 0 is off.")
    frequency_scale: float = setting(0.0, "Warp: the mel axis is scaled up or down by up to so much; 0 is off.")
    frequency_shift_bins: float = setting(0.0, "Warp: pitch and formants move by up to so many mel bins; 0 is off.")
    gain_db: float = setting(0.0, "Warp: up to so many decibels louder or quieter; 0 is off.")
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
    time_mask_s: float = setting(
        0.0, "SpecAugment: longest time mask in seconds, at most a tenth of the window; 0 is off."
    )
    frequency_mask_bins: int = setting(0, "SpecAugment: widest frequency mask in mel bins; 0 switches it off.")
    mixup_alpha: float = setting(0.0, "Mixup: both parameters of the Beta distribution of the mixing share; 0 is off.")
    mixup_probability: float = setting(0.5, "Mixup: how likely a clip is mixed with another at all.")
    mixup_labels: str = setting(
        "interpolate",
        "Labels of a mixed clip: 'interpolate' (their shares) or 'union' (multi-label: all that is heard).",
    )

    def __post_init__(self) -> None:
        require_within(self, ("noise_probability", "batch_mix_probability", "mixup_probability"), 0, 1)
        require_within(self, ("time_stretch", "frequency_scale", "frequency_shift_bins", "gain_db", "equalizer_db"), 0)
        require_within(self, ("batch_mix_offset_s", "batch_mix_level_db", "time_mask_s", "frequency_mask_bins"), 0)
        require_within(self, ("mixup_alpha",), 0)
        require_within(self, ("noise_snr_db",), -200, 200)

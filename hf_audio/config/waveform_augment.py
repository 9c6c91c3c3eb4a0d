"""How training batches are varied while they are sound: waveforms, or features computed in training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from hf_audio.config.setting import require_span, require_within, setting
from hf_audio.errors import unknown_name

SHIFT_MODES = ("roll", "pad")


def span(least: float, most: float, help_text: str) -> list[float]:
    """A setting of two numbers: the least and the most."""
    return field(default_factory=lambda: [least, most], metadata={"help": help_text})


@dataclass
class WaveformAugmentConfig:
    """How training batches are varied while they are sound: waveforms, or features computed in training.

    Each augmentation has the probability that a window gets it, 0 switches it off, and the least and the most of what
    is then drawn.
    """

    _argument_group_name = "waveform augmentation"

    wave_shift_probability: float = setting(0.0, "Time shift: how likely a window is shifted; 0 is off.")
    wave_shift_s: float = setting(
        1.0, "Time shift: up to so many seconds earlier or later, at most half of the window."
    )
    wave_shift_mode: str = setting(
        "roll", "Time shift: what falls off one end comes back at the other (roll), or silence does (pad)."
    )
    wave_polarity_probability: float = setting(0.0, "Polarity: how likely a window is turned upside down; 0 is off.")
    wave_gain_probability: float = setting(0.0, "Gain: how likely a window gets louder or quieter; 0 is off.")
    wave_gain_db: list[float] = span(-12.0, 6.0, "Gain: least and most, in decibels.")
    wave_noise_probability: float = setting(0.0, "Noise: how likely noise is added to a window; 0 is off.")
    wave_noise_snr_db: list[float] = span(5.0, 40.0, "Noise: it lies least and most so many decibels below the sound.")
    wave_noise_exponent: list[float] = span(
        0.0, 2.0, "Noise: its power falls as 1 / f^exponent. 0 is white, 1 pink, 2 brown, -1 blue."
    )
    wave_low_pass_probability: float = setting(0.0, "Low pass: how likely a window loses high frequencies; 0 is off.")
    wave_low_pass_hz: list[float] = span(1000.0, 7000.0, "Low pass: lowest and highest cutoff in Hz.")
    wave_high_pass_probability: float = setting(0.0, "High pass: how likely a window loses low frequencies; 0 is off.")
    wave_high_pass_hz: list[float] = span(60.0, 600.0, "High pass: lowest and highest cutoff in Hz.")
    wave_band_pass_probability: float = setting(0.0, "Band pass: how likely a window keeps one band only; 0 is off.")
    wave_band_pass_hz: list[float] = span(300.0, 3000.0, "Band pass: lowest and highest middle of the band in Hz.")
    wave_band_pass_octaves: list[float] = span(1.0, 4.0, "Band pass: narrowest and widest band in octaves.")
    wave_clip_probability: float = setting(0.0, "Clipping: how likely the peaks of a window are cut off; 0 is off.")
    wave_clip_db: list[float] = span(3.0, 15.0, "Clipping: least and most, in decibels below the window's peak.")

    def __post_init__(self) -> None:
        require_within(self, [one.name for one in fields(self) if one.name.endswith("_probability")], 0, 1)
        require_within(self, ("wave_shift_s",), 0)
        require_span(self, "wave_gain_db", -100, 100)
        require_span(self, "wave_noise_snr_db", -100, 200)
        require_span(self, "wave_noise_exponent", -2, 2)
        for name in ("low_pass", "high_pass", "band_pass"):
            require_span(self, f"wave_{name}_hz", 10, 100_000)
        require_span(self, "wave_band_pass_octaves", 0.1, 10)
        require_span(self, "wave_clip_db", 0, 60)
        if self.wave_shift_mode not in SHIFT_MODES:
            raise unknown_name("wave_shift_mode", self.wave_shift_mode, SHIFT_MODES)

    @property
    def switched_on(self) -> list[str]:
        """The settings by which waveforms are varied at all."""
        return [one.name for one in fields(self) if one.name.endswith("_probability") and getattr(self, one.name)]

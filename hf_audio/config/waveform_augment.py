"""How training batches of waveforms are augmented, before features are computed if any are."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from hf_audio.config.setting import PATH, require_choices, require_span, require_within, setting
from hf_audio.errors import InputError, unknown_name

CODEC_NAMES = ("mp3", "vorbis", "opus")
EFFECT_NAMES = (  # as SoX calls them
    *("allpass", "bandreject", "bass", "chorus", "compand", "contrast", "echo", "echos"),
    *("equalizer", "fade", "flanger", "overdrive", "reverse", "treble", "tremolo"),
)

NO_CHANGE = {  # values that leave a window unchanged
    "wave_speed_ratio": [1.0, 1.0],
    "wave_stretch_ratio": [1.0, 1.0],
    "wave_pitch_semitones": [0.0, 0.0],
    "wave_shift_s": 0.0,
    "wave_gain_db": [0.0, 0.0],
    "wave_clip_db": [0.0, 0.0],
}


def span(minimum: float, maximum: float, help_text: str) -> list[float]:
    """A setting that is a pair of numbers, the lower first."""
    return field(default_factory=lambda: [minimum, maximum], metadata={"help": help_text})


@dataclass
class WaveformAugmentConfig:
    """How training batches of waveforms are augmented, before features are computed if any are.

    Each augmentation has a probability per window (0 is off) and a range from which its strength is drawn.
    """

    _argument_group_name = "waveform augmentation"

    wave_speed_probability: float = setting(0.0, "Speed (changes pitch too): probability per window; 0 is off.")
    wave_speed_ratio: list[float] = span(0.9, 1.1, "Speed: lowest and highest ratio; 1 is unchanged.")
    wave_stretch_probability: float = setting(0.0, "Time stretch (keeps the pitch): probability per window; 0 is off.")
    wave_stretch_ratio: list[float] = span(0.8, 1.25, "Time stretch: lowest and highest ratio; 1 is unchanged.")
    wave_pitch_probability: float = setting(0.0, "Pitch shift (keeps the duration): probability per window; 0 is off.")
    wave_pitch_semitones: list[float] = span(-2.0, 2.0, "Pitch shift: lowest and highest, in semitones.")
    wave_shift_probability: float = setting(0.0, "Time shift: probability per window; 0 is off.")
    wave_shift_s: float = setting(1.0, "Time shift: maximum shift either way, in seconds, up to half a window.")
    wave_shift_mode: Literal["roll", "pad"] = setting(
        "roll", "Time shift: fill the gap with the sound shifted out of the other end (roll) or with silence (pad)."
    )
    wave_polarity_probability: float = setting(0.0, "Polarity inversion: probability per window; 0 is off.")
    wave_gain_probability: float = setting(0.0, "Gain: probability per window; 0 is off.")
    wave_gain_db: list[float] = span(-12.0, 6.0, "Gain: lowest and highest, in dB.")
    impulse_responses: str | None = setting(
        None,
        "Reverberation: a folder of room impulse responses, or synthetic, which generates them. Default: off.",
        PATH,
    )
    wave_reverb_probability: float = setting(
        0.5, "Reverberation: probability per window, with --impulse_responses; 0 is off."
    )
    wave_reverb_rt60_s: list[float] = span(
        0.1, 0.8, "Synthetic reverberation: shortest and longest reverberation time (RT60), in seconds."
    )
    wave_reverb_direct_db: list[float] = span(
        -3.0, 12.0, "Synthetic reverberation: lowest and highest direct-to-reverberant ratio, in dB."
    )
    background: str | None = setting(
        None,
        "Background sounds to add to windows, without their labels: a corpus such as esc50, or a folder of "
        "recordings. Default: off.",
        PATH,
    )
    background_dir: str | None = setting(
        None, "Background: folder with the recordings, if --background is a corpus.", PATH
    )
    wave_background_probability: float = setting(
        0.5, "Background: probability per window, with --background; 0 is off."
    )
    wave_background_snr_db: list[float] = span(
        3.0, 30.0, "Background: lowest and highest signal-to-background ratio, in dB."
    )
    wave_noise_probability: float = setting(0.0, "Colored noise: probability per window; 0 is off.")
    wave_noise_snr_db: list[float] = span(5.0, 40.0, "Colored noise: lowest and highest signal-to-noise ratio, in dB.")
    wave_noise_exponent: list[float] = span(
        0.0,
        2.0,
        "Colored noise: lowest and highest exponent of the power spectrum 1 / f^exponent: 0 is white, 1 pink, 2 "
        "brown, -1 blue.",
    )
    wave_low_pass_probability: float = setting(0.0, "Low-pass filter: probability per window; 0 is off.")
    wave_low_pass_hz: list[float] = span(1000.0, 7000.0, "Low-pass filter: lowest and highest cutoff, in Hz.")
    wave_high_pass_probability: float = setting(0.0, "High-pass filter: probability per window; 0 is off.")
    wave_high_pass_hz: list[float] = span(60.0, 600.0, "High-pass filter: lowest and highest cutoff, in Hz.")
    wave_band_pass_probability: float = setting(0.0, "Band-pass filter: probability per window; 0 is off.")
    wave_band_pass_hz: list[float] = span(
        300.0, 3000.0, "Band-pass filter: lowest and highest center frequency, in Hz."
    )
    wave_band_pass_octaves: list[float] = span(
        1.0, 4.0, "Band-pass filter: narrowest and widest bandwidth, in octaves."
    )
    wave_clip_probability: float = setting(0.0, "Clipping: probability per window; 0 is off.")
    wave_clip_db: list[float] = span(
        3.0, 15.0, "Clipping: minimum and maximum distance below the window's peak, in dB."
    )
    wave_codec_probability: float = setting(
        0.0, "Lossy codec (encode and decode, on the CPU): probability per window; 0 is off."
    )
    wave_codec_names: list[str] = field(
        default_factory=lambda: ["mp3", "vorbis"],
        metadata={"help": "Lossy codec: codecs to draw from.", "choices": CODEC_NAMES},
    )
    wave_codec_compression: list[float] = span(
        0.5, 1.0, "Lossy codec: lowest and highest compression, from 0 (best quality) to 1 (smallest file)."
    )
    wave_effect_probability: float = setting(
        0.0, "Effects: probability per window of one of --wave_effect_names; 0 is off."
    )
    wave_effect_names: list[str] = field(
        default_factory=lambda: ["bass", "treble", "equalizer", "chorus", "compand", "overdrive", "tremolo"],
        metadata={
            "help": f"Effects to draw from, as SoX names them: {', '.join(EFFECT_NAMES)}.",
            "choices": EFFECT_NAMES,
        },
    )

    def __post_init__(self) -> None:
        require_choices(self)
        require_within(self, [one.name for one in fields(self) if one.name.endswith("_probability")], 0, 1)
        require_within(self, ("wave_shift_s",), 0)
        self._refuse_no_change()
        require_span(self, "wave_speed_ratio", 0.5, 2)
        require_span(self, "wave_stretch_ratio", 0.5, 2)
        require_span(self, "wave_pitch_semitones", -12, 12)
        require_span(self, "wave_reverb_rt60_s", 0.01, 5)
        require_span(self, "wave_reverb_direct_db", -60, 60)
        require_span(self, "wave_background_snr_db", -100, 200)
        require_span(self, "wave_codec_compression", 0, 1)
        require_span(self, "wave_gain_db", -100, 100)
        require_span(self, "wave_noise_snr_db", -100, 200)
        require_span(self, "wave_noise_exponent", -2, 2)
        for name in ("low_pass", "high_pass", "band_pass"):
            require_span(self, f"wave_{name}_hz", 10, 100_000)
        require_span(self, "wave_band_pass_octaves", 0.1, 10)
        require_span(self, "wave_clip_db", 0, 60)
        for name, known in (("wave_codec_names", CODEC_NAMES), ("wave_effect_names", EFFECT_NAMES)):
            given = getattr(self, name)
            for one in [given] if isinstance(given, str) else given:
                if one not in known:
                    raise unknown_name(f"--{name}", one, known)

    def _refuse_no_change(self) -> None:
        """Refuses an augmentation that is on and would leave every window unchanged. Raises InputError."""
        for name, unchanged in NO_CHANGE.items():
            switch = f"wave_{name.split('_')[1]}_probability"
            if getattr(self, switch) > 0 and getattr(self, name) == unchanged:
                found = " ".join(f"{one:g}" for one in unchanged) if isinstance(unchanged, list) else f"{unchanged:g}"
                raise InputError(f"--{name} {found} changes nothing: give another range, or --{switch} 0")

"""How training batches are varied while they are sound: waveforms, or features computed in training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from hf_audio.config.setting import PATH, require_span, require_within, setting
from hf_audio.errors import InputError, unknown_name

SHIFT_MODES = ("roll", "pad")
CODEC_NAMES = ("mp3", "vorbis", "opus")
EFFECT_NAMES = (  # as SoX calls them
    *("allpass", "bandreject", "bass", "chorus", "compand", "contrast", "echo", "echos"),
    *("equalizer", "fade", "flanger", "overdrive", "reverse", "treble", "tremolo"),
)

NO_CHANGE = {  # what leaves a window as it is
    "wave_speed_ratio": [1.0, 1.0],
    "wave_stretch_ratio": [1.0, 1.0],
    "wave_pitch_semitones": [0.0, 0.0],
    "wave_shift_s": 0.0,
    "wave_gain_db": [0.0, 0.0],
    "wave_clip_db": [0.0, 0.0],
}


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

    wave_speed_probability: float = setting(
        0.0, "Speed: how likely a window is played faster or slower, pitch and all; 0 is off."
    )
    wave_speed_ratio: list[float] = span(0.9, 1.1, "Speed: slowest and fastest, as a ratio; 1 is as recorded.")
    wave_stretch_probability: float = setting(
        0.0, "Time stretch: how likely a window gets faster or slower at the same pitch; 0 is off."
    )
    wave_stretch_ratio: list[float] = span(
        0.8, 1.25, "Time stretch: slowest and fastest, as a ratio; 1 is as recorded."
    )
    wave_pitch_probability: float = setting(
        0.0, "Pitch shift: how likely a window gets higher or lower in the same time; 0 is off."
    )
    wave_pitch_semitones: list[float] = span(-2.0, 2.0, "Pitch shift: most downwards and upwards, in semitones.")
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
    impulse_responses: str | None = setting(
        None,
        "Reverberation: a folder of impulse responses of rooms, or synthetic, which makes them up. Default: none.",
        PATH,
    )
    wave_reverb_probability: float = setting(
        0.5, "Reverberation: how likely a window sounds as in a room of --impulse_responses; 0 is off."
    )
    wave_reverb_rt60_s: list[float] = span(
        0.1, 0.8, "Reverberation, synthetic: shortest and longest reverberation time, in which it falls by 60 dB."
    )
    wave_reverb_direct_db: list[float] = span(
        -3.0, 12.0, "Reverberation, synthetic: direct sound lies least and most so far above the reflections, in dB."
    )
    background: str | None = setting(
        None,
        "Background: a corpus, such as esc50, or a folder of recordings that are added to windows without a label. "
        "Default: none.",
        PATH,
    )
    background_dir: str | None = setting(
        None, "Background: the folder with the recordings, where --background is a corpus.", PATH
    )
    wave_background_probability: float = setting(
        0.5, "Background: how likely a recording of --background is added to a window; 0 is off."
    )
    wave_background_snr_db: list[float] = span(
        3.0, 30.0, "Background: it lies least and most so many decibels below the sound."
    )
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
    wave_codec_probability: float = setting(
        0.0, "Codec: how likely a window is encoded and decoded again, on the CPU; 0 is off."
    )
    wave_codec_names: list[str] = field(
        default_factory=lambda: ["mp3", "vorbis"], metadata={"help": f"Codec: any of {', '.join(CODEC_NAMES)}."}
    )
    wave_codec_compression: list[float] = span(
        0.5, 1.0, "Codec: least and most; 0 is the best sound, 1 the smallest file."
    )
    wave_effect_probability: float = setting(
        0.0, "Effects: how likely a window gets one of --wave_effect_names; 0 is off."
    )
    wave_effect_names: list[str] = field(
        default_factory=lambda: ["bass", "treble", "equalizer", "chorus", "compand", "overdrive", "tremolo"],
        metadata={"help": f"Effects: any of SoX's {', '.join(EFFECT_NAMES)}."},
    )

    def __post_init__(self) -> None:
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
        for name, known in (("shift_mode", SHIFT_MODES), ("codec_names", CODEC_NAMES), ("effect_names", EFFECT_NAMES)):
            given = getattr(self, f"wave_{name}")
            for one in [given] if isinstance(given, str) else given:
                if one not in known:
                    raise unknown_name(f"--wave_{name}", one, known)

    def _refuse_no_change(self) -> None:
        """Refuses what is switched on and would leave each window as it is. Raises InputError."""
        for name, unchanged in NO_CHANGE.items():
            switch = f"wave_{name.split('_')[1]}_probability"
            if getattr(self, switch) > 0 and getattr(self, name) == unchanged:
                found = " ".join(f"{one:g}" for one in unchanged) if isinstance(unchanged, list) else f"{unchanged:g}"
                raise InputError(f"--{name} {found} changes nothing: give another range, or --{switch} 0")

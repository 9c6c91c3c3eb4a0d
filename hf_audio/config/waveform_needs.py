"""Which settings of waveform augmentation have no effect without others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hf_audio.config.needs import Needs, names_of
from hf_audio.config.waveform_augment import WaveformAugmentConfig

OF_WAVEFORMS = sorted(names_of(WaveformAugmentConfig))
WAVE_AUGMENTATIONS = [
    name[len("wave_") : -len("_probability")] for name in OF_WAVEFORMS if name.endswith("_probability")
]


def _happens(what: str) -> Callable[[Any], bool]:
    return lambda run: getattr(run, f"wave_{what}_probability") > 0


WAVEFORM_NEEDS = (
    Needs(
        OF_WAVEFORMS,
        lambda run: run.features == "waveform" or getattr(run, "features_on_device", False),
        "it needs waveforms, but other features are stored here: give --features_on_device too, which stores waveforms "
        "and computes spectrograms in training, or --features waveform and a model that reads waveforms",
    ),
    *(
        Needs(
            [name for name in OF_WAVEFORMS if name.startswith(f"wave_{what}_") and not name.endswith("_probability")],
            _happens(what),
            f"--wave_{what}_probability is 0: give it too, e.g. 0.5, or leave it out",
        )
        for what in WAVE_AUGMENTATIONS
    ),
    Needs(
        [name for name in OF_WAVEFORMS if name.startswith(("background_", "wave_background_"))],
        lambda run: run.background,
        "background sounds are off: give --background too, e.g. esc50, or leave it out",
    ),
    Needs(
        ("background", "background_dir"),
        lambda run: run.wave_background_probability > 0,
        "--wave_background_probability is 0: leave one of the two out",
    ),
    Needs(
        [name for name in OF_WAVEFORMS if name.startswith("wave_reverb_")],
        lambda run: run.impulse_responses,
        "reverberation is off: give --impulse_responses too, e.g. synthetic, or leave it out",
    ),
    Needs(
        ("wave_reverb_rt60_s", "wave_reverb_direct_db"),
        lambda run: run.impulse_responses == "synthetic",
        "it only applies to --impulse_responses synthetic: give that, or leave it out",
    ),
    Needs(
        ("impulse_responses",),
        lambda run: run.wave_reverb_probability > 0,
        "--wave_reverb_probability is 0: leave one of the two out",
    ),
)

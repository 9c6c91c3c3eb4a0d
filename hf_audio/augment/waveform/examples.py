"""Each augmentation of waveforms with settings that let one hear it: what is drawn, tested and measured one by one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hf_audio.config import WaveformAugmentConfig

SUFFIX = "_probability"


def example_waveform_augmentations() -> dict[str, dict[str, Any]]:
    """Of each augmentation that there is a switch for, its name and settings of WaveformAugmentConfig."""
    names = [one.name for one in fields(WaveformAugmentConfig) if one.name.endswith(SUFFIX)]
    return {name.removeprefix("wave_").removesuffix(SUFFIX).replace("_", " "): {name: 1.0} for name in names}

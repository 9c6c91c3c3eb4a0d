"""How training batches are varied while they are sound: waveforms, or features computed in training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WaveformAugmentConfig:
    """How training batches are varied while they are sound: waveforms, or features computed in training."""

    _argument_group_name = "waveform augmentation"

"""On-device augmentation of feature batches."""

from hf_audio.augment.compose import Augmentation, Compose, augmentation_for
from hf_audio.augment.spectrogram import Mixup, Normalisation, SpecAugment

__all__ = ["Augmentation", "Compose", "Mixup", "Normalisation", "SpecAugment", "augmentation_for"]

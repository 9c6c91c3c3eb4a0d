"""Augmentation of batches on their device: spectrograms here, waveforms in `waveform`."""

from hf_audio.augment.augmentation import Augmentation
from hf_audio.augment.batch_mix import BatchMix
from hf_audio.augment.before_features import BeforeFeatures, augmentation_of
from hf_audio.augment.compose import Compose, augmentation_for, require_mixable, require_sense
from hf_audio.augment.cutmix import CutMix
from hf_audio.augment.cutout import Cutout
from hf_audio.augment.energies import Normalization
from hf_audio.augment.filter_augment import FilterAugment
from hf_audio.augment.image import ImageChange
from hf_audio.augment.masks import SpecAugment
from hf_audio.augment.mix_or_cut import MixOrCut
from hf_audio.augment.mixstyle import FrequencyMixStyle
from hf_audio.augment.mixup import Mixup
from hf_audio.augment.recording import Recording
from hf_audio.augment.roll import Roll
from hf_audio.augment.warp import Warp
from hf_audio.augment.waveform import waveform_steps

__all__ = [
    "Augmentation",
    "BatchMix",
    "BeforeFeatures",
    "Compose",
    "CutMix",
    "Cutout",
    "FilterAugment",
    "FrequencyMixStyle",
    "ImageChange",
    "MixOrCut",
    "Mixup",
    "Normalization",
    "Recording",
    "Roll",
    "SpecAugment",
    "Warp",
    "augmentation_for",
    "augmentation_of",
    "require_mixable",
    "require_sense",
    "waveform_steps",
]

"""All settings of a recipe in addition to transformers' TrainingArguments, each with a help text; names have units.

The field names are the command-line flags. Values come from the recipe, then `--demo`, then `--config FILE.yaml`, then
the command line; parsing.py combines them.
"""

from hf_audio.config.augment import AugmentConfig
from hf_audio.config.data import BuildConfig, CorpusConfig, DataConfig, SplitConfig
from hf_audio.config.distilling import DistillingConfig
from hf_audio.config.features import FeatureConfig, MixingConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.model import ClassicalConfig, ModelConfig, PretrainingConfig
from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.config.run import HubConfig, Recipe, RunConfig
from hf_audio.config.setting import setting
from hf_audio.config.sharing import ShareConfig
from hf_audio.config.waveform_augment import WaveformAugmentConfig

__all__ = [
    "AugmentConfig",
    "BuildConfig",
    "ClassicalConfig",
    "CorpusConfig",
    "DataConfig",
    "DistillingConfig",
    "FeatureConfig",
    "HubConfig",
    "LossConfig",
    "MixingConfig",
    "ModelConfig",
    "OptimizingConfig",
    "PretrainingConfig",
    "Recipe",
    "RunConfig",
    "ShareConfig",
    "SplitConfig",
    "WaveformAugmentConfig",
    "setting",
]

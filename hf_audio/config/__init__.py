"""Every setting of a recipe beyond transformers' TrainingArguments: a unit in each name, help on each field.

The field names are the command-line flags. Values come from the recipe, then `--demo`, then `--config FILE.yaml`, then
the command line; recipe.py puts them together.
"""

from hf_audio.config.data import BuildConfig, CorpusConfig, DataConfig, FeatureConfig, MixingConfig, SplitConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.model import AugmentConfig, ClassicalConfig, ModelConfig, PretrainingConfig
from hf_audio.config.run import HubConfig, Recipe, RunConfig
from hf_audio.config.setting import setting
from hf_audio.config.sharing import ShareConfig

__all__ = [
    "AugmentConfig",
    "BuildConfig",
    "ClassicalConfig",
    "CorpusConfig",
    "DataConfig",
    "FeatureConfig",
    "HubConfig",
    "LossConfig",
    "MixingConfig",
    "ModelConfig",
    "PretrainingConfig",
    "Recipe",
    "RunConfig",
    "ShareConfig",
    "SplitConfig",
    "setting",
]

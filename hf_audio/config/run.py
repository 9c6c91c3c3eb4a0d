"""Settings of the run itself and of the Hub, and all settings together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.config.augment import AugmentConfig
from hf_audio.config.data import BuildConfig, CorpusConfig, DataConfig, SplitConfig
from hf_audio.config.distilling import DistillingConfig
from hf_audio.config.features import FeatureConfig, MixingConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.model import ClassicalConfig, ModelConfig, PretrainingConfig
from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.config.setting import PATH, require_within, setting
from hf_audio.config.waveform_augment import WaveformAugmentConfig
from hf_audio.hub_licenses import model_license

if TYPE_CHECKING:
    from transformers import TrainingArguments


@dataclass
class HubConfig:
    """Settings for the Hub in addition to transformers' own --push_to_hub and --hub_* flags."""

    _argument_group_name = "hub"

    streaming: bool = setting(True, "Stream the training split of features on the Hub instead of downloading it first.")
    hub_dataset_id: str | None = setting(
        None, "With --push_to_hub: Hub name of the features, USER/NAME. Default: the run folder's name plus -features."
    )
    public_license: list[str] | None = setting(
        None,
        "Publish features although the corpus's license forbids redistribution: repeat that license here, word for "
        "word, and those of any further corpora and of --negatives.",
    )
    license: str | None = setting(
        None, "License of the published model, as the Hub names it: apache-2.0, cc-by-4.0, mit, or other."
    )

    def __post_init__(self) -> None:
        if self.license is not None:
            self.license = model_license(self.license)


@dataclass
class RunConfig:
    """Settings of the run itself."""

    _argument_group_name = "run"

    config: str | None = setting(
        None,
        "YAML file with values for any of these flags, such as the config.yaml of another run. The command line "
        "overrides it.",
        PATH,
    )
    demo: bool = setting(
        False, "Train on a small corpus of synthesized instruments: no download, no GPU, a few minutes."
    )
    track_pictures: bool = setting(
        False,
        "Send figures to the trackers of --report_to (tensorboard, trackio, wandb): windows before and after "
        "augmentation, and the confusion matrix of each evaluation.",
    )
    overwrite_run: bool = setting(False, "Delete an earlier run in --output_dir and start from the beginning.")
    trial: bool = setting(
        False,
        "Set by scripts/tune.py: score on validation only, write the scores to trial.jsonl during training, and stop "
        "when standard input is closed.",
    )
    searched_trials: int | None = setting(
        None,
        "Number of trials that a search compared on validation to find these settings, for report and card.",
    )

    def __post_init__(self) -> None:
        require_within(self, ("searched_trials",), 1)


# The groups of flags of a recipe, by their field names in it: those of all recipes, and those of networks only
RECORDING_GROUPS = {
    "corpus": CorpusConfig,
    "split": SplitConfig,
    "building": BuildConfig,
    "features": FeatureConfig,
    "mixing": MixingConfig,
}
NETWORK_GROUPS = {
    "model": ModelConfig,
    "augment": AugmentConfig,
    "waveform_augment": WaveformAugmentConfig,
    "loss": LossConfig,
    "optimizing": OptimizingConfig,
    "distilling": DistillingConfig,
}


@dataclass
class Recipe:
    """All settings of one experiment, for all stages."""

    corpus: CorpusConfig
    split: SplitConfig
    building: BuildConfig
    features: FeatureConfig
    mixing: MixingConfig
    model: ModelConfig
    augment: AugmentConfig
    waveform_augment: WaveformAugmentConfig
    loss: LossConfig
    optimizing: OptimizingConfig
    distilling: DistillingConfig
    hub: HubConfig
    run: RunConfig
    training: TrainingArguments
    pretraining: PretrainingConfig | None = None
    classical: ClassicalConfig | None = None
    # Two of TrainingArguments' flags that are not passed to Trainer: publishing is a separate stage here, and Trainer
    # writes its arguments into every checkpoint, where others could read a token.
    push_to_hub: bool = False
    token: str | None = field(default=None, repr=False)
    chosen: dict[str, Any] = field(default_factory=dict)  # the flags whose values are not the recipe's own
    given: frozenset[str] = frozenset()  # the flags that the user gave, whatever their values
    made_in_python: bool = False  # by make_recipe, not from a command line
    named: frozenset[str] = frozenset()  # the flags that the user gave or the recipe sets
    resolved: dict[str, Any] = field(default_factory=dict, repr=False)  # every flag but the token, as it was parsed
    # Whether --dataset holds features that are already built; for one on the Hub, prepare_features finds this out.
    stored_features: bool = False

    @property
    def run_folder(self) -> Path:
        """The run's folder."""
        return Path(self.training.output_dir)

    @property
    def data(self) -> DataConfig:
        """All settings of the recordings."""
        return DataConfig(**vars(self.corpus), **vars(self.split), **vars(self.building))

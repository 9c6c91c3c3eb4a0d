"""How a run goes, what goes to the Hub, and all settings together."""

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
    """What comes from the Hub and goes there, beside transformers' own --push_to_hub and --hub_* flags."""

    _argument_group_name = "hub"

    streaming: bool = setting(True, "Stream the train split of features on the Hub instead of downloading it first.")
    hub_dataset_id: str | None = setting(
        None, "Hub name of the features built here, pushed with --push_to_hub. Default: <output_dir's name>-features."
    )
    public_license: list[str] | None = setting(
        None,
        "Name the corpus's license here to push its features in public although it forbids redistribution; with "
        "--negatives name both.",
    )
    license: str | None = setting(
        None, "License of the published model, by the Hub's identifiers: apache-2.0, cc-by-4.0 ..., or other."
    )

    def __post_init__(self) -> None:
        if self.license is not None:
            self.license = model_license(self.license)


@dataclass
class RunConfig:
    """How the run itself goes."""

    _argument_group_name = "run"

    config: str | None = setting(
        None, "YAML file of values for any of these flags; the command line wins over it.", PATH
    )
    demo: bool = setting(False, "Run on a small corpus rendered on the spot: no download, no GPU, about 5 minutes.")
    track_pictures: bool = setting(
        False,
        "Send pictures to trackers of --report_to that show them (tensorboard, trackio, wandb): windows, stored and "
        "augmented, and the confusion matrix of each evaluation.",
    )
    overwrite_run: bool = setting(False, "Throw away what another run left in --output_dir.")
    trial: bool = setting(
        False,
        "A trial of scripts/tune.py: it is scored on validation alone, writes its scores to trial.jsonl while it is "
        "trained, and ends when its standard input does.",
    )
    searched_trials: int | None = setting(
        None, "Of settings that a search found: how many it compared on validation, which report and card then say."
    )

    def __post_init__(self) -> None:
        require_within(self, ("searched_trials",), 1)


# The groups of flags that a recipe has, by their names in it: all, and those of networks alone
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
    """All settings of one experiment, as the stages read them."""

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
    # Two of TrainingArguments' flags, of which Trainer gets nothing: publishing is a stage of its own here, and Trainer
    # writes its arguments into every checkpoint, where a token would be read by others.
    push_to_hub: bool = False
    token: str | None = field(default=None, repr=False)
    chosen: dict[str, Any] = field(default_factory=dict)  # the flags whose values are not the recipe's own
    given: frozenset[str] = frozenset()  # the flags that the user gave, whatever their values
    made_in_python: bool = False  # by make_recipe, not from a command line
    # Whether --dataset holds features that were built already; of one on the Hub prepare_features finds it out.
    stored_features: bool = False

    @property
    def run_folder(self) -> Path:
        """Where the run goes."""
        return Path(self.training.output_dir)

    @property
    def data(self) -> DataConfig:
        """All that is said of recordings."""
        return DataConfig(**vars(self.corpus), **vars(self.split), **vars(self.building))

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

    streaming: bool = setting(
        True, "Stream the training split of features on the Hub, instead of downloading it first."
    )
    hub_dataset_id: str | None = setting(
        None, "With --push_to_hub: Hub name of the features, USER/NAME. Default: the run folder's name and -features."
    )
    public_license: list[str] | None = setting(
        None,
        "Publish features although the corpus's license forbids redistribution: repeat that license here, word for "
        "word; of several corpora, and of --negatives, each.",
    )
    license: str | None = setting(
        None, "License of the published model, as the Hub names it: apache-2.0, cc-by-4.0, mit, or other."
    )

    def __post_init__(self) -> None:
        if self.license is not None:
            self.license = model_license(self.license)


@dataclass
class RunConfig:
    """How the run itself goes."""

    _argument_group_name = "run"

    config: str | None = setting(
        None,
        "YAML file with values for any of these flags, such as the config.yaml of another run; the command line "
        "overrides it.",
        PATH,
    )
    demo: bool = setting(
        False, "Train on a small corpus of instruments that is synthesized on the spot: no download, no GPU, minutes."
    )
    track_pictures: bool = setting(
        False,
        "Send figures to the trackers of --report_to (tensorboard, trackio, wandb): windows, stored and augmented, "
        "and the confusion matrix of each evaluation.",
    )
    overwrite_run: bool = setting(False, "Delete what another run left in --output_dir, and start again.")
    trial: bool = setting(
        False,
        "Set by scripts/tune.py: score on validation alone, write the scores to trial.jsonl during training, and end "
        "when standard input does.",
    )
    searched_trials: int | None = setting(
        None, "Number of settings that a search compared on validation to find these; report and card then say so."
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
    named: frozenset[str] = frozenset()  # those, and what the recipe gives a value
    resolved: dict[str, Any] = field(default_factory=dict, repr=False)  # every flag but the token, as it was parsed
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

"""Every setting of a recipe beyond transformers' TrainingArguments: a unit in each name, help on each field.

The field names are the command-line flags. Values come from the recipe, then `--demo`, then `--config FILE.yaml`, then
the command line; recipe.py puts them together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments


def setting(default, help_text: str):
    """A dataclass field whose help appears in `--help`."""
    return field(default=default, metadata={"help": help_text})


@dataclass
class DataConfig:
    """Where the recordings come from and how they are split."""

    _argument_group_name = "data"

    corpus: str = setting("folder", "Corpus module that reads the recordings; a wrong name lists them all.")
    data_dir: str | None = setting(
        None, "Folder with the recordings. For corpus=folder: class folders, or a CSV with path and label(s)."
    )
    features_dir: str | None = setting(None, "Where features are built. Default: <output_dir>/features.")
    label_overrides: str | None = setting(
        None, "CSV with clip_id and label(s): what these clips really are, e.g. of scripts/find_label_errors.py."
    )
    negatives: str | None = setting(
        None,
        "Another corpus whose clips have none of the classes, for training: esc50, so that noise is no instrument.",
    )
    negatives_dir: str | None = setting(None, "Folder with the recordings of --negatives.")
    clip_s: float | None = setting(None, "Use only the first so many seconds of each clip. Default: all of it.")
    split: str = setting(
        "official", "official: the corpus's own, where it has one. random: by groups only; scores are then others."
    )
    fold: str | None = setting(
        None,
        "Test on this fold (official, e.g. a value of the CSV's split column; or of --num_folds), train on others.",
    )
    num_folds: int | None = setting(
        None, "Draw so many folds by groups where the corpus has none; test on --fold 1 ..."
    )
    test_groups: list[str] | None = setting(None, "Test on these groups (speakers, songs ...), train on the others.")
    test_fraction: float = setting(0.15, "Share of the groups to test on where the corpus has no official test split.")
    validation_fraction: float = setting(0.15, "Share of the groups to validate on where there is no such split.")
    validation_from: str = setting("train", "Split that --validation_fraction is drawn from: train or test.")
    test_to_train: float = setting(0.0, "Share of the test groups (whole songs) to train on instead; 0 is none.")
    split_seed: int = setting(0, "Seed of the split.")
    train_fraction: float = setting(1.0, "Share of the training groups to train on; every class keeps at least a clip.")
    num_workers: int | None = setting(None, "Processes that build features. Default: all cores this process may use.")
    strict: bool = setting(False, "Stop at the first unreadable, silent or too short file instead of leaving it out.")


@dataclass
class FeatureConfig:
    """What is stored of the recordings."""

    _argument_group_name = "features"

    features: str = setting(
        "fbank",
        "What is stored of each window: fbank (Kaldi log-mel, for AST and others), spectrogram (log-mel as you set it, "
        "stereo, wavelets ... as channels), waveform (for Wav2Vec2 and others), classical (174 numbers).",
    )
    window_s: float | None = setting(
        None, "Window length in seconds. Default: what nine of ten training clips fit into, at most 5 s."
    )
    hop_s: float | None = setting(None, "Hop between windows of one clip in seconds. Default: the window length.")
    sample_rate: int | None = setting(
        None, "Sample rate in Hz that sound is resampled to. Default: 16000 (fbank, waveform) or 22050."
    )
    normalisation: str = setting(
        "dataset",
        "What features are normalised by: the training data's statistics (dataset), their clip's own, or none.",
    )
    num_mel_bins: int = setting(128, "Mel bins, for features=fbank and spectrogram.")
    n_fft: int = setting(2048, "For features=spectrogram: samples under one spectrum.")
    hop_samples: int = setting(512, "For features=spectrogram: samples from one frame to the next.")
    channels: list[str] | None = setting(
        None,
        "For features=spectrogram: pictures of one window, as channels of one tensor: mel, left, right, harmonic, "
        "percussive, mfcc, wavelet. Default: mel.",
    )
    step_s: float | None = setting(
        None, "For features=classical: seconds under one vector. Default: one vector for the whole window."
    )
    entropy_frame_s: float | None = setting(
        None, "For features=classical: add the spectral entropy of every so many seconds, e.g. 0.1, to each step."
    )


@dataclass
class MixingConfig:
    """How new clips with several labels are mixed from training clips, when features are built."""

    _argument_group_name = "mixing"

    mix_fraction: float = setting(0.0, "Mixtures to make, as a share of the training clips; 0 makes none.")
    mix_clips: list[int] = field(
        default_factory=lambda: [2, 4],
        metadata={"help": "Fewest and most clips in a mixture."},
    )
    mix_labels: int = setting(4, "Most classes in a mixture.")
    mix_same: str | None = setting(None, "Metadata in which the clips of a mixture agree, e.g. genre. Default: any.")
    mix_overlap: float = setting(
        0.5, "Every clip of a mixture sounds in at least this share of each window; 1 lets all begin together."
    )
    mix_level_db: float = setting(6.0, "Clips of a mixture differ in level by up to so many decibels.")
    mix_match: str = setting("none", "Bring the clips of a mixture to one tempo or pitch: none, tempo or pitch.")
    mix_seed: int = setting(0, "Seed of the mixtures.")

    def __post_init__(self) -> None:
        fewest, most = (*self.mix_clips, 0, 0)[:2]
        if len(self.mix_clips) != 2 or not 2 <= fewest <= most:
            found = " ".join(map(str, self.mix_clips))
            raise ValueError(f"--mix_clips must be the fewest (2 or more) and the most clips, found {found}: try 2 4")
        if self.mix_labels < fewest:
            raise ValueError(
                f"--mix_labels {self.mix_labels} is fewer than the {fewest} clips of a mixture, each of another class: "
                f"try --mix_labels {most}"
            )
        if self.mix_fraction < 0 or self.mix_level_db < 0:
            raise ValueError("--mix_fraction and --mix_level_db must not be negative: 0 makes no mixtures, all as loud")
        if not 0 < self.mix_overlap <= 1:
            raise ValueError(f"--mix_overlap must be above 0 and at most 1, found {self.mix_overlap:g}: try 0.5")
        if self.mix_match not in ("none", "tempo", "pitch"):
            raise ValueError(f"--mix_match must be none, tempo or pitch, found {self.mix_match!r}")


@dataclass
class ModelConfig:
    """What is trained."""

    _argument_group_name = "model"

    model: str = setting(
        "ast-mini",
        "A checkpoint to fine-tune (Hub name or folder; timm/NAME for image networks), or a preset from scratch: "
        "ast-mini, cnn, lstm, wav2vec2-mini, mlp ..., any network of timm. A wrong name lists them.",
    )
    model_options: dict[str, Any] | str | None = setting(
        None, """What differs from the preset, as JSON: '{"dropout": 0.2}'. The fields of the model's config."""
    )
    head: str | None = setting(
        None, "Head: linear, deep (--head_sizes 1000 500), fluffy (one a class) or arcface. Default: the preset's."
    )
    head_sizes: list[int] | None = setting(None, "Hidden sizes of a deep or fluffy head, without the output.")
    head_dropout: float | None = setting(None, "Dropout in front of each layer of the head. Default: the preset's.")
    metadata: list[str] | None = setting(
        None, "Metadata of the clips to append to the embedding, e.g. genre drums; unknown where a clip has none."
    )
    freeze: str = setting(
        "none", "What is not trained: none, backbone, or convolutional (the first layers of Wav2Vec2 and its like)."
    )
    lora_rank: int = setting(0, "Train LoRA adapters of this rank and the head only; 0 trains all weights.")
    lora_alpha: int | None = setting(None, "LoRA scale. Default: twice the rank.")
    lora_dropout: float = setting(0.0, "Dropout in front of the adapters.")
    class_weights: bool = setting(False, "Weigh classes in the loss by their rarity in the train split.")
    early_stopping_patience: int = setting(0, "Stop after so many evaluations without a better score; 0 never does.")

    def __post_init__(self) -> None:
        if isinstance(self.model_options, str):
            try:
                self.model_options = json.loads(self.model_options)
            except json.JSONDecodeError as error:
                raise ValueError(f"--model_options must be JSON, found {self.model_options!r} ({error})") from None
        if self.model_options is not None and not isinstance(self.model_options, dict):
            raise ValueError(f"--model_options must be a JSON object, found {self.model_options!r}")


@dataclass
class PretrainingConfig:
    """How a spectrogram transformer is pretrained without labels; only recipes that name one of these have them."""

    _argument_group_name = "pretraining"

    objective: str = setting(
        "masked", "What the model must tell: 'masked' patches' content, or which patches were 'shuffled'."
    )
    mask_fraction: float = setting(0.75, "Share of a window's patches that is hidden, for objective=masked.")
    shuffle_fraction: float = setting(0.15, "Share of a window's patches that changes places, for objective=shuffled.")
    decoder_width: int | None = setting(None, "Width of objective=masked's decoder. Default: half the encoder's.")
    decoder_layers: int = setting(2, "Layers of objective=masked's decoder.")


@dataclass
class ClassicalConfig:
    """How a learner of scikit-learn is trained; only recipes that name one of these have them, in place of a model."""

    _argument_group_name = "learner"

    learner: str = setting("svm", "svm (radial kernel, one a class) or boosting (gradient-boosted trees).")
    svm_c: float | None = setting(None, "C of learner=svm: what a window on the wrong side costs. Default: 10.")
    svm_gamma: str | None = setting(
        None, "Gamma of learner=svm's kernel: a number, or scale (1 / numbers a window), the default."
    )
    search: bool = setting(
        False, "Choose C and gamma, or boosting's learning rate and leaves, by cross-validation over training groups."
    )
    network: str | None = setting(
        None, "Append this network's embedding of each window: a run folder or a Hub name. It is published too."
    )
    network_features: str | None = setting(
        None, "Feature dataset that --network reads, with the same windows. Default: features/ of its run folder."
    )

    @property
    def of_svm(self) -> dict[str, Any]:
        """What is said of C and gamma."""
        return {key: value for key, value in {"C": self.svm_c, "gamma": self.svm_gamma}.items() if value is not None}

    def __post_init__(self) -> None:
        if self.svm_c is not None and not self.svm_c > 0:
            raise ValueError(f"--svm_c must be above 0, found {self.svm_c:g}")
        if self.learner != "svm" and (self.svm_c is not None or self.svm_gamma is not None):
            raise ValueError(
                f"--svm_c and --svm_gamma are for --learner svm and this is {self.learner}: leave them out"
            )
        if isinstance(self.svm_gamma, str) and self.svm_gamma != "scale":
            try:
                self.svm_gamma = float(self.svm_gamma)
            except ValueError:
                raise ValueError(f"--svm_gamma must be a number or scale, found {self.svm_gamma!r}") from None
        if isinstance(self.svm_gamma, float) and not self.svm_gamma > 0:
            raise ValueError(f"--svm_gamma must be above 0, found {self.svm_gamma:g}")


@dataclass
class AugmentConfig:
    """How training batches are varied, on the device, per sample."""

    _argument_group_name = "augmentation"

    time_shift: bool = setting(False, "Warp: a window that is full of sound starts anywhere in it, as a loop.")
    time_stretch: float = setting(0.0, "Warp: up to so much faster or slower, 0.2 is 20 %%; 0 is off.")
    frequency_scale: float = setting(0.0, "Warp: the mel axis is scaled up or down by up to so much; 0 is off.")
    frequency_shift_bins: float = setting(0.0, "Warp: pitch and formants move by up to so many mel bins; 0 is off.")
    gain_db: float = setting(0.0, "Warp: up to so many decibels louder or quieter; 0 is off.")
    equaliser_db: float = setting(0.0, "Recording: deviation of a random smooth equalisation in decibels; 0 is off.")
    noise_probability: float = setting(0.0, "Recording: how likely noise is added to a window; 0 is off.")
    noise_snr_db: float = setting(5.0, "Recording: the loudest noise is so many decibels below the sound.")
    combine_probability: float = setting(
        0.0, "Combine: how likely others of its batch (of any genre) are added to a window, labels joined; 0 is off."
    )
    combine_most: int = setting(4, "Combine: most windows, and most classes, in such a mixture.")
    combine_offset_s: float = setting(
        0.0, "Combine: the others begin up to so much earlier or later, at most half a window."
    )
    combine_level_db: float = setting(6.0, "Combine: the others are up to so many decibels quieter.")
    time_mask_s: float = setting(
        0.0, "SpecAugment: longest time mask in seconds, at most a tenth of the window; 0 is off."
    )
    frequency_mask_bins: int = setting(0, "SpecAugment: widest frequency mask in mel bins; 0 switches it off.")
    mixup_alpha: float = setting(0.0, "Mixup: both parameters of the Beta distribution of the mixing share; 0 is off.")
    mixup_probability: float = setting(0.5, "Mixup: how likely a clip is mixed with another at all.")
    mixup_labels: str = setting(
        "interpolate",
        "Labels of a mixed clip: 'interpolate' (their shares) or 'union' (multi-label: all that is heard).",
    )


@dataclass
class HubConfig:
    """What comes from the Hub and goes there, beside transformers' own --push_to_hub and --hub_* flags."""

    _argument_group_name = "hub"

    dataset: str | None = setting(
        None, "Feature dataset to train from instead of recordings: a Hub name (USER/irmas-fbank) or a folder."
    )
    streaming: bool = setting(True, "Stream a Hub dataset's train split instead of downloading it first.")
    hub_dataset_id: str | None = setting(
        None, "Hub name of the features built here, pushed with --push_to_hub. Default: <output_dir's name>-features."
    )
    public_licence: str | None = setting(
        None, "Name the corpus's licence here to push its features in public although it forbids redistribution."
    )
    licence: str | None = setting(None, "Licence of the published model, e.g. apache-2.0.")


@dataclass
class RunConfig:
    """How the run itself goes."""

    _argument_group_name = "run"

    config: str | None = setting(None, "YAML file of values for any of these flags; the command line wins over it.")
    demo: bool = setting(False, "Run on a small corpus rendered on the spot: no download, no GPU, about 5 minutes.")
    overwrite_run: bool = setting(False, "Throw away what another run left in --output_dir.")


@dataclass
class Recipe:
    """All settings of one experiment, as the stages read them."""

    data: DataConfig
    features: FeatureConfig
    mixing: MixingConfig
    model: ModelConfig
    augment: AugmentConfig
    hub: HubConfig
    run: RunConfig
    training: TrainingArguments
    pretraining: PretrainingConfig | None = None
    classical: ClassicalConfig | None = None
    push_to_hub: bool = False  # TrainingArguments' flag, but publishing is a stage of its own here: Trainer gets False

"""The model that is trained."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from hf_audio.config.setting import HUB_OR_PATH, require_choices, require_within, setting

HEAD_FLAGS = ("head", "head_sizes", "head_dropout", "head_margin", "head_scale")


@dataclass
class ModelConfig:
    """The model that is trained."""

    _argument_group_name = "model"

    model: str = setting(
        "ast-mini",
        "Pretrained checkpoint to fine-tune: a Hub name, a folder, or timm/NAME for an image network. Or a network to "
        "train from scratch: ast-mini, cnn, lstm, wav2vec2-mini, mlp or another one listed in docs/models.md.",
        HUB_OR_PATH,
    )
    model_options: dict[str, Any] | str | None = setting(
        None, """Fields of the model's config to change, as JSON: '{"dropout": 0.2}'."""
    )
    head: Literal["linear", "deep", "fluffy", "arcface", "cosface"] | None = setting(
        None,
        "Classification head: linear, deep (hidden layers of --head_sizes), fluffy (a small network per class), "
        "arcface or cosface (cosine with a margin). Default: the model's.",
    )
    head_sizes: list[int] | None = setting(None, "Sizes of the hidden layers of a deep or fluffy head, e.g. 1000 500.")
    head_dropout: float | None = setting(None, "Dropout before each layer of the head. Default: the model's.")
    head_margin: float | None = setting(
        None, "Margin of --head arcface (an angle in radians, default 0.3) or cosface (a cosine, default 0.2)."
    )
    head_scale: float | None = setting(
        None, "Factor that --head arcface or cosface multiplies its cosines by. Default: 16."
    )
    metadata: list[str] | None = setting(
        None, "Metadata of the clips that the head reads in addition to the embedding, e.g. genre drums."
    )
    freeze: Literal["none", "backbone", "convolutional"] = setting(
        "none",
        "Weights to freeze: none, backbone (all but the head) or convolutional (the first layers of Wav2Vec2 and "
        "similar models).",
    )
    lora_rank: int = setting(0, "Train only LoRA adapters of this rank and the head, e.g. 8; 0 is off.")
    lora_alpha: int | None = setting(None, "Scale of the LoRA adapters. Default: twice the rank.")
    lora_dropout: float = setting(0.0, "Dropout before the LoRA adapters.")
    early_stopping_patience: int = setting(
        0, "Stop after this many evaluations without a better validation score; 0 is off."
    )

    @property
    def options(self) -> dict[str, Any]:
        """Fields of the model's config that the flags change from the preset."""
        flags = {name: getattr(self, name) for name in HEAD_FLAGS}
        given: Any = self.model_options or {}  # already parsed
        return {**given, **{name: value for name, value in flags.items() if value is not None}}

    def __post_init__(self) -> None:
        require_choices(self)
        if isinstance(self.model_options, str):
            try:
                self.model_options = json.loads(self.model_options)
            except json.JSONDecodeError as error:
                raise ValueError(f"--model_options must be JSON, found {self.model_options!r} ({error})") from None
        if self.model_options is not None and not isinstance(self.model_options, dict):
            raise ValueError(f"--model_options must be a JSON object, found {self.model_options!r}")
        for name in HEAD_FLAGS:
            if name in (self.model_options or {}) and getattr(self, name) is not None:
                raise ValueError(
                    f"--{name} is {getattr(self, name)} and --model_options also has {name}: give only the flag"
                )
        require_within(self, ("lora_rank", "early_stopping_patience"), 0)
        require_within(self, ("lora_alpha",), 1)
        require_within(self, ("lora_dropout", "head_dropout"), 0, 1)
        require_within(self, ("head_margin",), 0, 1.5)
        require_within(self, ("head_scale",), 1, 1000)
        if any(size < 1 for size in self.head_sizes or ()):
            raise ValueError(f"--head_sizes must be layer sizes of 1 or more, found {self.head_sizes}")


@dataclass
class PretrainingConfig:
    """How a spectrogram transformer is pretrained without labels; only for recipes that set one of these settings."""

    _argument_group_name = "pretraining"

    objective: Literal["masked", "shuffled"] = setting(
        "masked",
        "Pretraining task: masked (predict hidden patches) or shuffled (detect patches that changed places).",
    )
    mask_fraction: float = setting(0.75, "For --objective masked: share of a window's patches that are hidden.")
    shuffle_fraction: float = setting(0.15, "For --objective shuffled: share of a window's patches that change places.")
    decoder_width: int | None = setting(
        None, "For --objective masked: width of the decoder. Default: half the encoder's."
    )
    decoder_layers: int = setting(2, "For --objective masked: layers of the decoder.")

    def __post_init__(self) -> None:
        require_choices(self)
        require_within(self, ("mask_fraction", "shuffle_fraction"), 0, 1)
        require_within(self, ("decoder_layers",), 0)
        require_within(self, ("decoder_width",), 4)


@dataclass
class ClassicalConfig:
    """How a scikit-learn model is trained; only for recipes that set one of these settings."""

    _argument_group_name = "classical_model"

    classical_model: Literal["svm", "boosting"] = setting(
        "svm", "svm (support vector machines with an RBF kernel, one per class) or boosting (gradient-boosted trees)."
    )
    svm_c: float | None = setting(
        None, "For --classical_model svm: C, the penalty for windows on the wrong side of the margin. Default: 10."
    )
    svm_gamma: str | None = setting(
        None,
        "For --classical_model svm: gamma of the kernel, a number or scale. Default: scale, 1 / number of features.",
    )
    boosting_learning_rate: float | None = setting(None, "For --classical_model boosting: learning rate. Default: 0.1.")
    boosting_leaves: int | None = setting(None, "For --classical_model boosting: leaves per tree. Default: 15.")
    boosting_trees: int | None = setting(None, "For --classical_model boosting: trees per class. Default: 200.")
    network: str | None = setting(
        None,
        "Network whose embedding of each window is used in addition: a run folder or a Hub name. It is published with "
        "the model.",
        HUB_OR_PATH,
    )
    network_features: str | None = setting(
        None, "Features of the same windows, for --network. Default: features/ in its run folder.", HUB_OR_PATH
    )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the classical model, by scikit-learn's names."""
        of_svm = {"C": self.svm_c, "gamma": self.svm_gamma}
        of_boosting = {"learning_rate": self.boosting_learning_rate, "max_leaf_nodes": self.boosting_leaves}
        found = {**of_svm, **of_boosting, "max_iter": self.boosting_trees}
        return {name: value for name, value in found.items() if value is not None}

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("svm_c", "boosting_learning_rate"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"--{name} must be above 0, found {value:g}")
        require_within(self, ("boosting_leaves",), 2)
        require_within(self, ("boosting_trees",), 1)
        for name in ("svm_c", "svm_gamma", "boosting_learning_rate", "boosting_leaves", "boosting_trees"):
            of, value = name.partition("_")[0], getattr(self, name)
            if value is not None and of != self.classical_model:
                raise ValueError(
                    f"--{name} only applies to --classical_model {of}, not {self.classical_model}: leave it out"
                )
        if isinstance(self.svm_gamma, str) and self.svm_gamma != "scale":
            try:
                self.svm_gamma = float(self.svm_gamma)  # type: ignore[assignment]  # as scikit-learn takes it
            except ValueError:
                raise ValueError(f"--svm_gamma must be a number or scale, found {self.svm_gamma!r}") from None
        if isinstance(self.svm_gamma, float) and not self.svm_gamma > 0:
            raise ValueError(f"--svm_gamma must be above 0, found {self.svm_gamma:g}")

"""What is trained."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from hf_audio.config.setting import HUB_OR_PATH, require_within, setting
from hf_audio.errors import unknown_name

HEAD_FLAGS = ("head", "head_sizes", "head_dropout", "head_margin", "head_scale")


@dataclass
class ModelConfig:
    """What is trained."""

    _argument_group_name = "model"

    model: str = setting(
        "ast-mini",
        "A checkpoint to fine-tune (Hub name or folder; timm/NAME for image networks), or a preset from scratch: "
        "ast-mini, cnn, lstm, wav2vec2-mini, mlp ..., any network of timm. A wrong name lists them.",
        HUB_OR_PATH,
    )
    model_options: dict[str, Any] | str | None = setting(
        None, """What differs from the preset, as JSON: '{"dropout": 0.2}'. The fields of the model's config."""
    )
    head: str | None = setting(
        None,
        "Head: linear, deep (--head_sizes 1000 500), fluffy (one per class), arcface or cosface (cosines with a "
        "margin). Default: the preset's.",
    )
    head_sizes: list[int] | None = setting(None, "Hidden sizes of a deep or fluffy head, without the output.")
    head_dropout: float | None = setting(None, "Dropout in front of each layer of the head. Default: the preset's.")
    head_margin: float | None = setting(
        None, "Margin of --head arcface, in radians, or cosface, of the cosine. Default: 0.3 and 0.2."
    )
    head_scale: float | None = setting(
        None, "What the cosines of --head arcface or cosface are multiplied with. Default: 16."
    )
    metadata: list[str] | None = setting(
        None, "Metadata of the clips to append to the embedding, e.g. genre drums; unknown where a clip has none."
    )
    freeze: str = setting(
        "none", "What is not trained: none, backbone, or convolutional (the first layers of Wav2Vec2 and its like)."
    )
    lora_rank: int = setting(0, "Train LoRA adapters of this rank and the head only; 0 trains all weights.")
    lora_alpha: int | None = setting(None, "LoRA scale. Default: twice the rank.")
    lora_dropout: float = setting(0.0, "Dropout in front of the adapters.")
    early_stopping_patience: int = setting(0, "Stop after so many evaluations without a better score; 0 never does.")

    @property
    def options(self) -> dict[str, Any]:
        """What the flags say of the model's config, where they differ from the preset."""
        flags = {name: getattr(self, name) for name in HEAD_FLAGS}
        given: Any = self.model_options or {}  # parsed by then
        return {**given, **{name: value for name, value in flags.items() if value is not None}}

    def __post_init__(self) -> None:
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
                    f"--{name} is {getattr(self, name)} and --model_options has another {name}: give the flag alone"
                )
        require_within(self, ("lora_rank", "early_stopping_patience"), 0)
        require_within(self, ("lora_alpha",), 1)
        require_within(self, ("lora_dropout", "head_dropout"), 0, 1)
        require_within(self, ("head_margin",), 0, 1.5)
        require_within(self, ("head_scale",), 1, 1000)
        if any(size < 1 for size in self.head_sizes or ()):
            raise ValueError(f"--head_sizes must be numbers of units, 1 or more, found {self.head_sizes}")


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

    def __post_init__(self) -> None:
        if self.objective not in ("masked", "shuffled"):
            raise unknown_name("objective", self.objective, ("masked", "shuffled"))
        require_within(self, ("mask_fraction", "shuffle_fraction"), 0, 1)
        require_within(self, ("decoder_layers",), 0)
        require_within(self, ("decoder_width",), 4)


@dataclass
class ClassicalConfig:
    """How a model of scikit-learn is trained; only recipes that name one of these have them."""

    _argument_group_name = "classical_model"

    classical_model: str = setting("svm", "svm (radial kernel, one per class) or boosting (gradient-boosted trees).")
    svm_c: float | None = setting(None, "C of classical_model=svm: what a window on the wrong side costs. Default: 10.")
    svm_gamma: str | None = setting(
        None, "Gamma of classical_model=svm's kernel: a number, or scale (1 / numbers a window), the default."
    )
    boosting_learning_rate: float | None = setting(
        None, "Learning rate of classical_model=boosting: what each tree counts. Default: 0.1."
    )
    boosting_leaves: int | None = setting(None, "Leaves of each tree of classical_model=boosting. Default: 15.")
    boosting_trees: int | None = setting(None, "Trees per class of classical_model=boosting. Default: 200.")
    network: str | None = setting(
        None,
        "Append this network's embedding of each window: a run folder or a Hub name. It is published too.",
        HUB_OR_PATH,
    )
    network_features: str | None = setting(
        None,
        "Feature dataset that --network reads, with the same windows. Default: features/ of its run folder.",
        HUB_OR_PATH,
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What is said of the classical model, by scikit-learn's names."""
        of_svm = {"C": self.svm_c, "gamma": self.svm_gamma}
        of_boosting = {"learning_rate": self.boosting_learning_rate, "max_leaf_nodes": self.boosting_leaves}
        found = {**of_svm, **of_boosting, "max_iter": self.boosting_trees}
        return {name: value for name, value in found.items() if value is not None}

    def __post_init__(self) -> None:
        if self.classical_model not in ("svm", "boosting"):
            raise unknown_name("classical model", self.classical_model, ("svm", "boosting"))
        for name in ("svm_c", "boosting_learning_rate"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"--{name} must be above 0, found {value:g}")
        require_within(self, ("boosting_leaves",), 2)
        require_within(self, ("boosting_trees",), 1)
        for name in ("svm_c", "svm_gamma", "boosting_learning_rate", "boosting_leaves", "boosting_trees"):
            of, value = name.partition("_")[0], getattr(self, name)
            if value is not None and of != self.classical_model:
                raise ValueError(f"--{name} is of --classical_model {of}, not {self.classical_model}: leave it out")
        if isinstance(self.svm_gamma, str) and self.svm_gamma != "scale":
            try:
                self.svm_gamma = float(self.svm_gamma)  # type: ignore[assignment]  # as scikit-learn takes it
            except ValueError:
                raise ValueError(f"--svm_gamma must be a number or scale, found {self.svm_gamma!r}") from None
        if isinstance(self.svm_gamma, float) and not self.svm_gamma > 0:
            raise ValueError(f"--svm_gamma must be above 0, found {self.svm_gamma:g}")

"""What training makes smaller."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import require_within, setting
from hf_audio.errors import unknown_name

LOSSES = ("cross_entropy", "focal", "asymmetric")
CLASS_WEIGHTS = ("none", "balanced", "effective")


@dataclass
class LossConfig:
    """What training makes smaller, beside transformers' own --label_smoothing_factor."""

    _argument_group_name = "loss"

    loss: str = setting(
        "cross_entropy",
        "cross_entropy (binary where several labels may apply), focal (hard windows count more), or asymmetric (of "
        "several labels: easy negatives count less).",
    )
    focal_gamma: float = setting(2.0, "Of loss=focal: how much easy windows are discounted; 0 is cross-entropy.")
    positive_gamma: float = setting(1.0, "Of loss=asymmetric: the same for labels that apply.")
    negative_gamma: float = setting(4.0, "Of loss=asymmetric: the same for labels that do not.")
    negative_margin: float = setting(
        0.05, "Of loss=asymmetric: labels that do not apply cost nothing below this probability."
    )
    class_weights: str = setting(
        "none",
        "Weights of rare classes: none, balanced (all classes count alike), or effective (by the effective number of "
        "samples, which is milder).",
    )

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown_name("class_weights", self.class_weights, CLASS_WEIGHTS)
        require_within(self, ("focal_gamma", "positive_gamma", "negative_gamma"), 0, 20)
        require_within(self, ("negative_margin",), 0, 0.99)

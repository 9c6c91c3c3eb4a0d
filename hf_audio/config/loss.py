"""The loss that training minimizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hf_audio.config.setting import PATH, require_choices, require_within, setting
from hf_audio.errors import InputError

OF_THE_CORPUS = "corpus"  # value of --families instead of a file


@dataclass
class LossConfig:
    """The loss that training minimizes; transformers' own --label_smoothing_factor also applies."""

    _argument_group_name = "loss"

    loss: Literal["cross_entropy", "focal", "asymmetric", "family"] = setting(
        "cross_entropy",
        "cross_entropy (binary if clips may have several labels), focal (hard windows count more), asymmetric "
        "(multi-label: easy negatives count less) or family (single-label: confusing related classes costs less).",
    )
    focal_gamma: float = setting(2.0, "For --loss focal: how much easy windows are down-weighted; 0 is cross-entropy.")
    positive_gamma: float = setting(1.0, "For --loss asymmetric: how much easy positives are down-weighted.")
    negative_gamma: float = setting(4.0, "For --loss asymmetric: how much easy negatives are down-weighted.")
    negative_margin: float = setting(0.05, "For --loss asymmetric: negatives below this probability do not count.")
    families: str | None = setting(
        None,
        "For --loss family: corpus (the corpus's own families, e.g. of esc50), or a YAML file {family: [classes]} with "
        "each class in one family.",
        PATH,
    )
    within_family: float = setting(
        0.5,
        "For --loss family: cost of confusing two classes of the same family, as a fraction of cross-entropy; 1 is "
        "cross-entropy.",
    )
    triplet_weight: float = setting(
        0.0, "Weight of an additional triplet loss on embeddings; single-label only; 0 is off."
    )
    triplet_margin: float = setting(
        0.2, "Triplet loss: margin by which embeddings of other classes must be farther away."
    )
    center_weight: float = setting(
        0.0,
        "Weight of an additional center loss (distance of embeddings to their class center); single-label only; "
        "0.003 in the paper; 0 is off.",
    )
    center_learning_rate: float = setting(
        0.01, "Center loss: learning rate of the centers; it follows the model's schedule."
    )
    class_weights: Literal["none", "balanced", "effective"] = setting(
        "none",
        "Give rare classes more weight in the loss: balanced (all classes count the same) or effective (by the "
        "effective number of samples, which is milder).",
    )
    logit_adjustment: float = setting(
        0.0,
        "Logit adjustment: share of the log class frequencies (multi-label: log odds) added to the logits in training, "
        "so that rare classes are predicted more often; 1 is all of it, 0 is off. Multi-label tasks ignore a "
        "recipe's own value.",
    )

    def __post_init__(self) -> None:
        require_choices(self)
        require_within(self, ("focal_gamma", "positive_gamma", "negative_gamma"), 0, 20)
        require_within(self, ("negative_margin",), 0, 0.99)
        require_within(self, ("within_family",), 0, 1)
        require_within(self, ("logit_adjustment",), 0, 2)
        require_within(self, ("triplet_margin",), 0, 2)
        require_within(self, ("triplet_weight", "center_weight", "center_learning_rate"), 0, 1000)
        if self.loss == "family" and not self.families:
            raise InputError(
                "--loss family needs families of classes: give --families corpus, or a YAML file {family: [classes]}"
            )

"""What training makes smaller."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import PATH, require_within, setting
from hf_audio.errors import InputError, unknown_name

LOSSES = ("cross_entropy", "focal", "asymmetric", "family")
OF_THE_CORPUS = "corpus"  # in place of a file with families
CLASS_WEIGHTS = ("none", "balanced", "effective")


@dataclass
class LossConfig:
    """What training makes smaller, beside transformers' own --label_smoothing_factor."""

    _argument_group_name = "loss"

    loss: str = setting(
        "cross_entropy",
        "cross_entropy (binary where several labels may apply), focal (hard windows count more), asymmetric (of "
        "several labels: easy negatives count less), or family (of one: confusing classes of a family costs less).",
    )
    focal_gamma: float = setting(2.0, "Of loss=focal: how much easy windows are discounted; 0 is cross-entropy.")
    positive_gamma: float = setting(1.0, "Of loss=asymmetric: the same for labels that apply.")
    negative_gamma: float = setting(4.0, "Of loss=asymmetric: the same for labels that do not.")
    negative_margin: float = setting(
        0.05, "Of loss=asymmetric: labels that do not apply cost nothing below this probability."
    )
    families: str | None = setting(
        None,
        "Of loss=family: corpus (those that are known of it, as of esc50), or a YAML file {family: [classes]} with "
        "each class in one family.",
        PATH,
    )
    within_family: float = setting(
        0.5,
        "Of loss=family: what confusing classes of one family costs, as a share of cross-entropy; 1 is cross-entropy.",
    )
    triplet_weight: float = setting(
        0.0,
        "Weight of a triplet loss of embeddings, with the hardest windows of the process's micro-batch, added to the "
        "loss; clips of one class only; 0 is off.",
    )
    triplet_margin: float = setting(
        0.2, "Triplet loss: how much farther away windows of other classes must be; embeddings are scaled to length 1."
    )
    center_weight: float = setting(
        0.0,
        "Weight of the center loss (half the squared distance of embeddings to their class's center), added to the "
        "loss; clips of one class only; 0.003 in its paper; 0 is off.",
    )
    center_learning_rate: float = setting(
        0.01, "Center loss: learning rate of the centers, on the same schedule as the model's."
    )
    class_weights: str = setting(
        "none",
        "Weights of rare classes: none, balanced (all classes count alike), or effective (by the effective number of "
        "samples, which is milder).",
    )

    logit_adjustment: float = setting(
        0.0,
        "Of clips of one class: share of the log of each class's frequency that training adds to the logits, so that "
        "rare classes are predicted more often; 1 makes up for all of it, 0 is off.",
    )

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown_name("class_weights", self.class_weights, CLASS_WEIGHTS)
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

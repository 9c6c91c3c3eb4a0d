"""Distillation: training a network on a teacher's predictions in addition to labels."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import HUB_OR_PATH, require_within, setting
from hf_audio.errors import InputError


@dataclass
class DistillingConfig:
    """Distillation: a network also learns from the predictions of a trained classifier (Hinton et al. 2015)."""

    _argument_group_name = "distillation"

    teacher: str | None = setting(
        None,
        "Distillation: also learn from the predictions of this classifier, a run folder or a Hub name. It gets the "
        "same augmented input; classes are matched by name.",
        HUB_OR_PATH,
    )
    teacher_revision: str | None = setting(
        None, "Branch, tag or commit of the teacher, or of its stored logits, on the Hub. Default: main."
    )
    teacher_logits: str | None = setting(
        None,
        "Distillation from predictions stored by scripts/store_logits.py: a folder or a dataset on the Hub. Cannot be "
        "combined with augmentation that mixes windows.",
        HUB_OR_PATH,
    )
    distillation_weight: float = setting(
        0.5, "Weight of the teacher in the loss; the labels get the rest. 1: the teacher alone."
    )
    distillation_temperature: float = setting(2.0, "Temperature that the logits of teacher and model are divided by.")

    def __post_init__(self) -> None:
        require_within(self, ("distillation_weight",), 0, 1)
        if self.distillation_weight == 0:
            raise InputError("--distillation_weight 0 ignores the teacher: leave it out, and --teacher too")
        require_within(self, ("distillation_temperature",), 0.1, 100)

"""What else than labels a network learns from."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import HUB_OR_PATH, require_within, setting
from hf_audio.errors import InputError


@dataclass
class DistillingConfig:
    """What else than labels a network learns from: the answers of a trained classifier (Hinton et al. 2015)."""

    _argument_group_name = "distillation"

    teacher: str | None = setting(
        None,
        "Learn from the answers of this classifier too: a run folder or a Hub name. It hears what the model hears, "
        "augmented, and its classes are found by their names.",
        HUB_OR_PATH,
    )
    teacher_revision: str | None = setting(
        None, "Commit, tag or branch of a teacher, or of its stored logits, on the Hub. Default: main."
    )
    teacher_logits: str | None = setting(
        None,
        "Learn from answers that scripts/store_logits.py has stored: a folder or a dataset on the Hub. They are of "
        "windows as they are stored, so nothing may mix windows.",
        HUB_OR_PATH,
    )
    distillation_weight: float = setting(0.5, "Share of the teacher in the loss, labels have the rest; 1: no labels.")
    distillation_temperature: float = setting(
        2.0, "Logits of teacher and model are divided by this: more tells more of classes that are not the first."
    )

    def __post_init__(self) -> None:
        require_within(self, ("distillation_weight",), 0, 1)
        if self.distillation_weight == 0:
            raise InputError("--distillation_weight 0 learns nothing from a teacher: leave it out, and --teacher too")
        require_within(self, ("distillation_temperature",), 0.1, 100)

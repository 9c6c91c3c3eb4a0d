"""Which settings of distillation have no effect without others."""

from __future__ import annotations

from hf_audio.config.distilling import DistillingConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.needs import Needs, names_of

DISTILLING_NEEDS = (
    Needs(
        ("distillation_weight", "distillation_temperature", "teacher_revision"),
        lambda run: run.teacher or run.teacher_logits,
        "there is no teacher: give --teacher or --teacher_logits too, or leave it out",
    ),
    Needs(
        (*sorted(names_of(LossConfig)), "label_smoothing_factor"),
        lambda run: run.distillation_weight < 1 or not (run.teacher or run.teacher_logits),
        "--distillation_weight 1 learns only from the teacher: give less than 1, or leave it out",
    ),
    Needs(
        ("teacher_logits",),
        lambda run: not run.teacher,
        "--teacher does not need stored logits: leave one of the two out",
    ),
    Needs(
        ("teacher", "teacher_logits"),
        lambda run: run.head not in ("arcface", "cosface"),
        "this --head lowers the logit of the true class by a margin in training, so its logits cannot be compared with "
        "a teacher's: give another --head, or leave the teacher out",
    ),
    Needs(
        sorted(names_of(DistillingConfig)),
        lambda run: not run.objective,
        "pretraining has no classes and cannot use a teacher: leave it out",
    ),
)

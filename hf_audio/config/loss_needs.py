"""Which settings of the loss do nothing without others."""

from __future__ import annotations

from hf_audio.config.needs import Needs

LOSS_NEEDS = (
    Needs(("focal_gamma",), lambda run: run.loss == "focal", "it is of --loss focal: give that too, or leave it out"),
    Needs(
        ("positive_gamma", "negative_gamma", "negative_margin"),
        lambda run: run.loss == "asymmetric",
        "it is of --loss asymmetric: give that too, or leave it out",
    ),
    Needs(
        ("families", "within_family"),
        lambda run: run.loss == "family",
        "it is of --loss family: give that too, or leave it out",
    ),
    Needs(
        ("triplet_margin",),
        lambda run: run.triplet_weight > 0,
        "there is no triplet loss: give --triplet_weight too, e.g. 0.1, or leave it out",
    ),
    Needs(
        ("center_learning_rate",),
        lambda run: run.center_weight > 0,
        "there are no centers: give --center_weight too, e.g. 0.003, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: (
            run.triplet_weight == 0
            or bool(run.mixup_alpha) * run.mixup_probability + bool(run.cutmix_alpha) * run.cutmix_probability < 1
        ),
        "mixup or CutMix leave no window of one class to compare: lower their probability, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: run.triplet_weight == 0 or run.per_device_train_batch_size > 2,
        "it compares each window with two others of its micro-batch: give --per_device_train_batch_size 3 or more",
    ),
)

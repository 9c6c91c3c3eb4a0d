"""Which settings of the loss have no effect without others."""

from __future__ import annotations

from hf_audio.config.needs import Needs

LOSS_NEEDS = (
    Needs(
        ("focal_gamma",),
        lambda run: run.loss == "focal",
        "it only applies to --loss focal: give that too, or leave it out",
    ),
    Needs(
        ("positive_gamma", "negative_gamma", "negative_margin"),
        lambda run: run.loss == "asymmetric",
        "it only applies to --loss asymmetric: give that too, or leave it out",
    ),
    Needs(
        ("families", "within_family"),
        lambda run: run.loss == "family",
        "it only applies to --loss family: give that too, or leave it out",
    ),
    Needs(
        ("triplet_margin",),
        lambda run: run.triplet_weight > 0,
        "the triplet loss is off: give --triplet_weight too, e.g. 0.1, or leave it out",
    ),
    Needs(
        ("center_learning_rate",),
        lambda run: run.center_weight > 0,
        "the center loss is off: give --center_weight too, e.g. 0.003, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: (
            run.triplet_weight == 0
            or bool(run.mixup_alpha) * run.mixup_probability + bool(run.cutmix_alpha) * run.cutmix_probability < 1
        ),
        "mixup and CutMix leave no unmixed windows to compare: lower their probability, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: run.triplet_weight == 0 or run.per_device_train_batch_size > 2,
        "it compares each window with two others of its micro-batch: give --per_device_train_batch_size 3 or more",
    ),
)

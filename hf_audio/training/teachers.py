"""The teacher of a run: checked before features are built, and loaded with the features."""

from __future__ import annotations

from typing import Any

from transformers import FeatureExtractionMixin

from hf_audio.config import DistillingConfig
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.training.distillation import Distillation, shared_classes
from hf_audio.training.network_teacher import NetworkTeacher, check_teacher
from hf_audio.training.stored_teacher import StoredTeacher, open_logits


def distillation_for(
    config: DistillingConfig, features: FeatureDataset, *, token: str | None = None, **options: Any
) -> Distillation | None:
    """The distillation of these settings; None without a teacher.

    Args:
        features: the data to train on.
        token: access token for a private teacher.
        options: options of Predictor: the device, and whether it computes in bfloat16.

    Raises:
        InputError: the teacher cannot be loaded, needs other features, or knows none of the classes.
    """
    where = {"token": token, "revision": config.teacher_revision}
    if config.teacher:
        teacher: Any = NetworkTeacher.load(config.teacher, features, **where, **options)
    elif config.teacher_logits:
        teacher = StoredTeacher.load(config.teacher_logits, features, **where)
    else:
        return None
    return Distillation(teacher, features.labels, config.distillation_weight, config.distillation_temperature)


def require_teacher(
    config: DistillingConfig, labels: LabelSpace, extractor: FeatureExtractionMixin, token: str | None = None
) -> None:
    """Raises InputError for a teacher whose settings do not match the run, before features are built.

    Args:
        labels: the run's classes.
        extractor: the extractor of the features; its statistics and window length are ignored.
    """
    where = {"token": token, "revision": config.teacher_revision}
    if config.teacher:
        theirs = check_teacher(config.teacher, extractor, **where)
        shared_classes(config.teacher, theirs, labels)
    elif config.teacher_logits:
        stored, _ = open_logits(config.teacher_logits, **where)
        shared_classes(config.teacher_logits, stored.labels, labels)

"""A trained classifier as a teacher: it gets the same augmented batch as the model, on the same device.

It does not change (evaluation mode, no gradients), and each process has its own copy, which is not wrapped. Its cost is
the memory for its weights on each device, and a forward pass per batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import FeatureExtractionMixin

from hf_audio.augment import Normalization
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset, check_same_extractor
from hf_audio.errors import InputError
from hf_audio.finished_work import digest_of_folder
from hf_audio.kinds import Form, kind_of_extractor
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.inputs import model_inputs
from hf_audio.models.lora import is_lora
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name
from hf_audio.training.model_license import license_in_card
from hf_audio.training.objective import Batch
from hf_audio.training.seen_clips import seen_clips, warn_of_seen_clips

# settings of an extractor that do not affect its output
NAMES = {"feature_extractor_type", "processor_class", "image_processor_type"}


class Translation(NamedTuple):
    """Converts spectrograms made for the model to a teacher's input, which may have another normalization and length.

    Attributes:
        there, here: the model's normalization and the teacher's; None if they are the same.
        longer: number of frames by which the teacher's windows are longer.
        padding: the teacher's padding value.
    """

    there: Normalization | None
    here: Normalization | None
    longer: int
    padding: float

    def of(self, values: Tensor, num_frames: Tensor) -> Tensor:
        """Converts inputs `[batch, (channels,) frames, bins]`; int64 `num_frames` `[batch]` excludes padding."""
        if self.there is not None:
            values = self.here.apply(self.there.undo(values.float()))
        if self.longer:
            values = functional.pad(values, (0, 0, 0, self.longer))
        elif self.there is None:
            return values
        frames = torch.arange(values.shape[-2], device=values.device)
        behind = (frames >= num_frames[:, None]).view(-1, *[1] * (values.ndim - 3), len(frames), 1)
        return values.masked_fill(behind, self.padding)


class NetworkTeacher:
    """A trained classifier that gives logits for training batches.

    Args:
        predictor: its model and its own extractor.
        license: the license in its card.
        features: the data to train on.
        seen: number of validation and test clips that it was trained on, see `seen_clips`.

    Raises:
        InputError: it needs other features or shorter windows, or has no trained classifier.
    """

    needs_whole_windows = False

    def __init__(
        self,
        predictor: Predictor,
        license: str | None,
        features: FeatureDataset,
        seen: Mapping[str, int] | None = None,
    ) -> None:
        if predictor.untrained:
            raise InputError(
                f"The teacher {predictor.name} has no trained classifier (no {predictor.untrained[0]} among its "
                "weights): use one that was fine-tuned"
            )
        self.predictor, self.name, self.labels, self.license = predictor, predictor.name, predictor.labels, license
        self.seen = dict(seen or {})
        self.translation = _translation(predictor.name, features, predictor.extractor)
        self.model = predictor.model.requires_grad_(False)

    @property
    def metadata(self) -> dict[str, list[str]]:
        """The metadata fields that it reads, with their values. Fields that a batch lacks are unknown."""
        return getattr(self.model.config, "metadata", None) or {}

    @classmethod
    def load(
        cls, name: str, features: FeatureDataset, *, token: str | None = None, revision: str | None = None, **options
    ) -> NetworkTeacher:
        """Loads a published or local classifier; `options` are those of Predictor, such as the device."""
        predictor, license = open_teacher(name, token=token, revision=revision, **options)
        seen = seen_clips(Checkpoint(name, token, predictor.commit), features)
        warn_of_seen_clips(f"The teacher {name}", seen)
        return cls(predictor, license, features, seen)

    def answers(self, batch: Batch) -> Tensor:
        """Logits float32 `[batch, classes]` for a batch that was made for the model."""
        inputs = self._inputs(batch)
        device = self.predictor.device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=self.predictor.bf16):
            return self.model(**inputs).logits.float()

    def collator_of(self, collator: Any) -> Any:
        """The same collator, since the teacher gets the model's input."""
        return collator

    def facts(self) -> dict[str, Any]:
        """See `teacher_facts`; also the validation and test clips that it was trained on, if there are any."""
        return {**teacher_facts(self.predictor, self.license), **({"seen_clips": self.seen} if self.seen else {})}

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        bare = self.model.get_base_model() if is_lora(self.model) else self.model
        inputs = model_inputs(bare, batch)
        if not getattr(self.model.config, "metadata", None):
            inputs.pop("metadata", None)
        if self.translation is not None:
            inputs["input_values"] = self.translation.of(inputs["input_values"], batch["num_frames"])
        return inputs


def open_teacher(
    name: str, *, token: str | None = None, revision: str | None = None, **options: Any
) -> tuple[Predictor, str | None]:
    """A published or local classifier, and the license in its card; `options` are those of Predictor."""
    predictor = Predictor.load(name, token=token, revision=revision, **options)
    return predictor, license_in_card(Checkpoint(name, token, predictor.commit))


def teacher_facts(predictor: Predictor, license: str | None) -> dict[str, Any]:
    """Facts that identify a teacher: its name, and its Hub commit or a digest of its weights."""
    folder = Path(predictor.name).expanduser()
    return {
        "teacher": public_name(predictor.name),
        "commit": predictor.commit,
        "weights": digest_of_folder(folder) if folder.is_dir() else None,
        "license": license,
        "num_parameters": sum(weights.numel() for weights in predictor.model.parameters()),
    }


def check_teacher(
    name: str, extractor: FeatureExtractionMixin, *, token: str | None = None, revision: str | None = None
) -> LabelSpace:
    """A teacher's classes, from its settings; checks the teacher before features are built.

    Args:
        name: a run folder or a Hub name.
        extractor: extractor of the features to train on; its statistics and window length are ignored.

    Raises:
        InputError: it cannot be loaded, or needs other features.
    """
    checkpoint = Checkpoint(name, token, revision)
    _check_kind(name, extractor, checkpoint.extractor)
    config = checkpoint.config
    names = tuple(config.id2label[place] for place in range(len(config.id2label)))
    return LabelSpace(names, config.problem_type or SINGLE_LABEL)


def _check_kind(name: str, stored: FeatureExtractionMixin, own: FeatureExtractionMixin) -> None:
    there, here = kind_of_extractor(stored), kind_of_extractor(own)
    if there is not here:
        raise InputError(
            f"The teacher {name} reads {here.described}, but the model reads {there.described}: use a teacher that "
            f"reads {there.name} features, or --features {here.name}"
        )
    try:
        check_same_extractor(stored, own)
    except InputError as error:
        raise InputError(f"The teacher {name} needs different features than the model: {error}") from None


def _translation(name: str, features: FeatureDataset, own: FeatureExtractionMixin) -> Translation | None:
    """How to convert the model's inputs to the teacher's; None if they are the same.

    Raises:
        InputError: they cannot be converted.
    """
    stored, kind = features.extractor, features.kind
    _check_kind(name, stored, own)
    if kind.form is not Form.IMAGE:
        _require_equal(name, stored, own)
        return None
    longer = own.max_length - stored.max_length
    if longer < 0:
        raise InputError(
            f"The windows of {features.source} are longer ({stored.max_length:,} frames) than those of the teacher "
            f"{name} ({own.max_length:,}), and would be cut: build features with a shorter --window_s"
        )
    is_same = kind.scale(stored) == kind.scale(own)
    there, here = (None, None) if is_same else (Normalization.of(stored), Normalization.of(own))
    return Translation(there, here, longer, kind.padding_value(own)) if longer or not is_same else None


def _require_equal(name: str, stored: FeatureExtractionMixin, own: FeatureExtractionMixin) -> None:
    """Refuses any difference between two extractors whose outputs cannot be converted."""
    there, here = stored.to_dict(), own.to_dict()
    for key in sorted((there.keys() | here.keys()) - NAMES):
        if there.get(key) != here.get(key):
            raise InputError(
                f"The teacher {name} has a different extractor than the model: {key} is {str(here.get(key))[:60]}, but "
                f"the model's is {str(there.get(key))[:60]}; use a teacher that was trained with the same extractor"
            )

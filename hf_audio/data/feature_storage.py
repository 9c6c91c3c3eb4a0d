"""How windows become rows of a feature dataset, and rows batches: one storage for each kind of feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from datasets import Audio, ClassLabel, Features, Image, List, Value
from transformers import FeatureExtractionMixin

from hf_audio.data.channel_storage import ChannelStorage
from hf_audio.data.labels import LabelSpace
from hf_audio.data.picture_storage import PictureStorage
from hf_audio.data.vector_storage import VectorStorage
from hf_audio.data.waveform_storage import WaveformStorage
from hf_audio.errors import unknown_name

# which hold classes; `feature_schema` says when each is there
LABEL_COLUMNS = ("labels", "unknown", "label")


class FeatureStorage(Protocol):
    """What the data side must know of one kind of feature. It has no state.

    Attributes:
        kind: its name in settings: "fbank", "spectrogram", "waveform" or "classical".
        feature_type: its name in the `parameters` of the extractor that made it, and so in manifests.
        described: what it is, in words.
        extractor_class: the published extractor that makes the same of a waveform.
        compared: settings of that extractor which a model cannot be adapted to.
        statistics_axis: what mean and deviation are taken over: None everything, 0 all steps of each feature,
            (0, 2) all frames and bins of each channel.
    """

    kind: str
    feature_type: str
    described: str
    extractor_class: type[FeatureExtractionMixin]
    compared: tuple[str, ...]
    statistics_axis: int | tuple[int, ...] | None

    def columns(self, sample_rate: int) -> dict[str, Any]:
        """The columns of a window and their `datasets` types."""

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple:
        """One value for each of `columns`."""

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What stored windows can have that must not be decoded, in words, and bool `[rows]` of those that have it.

        Args:
            rows: of `columns` and num_frames, without empty values but in `path`.
            parameters: of the extractor that made them.
        """

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        """The window as it was given to `encode`, float32, as far as storing it is exact."""

    def full_frames(self, window_s: float, parameters: Mapping[str, Any]) -> int:
        """Frames, samples or steps of a full window, by the parameters of the extractor that made it."""

    def window_frames(self, extractor: FeatureExtractionMixin, manifest: Mapping[str, Any]) -> int:
        """Length of a full window as `batch` gives it: frames, samples or steps."""

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """A model's inputs, as `extractor` would have made them of the windows' sound."""


STORAGES: dict[str, FeatureStorage] = {
    storage.kind: storage for storage in (PictureStorage(), ChannelStorage(), WaveformStorage(), VectorStorage())
}


def storage_of(parameters: Mapping[str, Any]) -> FeatureStorage:
    """The storage for what an extractor with these `parameters` makes.

    Raises:
        InputError: features of a type that is not known here.
    """
    by_type = {storage.feature_type: storage for storage in STORAGES.values()}
    if parameters["feature_type"] not in by_type:
        raise unknown_name("feature_type", parameters["feature_type"], by_type)
    return by_type[parameters["feature_type"]]


def storage_of_row(row: Mapping[str, Any]) -> FeatureStorage:
    """The storage that wrote a row, told by its columns: the one with most of them there."""
    fitting = [one for one in STORAGES.values() if row.keys() >= one.columns(0).keys()]
    if not fitting:
        raise ValueError(f"A row with the columns {', '.join(row)} is of no known kind of feature")
    return max(fitting, key=lambda one: len(one.columns(0)))


def storage_of_extractor(extractor: FeatureExtractionMixin) -> FeatureStorage:
    """The storage for what a published extractor makes; those of no kind of their own read waveforms."""
    kinds = (one for one in STORAGES.values() if type(extractor).__name__ == one.extractor_class.__name__)
    return next(kinds, STORAGES["waveform"])


def feature_schema(labels: LabelSpace, parameters: Mapping[str, Any], is_partial: bool = False) -> Features:
    """The columns of a feature dataset; names of the classes travel in it.

    Whoever reads the rows alone finds `label` where each clip has one class, and `unknown` where labels are partial:
    the classes of which nothing is known, so that they are not taken for absent.

    Args:
        labels: the classes.
        parameters: of the extractor.
        is_partial: whether something is unknown of some clip.
    """
    classes = ClassLabel(names=list(labels.names))
    return Features(
        {
            "clip_id": Value("string"),
            "group": Value("string"),
            "start_s": Value("float32"),
            **storage_of(parameters).columns(parameters["sampling_rate"]),
            "num_frames": Value("int32"),
            "labels": List(classes),
            **({"unknown": List(classes)} if is_partial else {}),
            **({} if labels.is_multi_label else {"label": classes}),
        }
    )


def undecoded(schema: Features) -> Features:
    """The same columns, of which `datasets` decodes none: pictures and sounds as their files' bytes.

    Whatever is stored beside the bytes, such as a path or an address, is then never opened.
    """
    file = {"bytes": Value("binary"), "path": Value("string")}
    return Features({name: file if isinstance(kind, Image | Audio) else kind for name, kind in schema.items()})

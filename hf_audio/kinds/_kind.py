"""The interface of a kind of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import torch
from transformers import FeatureExtractionMixin

from hf_audio.limits import Field
from hf_audio.windows import SampleWindows


class Form(Enum):
    """The form of a window, for models and plots. Models declare which form they read."""

    IMAGE = "an image: [frames, bins], or [frames, channels, bins]"
    SOUND = "sound: [samples]"
    VECTORS = "vectors of named numbers: [steps, features]"


class WindowExtractor(Protocol):
    """Computes the features of a dataset: a dataclass whose fields are the settings of its kind.

    Attributes:
        sample_rate: of its input, in Hz.
        frame_samples: minimum number of samples of a clip.
        hop_samples: samples from one frame to the next.
        times_real_time: approximate seconds of audio that a core processes per second.
        is_stereo: whether its input is stereo `[2, samples]` instead of mono `[samples]`.
        slow_imports: modules that it imports for its first window; worker processes should share them.
        parameters: all settings that determine the values: `kind`, `sampling_rate` and more.
    """

    @property
    def sample_rate(self) -> int: ...

    @property
    def frame_samples(self) -> int: ...

    @property
    def hop_samples(self) -> int: ...

    @property
    def times_real_time(self) -> float: ...

    @property
    def is_stereo(self) -> bool: ...

    @property
    def slow_imports(self) -> tuple[str, ...]: ...

    @property
    def parameters(self) -> dict[str, Any]: ...

    def window_frames(self, window_s: float) -> int:
        """Frames (samples, steps) of a full window; 0 if it is too short."""

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        """Samples of a window, and from one window to the next."""

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterable[Iterable[tuple[float, np.ndarray]]]:
        """The windows of each waveform, by `window_starts`: (start in seconds, float32 `[frames, ...]`)."""

    def to_feature_extractor(self, max_length: int, mean: Any, std: Any) -> FeatureExtractionMixin:
        """The extractor that computes the same from a waveform without hf_audio, for windows of `max_length` frames."""


class Scale(NamedTuple):
    """How stored values of an image become a model's inputs: (value - mean) / (deviations * std).

    Attributes:
        mean, std: of the stored values; one number, or one per channel.
        deviations: number of standard deviations to divide by.
        unit_db: decibels per unit of the stored values.
        padding: input value of padding frames; None: that of a stored 0.
        is_centered: whether an input of 0 is the mean of the training data, or of the clip.
        frame_s: seconds from one frame to the next.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    deviations: float
    unit_db: float
    padding: float | None
    is_centered: bool
    frame_s: float


def normalized(values: Any, mean: Any, divisor: Any, *, in_place: bool = False) -> Any:
    """Values as models read them, (value - mean) / divisor, for numbers or tensors of matching shapes.

    This is the only place that has the formula, except for published extractors, which are self-contained and tested
    against it. `in_place` reuses the memory of the tensor `values`, which halves the time for a batch.
    """
    if in_place:
        values -= mean
        values /= divisor
        return values
    return (values - mean) / divisor


class Axes(NamedTuple):
    """The axes of a model's image.

    Attributes:
        frame_s: seconds from one frame to the next.
        first_s: the center of the first frame, in seconds.
        hz: float64 `[bins]`, the center frequency of each bin, ascending; None if bins are not frequencies.
        bins_first: whether the image is `[bins, frames]` instead of `[frames, bins]`.
    """

    frame_s: float
    first_s: float
    hz: np.ndarray | None = None
    bins_first: bool = False


class CardText(NamedTuple):
    """Texts about a kind for cards. The last five are templates, filled in with the dataset's card.

    Attributes:
        title: name of the features.
        tags: tags for the Hub.
        heard: the input of a model, in "Its input is ... of 3 s".
        row: how a window is stored, in "Each row is one window, ...".
        library: library for reading a row, in addition to `datasets`.
        imports: of the code that reads a row.
        code: from `rows` to the values of the first row.
        values: meaning of the values, and how models normalize them.
        columns: lines of the table of columns.
    """

    title: str
    tags: tuple[str, ...]
    heard: str
    row: str
    library: str
    imports: str
    code: str
    values: str
    columns: str


class Kind(ABC):
    """A kind of features. It has no state; windows are float32, from a WindowExtractor.

    Attributes:
        name: in settings, manifests, messages and the registry.
        form: of its windows.
        described: a description in words.
        extractor: computes its windows; its fields are the settings of the kind, with their defaults.
        published: extractor classes that compute the same from a waveform without hf_audio, see `published_class`.
        compared: settings of these classes that a model cannot be adapted to.
        statistics_axis: axis of mean and standard deviation: None: over everything, 0: over all steps, per feature,
            (0, 2): over all frames and bins, per channel.
        limits: valid values of the extractor's parameters in a manifest, which may be untrusted.
        cuts: whether the published extractor cuts inputs longer than a window.
        is_computable: whether features can also be computed from waveforms on any device, see `inputs_of_waveforms`.
        is_computed: whether windows are stored as waveforms, from which features are computed, see `OfSound`.
        card: texts for cards.
    """

    name: str
    form: Form
    described: str
    extractor: type[Any]  # a WindowExtractor
    published: tuple[type[FeatureExtractionMixin], ...]
    compared: tuple[str, ...]
    statistics_axis: int | tuple[int, ...] | None = None
    limits: Mapping[str, Field | tuple[Field, ...]]
    cuts: bool = False
    is_computable: bool = False
    is_computed: bool = False
    card: CardText

    @property
    def settings(self) -> tuple[str, ...]:
        """The fields of FeatureConfig that it uses, other than those of the window."""
        return tuple(field.name for field in fields(self.extractor))

    def published_class(self, parameters: Mapping[str, Any]) -> type[FeatureExtractionMixin]:
        """The extractor class that is published for these parameters."""
        return self.published[0]

    @abstractmethod
    def columns(self, sample_rate: int) -> dict[str, Any]:
        """The columns of a stored window and their `datasets` types."""

    @abstractmethod
    def encode(self, window: np.ndarray, sample_rate: int) -> tuple:
        """One value per column."""

    @abstractmethod
    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Faults of stored windows that must not be decoded: description → bool `[rows]`, which rows have the fault.

        Args:
            rows: with `columns` and num_frames, without nulls except in `path`.
            parameters: of their extractor.
        """

    @abstractmethod
    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        """The window that was given to `encode`, float32, up to the precision of storage."""

    @abstractmethod
    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of a full window, from the parameters of its extractor; frames (samples, steps) first."""

    def window_frames(self, extractor: FeatureExtractionMixin, manifest: Mapping[str, Any]) -> int:
        """Length of a full window in `batch`: frames, samples or steps."""
        return self.window_shape(manifest["window_s"], manifest["extractor"])[0]

    def sample_windows(self, parameters: Mapping[str, Any], window_s: float, hop_s: float) -> SampleWindows:
        """How a waveform at the features' rate is cut into windows when features are built.

        Args:
            parameters: of the extractor, from a manifest or the published extractor: `sampling_rate` and more.
        """
        rate = parameters["sampling_rate"]
        return SampleWindows(round(window_s * rate), round(hop_s * rate), self.shortest_samples(parameters))

    def shortest_samples(self, parameters: Mapping[str, Any]) -> int:
        """Minimum number of samples for features: 25 ms, a frame of most kinds."""
        return round(0.025 * parameters["sampling_rate"])

    def longest_samples(self, extractor: FeatureExtractionMixin) -> int | None:
        """Maximum number of samples that a published extractor does not cut; None: no limit."""
        return None

    def inputs_of_sound(
        self, windows: Sequence[np.ndarray], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """A model's inputs for windows of the same length `[samples]` or `[2, samples]`, at the extractor's rate."""
        rate = extractor.sampling_rate
        return dict(extractor(list(windows), sampling_rate=rate, return_tensors="pt"))

    @abstractmethod
    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """A model's inputs, equal to the output of `extractor` for the windows' waveforms."""

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor] | None:
        """A batch in its stored form, which `inputs_of` converts on a device; None if that saves nothing.

        Workers send this form to the GPU, which normalizes it: it has a quarter of the bytes of float32.
        """
        return None

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_frames: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """The output of `batch` from a `stored_batch`, on its device; `num_frames` int64 `[batch]` per window."""
        raise NotImplementedError(f"{self.name} has no stored batches")

    def inputs_of_waveforms(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output of `extractor` for waveforms, on their device; for computable kinds only.

        Args:
            waveforms: float32 `[batch, samples]`, 0 after each window's end.
            num_samples: int64 `[batch]`, length of each window.

        Returns:
            A model's `input_values`, and int64 `[batch]`, the number of frames per window that are not padding.
        """
        raise NotImplementedError(f"{self.name} features are not computed on a device")

    def source_of(self, extractor: FeatureExtractionMixin) -> WindowExtractor:
        """The WindowExtractor with the settings of a published extractor; for computable kinds only."""
        raise NotImplementedError(f"{self.name} features are not computed on a device")

    def frames(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """A spectrogram `[frames, bins]`, for images and for finding copies: log-mel, or the closest to it."""
        return window

    @abstractmethod
    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        """Seconds from one of `frames` to the next."""

    def summary(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """A window as one vector, not normalized: mean and standard deviation of frames over time; the mean of
        vectors."""
        if self.form is Form.VECTORS:
            return window.mean(axis=0)
        frames = self.frames(window, parameters) if self.form is Form.SOUND else window.reshape(len(window), -1)
        return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])

    def scale(self, extractor: FeatureExtractionMixin) -> Scale | None:
        """How a published extractor normalizes images of log energies, which can be augmented; None for other kinds."""
        return None

    def axes(self, extractor: FeatureExtractionMixin) -> Axes | None:
        """The axes of a published extractor's image; None if it does not output images, or they are unknown."""
        return None

    def padding_value(self, extractor: FeatureExtractionMixin) -> float | None:
        """The model's input in each bin of padding; None if there is a mask, or no padding."""
        return None

    def drawn(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """The image of a window in a card: `[frames, bins]`, with all channels if there are several."""
        return self.frames(window, parameters)

    def channels(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        """Names of a window's channels, in the order of `drawn` from top to bottom; empty if they have no names."""
        return ()

    def feature_names(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        """Name of each number of a vector, in order; related numbers have the same prefix before an underscore."""
        return ()

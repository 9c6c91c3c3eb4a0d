"""What everything else knows of a kind of feature."""

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
    """What a window is to a model or a plot, whatever its numbers mean: models say which form they read."""

    IMAGE = "an image: [frames, bins], or [frames, channels, bins]"
    SOUND = "sound: [samples]"
    VECTORS = "vectors of named numbers: [steps, features]"


class WindowExtractor(Protocol):
    """What makes the features of a dataset; a dataclass whose fields are the settings of its kind.

    Attributes:
        sample_rate: of the waveforms it wants, in Hz.
        frame_samples: samples of the shortest clip that can be used.
        hop_samples: samples from one frame to the next.
        times_real_time: about how many seconds of sound one core gets through in one second.
        is_stereo: whether it wants left and right, `[2, samples]`, in place of mono `[samples]`.
        slow_imports: modules that it imports at its first window, which worker processes shall share.
        parameters: everything that decides the values: `kind`, `sampling_rate` and more.
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
        """Frames (samples, steps) of a full window; 0 where it is too short to have any."""

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        """Samples of a window, and from one window to the next."""

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterable[Iterable[tuple[float, np.ndarray]]]:
        """The windows of each waveform, by `window_starts`: (start in seconds, float32 `[frames, ...]`)."""

    def to_feature_extractor(self, max_length: int, mean: Any, std: Any) -> FeatureExtractionMixin:
        """What makes the same of a waveform without hf_audio, for windows of `max_length` frames."""


class Scale(NamedTuple):
    """How stored values of an image become a model's inputs: (value - mean) / (deviations * std).

    Attributes:
        mean, std: of the stored values; one number, or one for each channel.
        deviations: by how many standard deviations is divided.
        unit_db: decibels of one unit of the stored values.
        padding: input value of frames behind a clip's end; None is that of a stored 0.
        is_centered: whether an input of 0 is the mean of the training data, or of its own clip.
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
    """Measured values as models read them, (value - mean) / divisor: numbers, or tensors that fit each other.

    The one place of the formula here; published extractors, which stand alone, have their own, and are compared.
    `in_place` takes the memory of `values`, a tensor that nobody else needs: half the time for a batch.
    """
    if in_place:
        values -= mean
        values /= divisor
        return values
    return (values - mean) / divisor


class Axes(NamedTuple):
    """Where the numbers of a model's image lie in time and frequency.

    Attributes:
        frame_s: seconds from one frame to the next.
        first_s: the middle of the first frame.
        hz: float64 `[bins]`, the middle frequency of each bin, ascending; None where bins are of no frequencies.
        bins_first: whether the image is `[bins, frames]`, in place of `[frames, bins]`.
    """

    frame_s: float
    first_s: float
    hz: np.ndarray | None = None
    bins_first: bool = False


class CardText(NamedTuple):
    """What cards say of a kind. The last five are templates, filled as a dataset's card is.

    Attributes:
        title: what the features are called.
        tags: what the Hub finds them by.
        heard: the input of a model, in "Its input is ... of 3 s".
        row: how a window is stored, in "Each row is one window, ...".
        library: what reads a row beside `datasets`.
        imports: of the code that reads a row.
        code: from `rows` to the values of the first row.
        values: what the values are and how models normalize them.
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
    """One kind of feature. It has no state; windows are float32, as WindowExtractor makes them.

    Attributes:
        name: in settings, manifests, messages and the registry.
        form: of its windows.
        described: what it is, in words.
        extractor: what makes its windows; the fields are the settings that the kind takes, with their defaults.
        published: classes of extractors that make the same of a waveform without hf_audio, see `published_class`.
        compared: settings of those which a model cannot be adapted to.
        statistics_axis: what mean and standard deviation are taken over: None everything, 0 all steps of each feature,
            (0, 2) all frames and bins of each channel.
        limits: what each of the extractor's parameters in a manifest can be, which may be untrusted.
        cuts: whether the published extractor cuts what is longer than a window.
        is_computable: whether features are computed of sound on any device too, see `inputs_of_waveforms`.
        is_computed: whether windows are stored as sound, and features computed of them, see `OfSound`.
        card: what cards say.
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
        """Which of FeatureConfig's fields it takes, beside those of the window."""
        return tuple(field.name for field in fields(self.extractor))

    def published_class(self, parameters: Mapping[str, Any]) -> type[FeatureExtractionMixin]:
        """The class of the extractor that is published with these parameters."""
        return self.published[0]

    @abstractmethod
    def columns(self, sample_rate: int) -> dict[str, Any]:
        """The columns of a window and their `datasets` types."""

    @abstractmethod
    def encode(self, window: np.ndarray, sample_rate: int) -> tuple:
        """One value for each of `columns`."""

    @abstractmethod
    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What stored windows can have that must not be decoded, in words, and bool `[rows]` of those that have it.

        Args:
            rows: of `columns` and num_frames, without empty values but in `path`.
            parameters: of the extractor that made them.
        """

    @abstractmethod
    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        """The window as it was given to `encode`, float32, as far as storing it is exact."""

    @abstractmethod
    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of a full window, by the parameters of the extractor that made it; frames (samples, steps) first."""

    def window_frames(self, extractor: FeatureExtractionMixin, manifest: Mapping[str, Any]) -> int:
        """Length of a full window as `batch` gives it: frames, samples or steps."""
        return self.window_shape(manifest["window_s"], manifest["extractor"])[0]

    def sample_windows(self, parameters: Mapping[str, Any], window_s: float, hop_s: float) -> SampleWindows:
        """How a sound at the features' rate is cut into windows, as building the features cuts it.

        Args:
            parameters: of the extractor, in a manifest or of the published one: `sampling_rate` and more.
        """
        rate = parameters["sampling_rate"]
        return SampleWindows(round(window_s * rate), round(hop_s * rate), self.shortest_samples(parameters))

    def shortest_samples(self, parameters: Mapping[str, Any]) -> int:
        """Samples of the shortest sound that has features: 25 ms, a frame of most of them."""
        return round(0.025 * parameters["sampling_rate"])

    def longest_samples(self, extractor: FeatureExtractionMixin) -> int | None:
        """Samples of the longest window that a published extractor hears whole; None where it takes any."""
        return None

    def inputs_of_sound(
        self, windows: Sequence[np.ndarray], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """A model's inputs of windows of one length `[samples]` or `[2, samples]`, at the extractor's rate."""
        rate = extractor.sampling_rate
        return dict(extractor(list(windows), sampling_rate=rate, return_tensors="pt"))

    @abstractmethod
    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """A model's inputs, as `extractor` would have made them of the windows' sound."""

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor] | None:
        """A batch as it is stored, from which `inputs_of` makes the same on a device; None where that saves nothing.

        It is what travels from workers to a GPU, and is normalized there: a quarter of the bytes of float32.
        """
        return None

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_frames: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """What `batch` gives, of a `stored_batch`, on its device; `num_frames` int64 `[batch]` of each window."""
        raise NotImplementedError(f"{self.name} has no stored batches")

    def inputs_of_waveforms(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `extractor` makes of sound, on the device where it lies; of kinds that are computable.

        Args:
            waveforms: float32 `[batch, samples]`, 0 behind each window's end.
            num_samples: int64 `[batch]`, up to there.

        Returns:
            A model's `input_values`, and int64 `[batch]` the frames of each window that are not padding.
        """
        raise NotImplementedError(f"{self.name} features are not computed on a device")

    def source_of(self, extractor: FeatureExtractionMixin) -> WindowExtractor:
        """What makes windows with the settings of a published extractor; of kinds that are computable."""
        raise NotImplementedError(f"{self.name} features are not computed on a device")

    def frames(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """What sounds when, `[frames, bins]`, for images and finding copies: log-mel, or what is nearest."""
        return window

    @abstractmethod
    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        """Seconds from one of `frames` to the next."""

    def summary(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """A window as one vector, un-normalized: frames' mean and standard deviation over time, the mean of vectors."""
        if self.form is Form.VECTORS:
            return window.mean(axis=0)
        frames = self.frames(window, parameters) if self.form is Form.SOUND else window.reshape(len(window), -1)
        return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])

    def scale(self, extractor: FeatureExtractionMixin) -> Scale | None:
        """Of images of log energies, which can be augmented: how a published extractor makes inputs of them."""
        return None

    def axes(self, extractor: FeatureExtractionMixin) -> Axes | None:
        """What the axes of the image are that a published extractor makes; None where it makes none, or is unknown."""
        return None

    def padding_value(self, extractor: FeatureExtractionMixin) -> float | None:
        """What models read behind a short sound, in each bin; None where a mask says it, or nothing is padded."""
        return None

    def drawn(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """What the image of a window in a card shows: `[frames, bins]`, and all channels if there are several."""
        return self.frames(window, parameters)

    def channels(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        """Names of a window's channels, as `drawn` has them from top to bottom; empty where they have none."""
        return ()

    def feature_names(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        """What each number of a vector is, in order; parts of one thing share the word before an underscore."""
        return ()

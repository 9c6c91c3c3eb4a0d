"""Kind "classical": MFCC, chroma, spectral contrast, tonnetz, tempo, mel bands and more, computed by librosa.

A window is a row with a plain list of float32, not normalized:

    steps = np.reshape(row["features"], (row["num_frames"], -1))    # [steps, features]
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from hf_audio.errors import InputError
from hf_audio.extractors.classical import HOP_SAMPLES, N_FFT, ClassicalFeatureExtractor, feature_names
from hf_audio.kinds._cut_sound import CutSound
from hf_audio.kinds._kind import CardText, Form, Kind
from hf_audio.kinds._stored_values import are_measured, lists_hold
from hf_audio.limits import FIELDS, NONE

# Lower edge of the highest of librosa's seven bands of spectral contrast
HIGHEST_CONTRAST_HZ = 6400

LIMITS: dict[str, Any] = {
    "sampling_rate": FIELDS["sampling_rate"],
    **{name: (FIELDS[name], NONE) for name in ("step_s", "entropy_frame_s")},
    "num_features": FIELDS["feature_size"],
    **dict.fromkeys(("fft_samples", "fft_hop_samples"), FIELDS["n_fft"]),
}
CARD = CardText(
    title="classical features",
    tags=("librosa", "tabular"),
    heard="windows of classical features",
    row="""\
with {{ extractor.num_features }} features{% if extractor.step_s %} every {{ "%g" | format(extractor.step_s) }} \
s{% endif %}, computed by librosa""",
    library="numpy",
    imports="import numpy as np\nfrom datasets import load_dataset",
    code="""row = next(iter(rows))
vectors = np.reshape(row["features"], (row["num_frames"], -1))  # [steps, features]""",
    values="""\
Values are not normalized. Models read `(vectors - mean) / std`, with the {{ extractor.num_features }} means and \
standard deviations of the train split from `preprocessor_config.json`.

| features | |
|---|---|
{% for first, last, names in feature_groups -%}
| {{ first }}{% if last > first %} to {{ last }}{% endif %} | {{ names }} |
{% endfor %}""",
    columns="""\
| `features` | {{ extractor.num_features }} numbers per step, one step after another |
| `num_frames` | number of steps in the window |""",
)


@dataclass(frozen=True)
class ClassicalFeatures(CutSound):
    """The output of ClassicalFeatureExtractor for each window on its own, not standardized.

    Tempo, tuning and the floor of 80 dB below the loudest mel band depend on the whole window, so a window's features
    cannot be cut from its clip's: overlapping windows are computed separately. A frame is a step.

    Args:
        sample_rate: in Hz.
        step_s: seconds per vector; None: one vector per window.
        entropy_frame_s: length of frames whose spectral entropy is added, in seconds; None: none.

    Raises:
        InputError: librosa is missing, the sample rate is too low, a step is shorter than a spectrum, or entropy frames
            do not fit into a step.
    """

    sample_rate: int = 22_050
    step_s: float | None = None
    entropy_frame_s: float | None = None

    times_real_time = 200.0  # seconds of audio that a core processes per second
    is_stereo = False
    slow_imports = ("hf_audio.extractors.compiled_librosa",)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("librosa") is None:
            raise InputError(
                'Classical features need librosa, which is not installed: pip install "hf_audio[classical]"'
            )
        if self.sample_rate <= HIGHEST_CONTRAST_HZ * 2:
            raise InputError(
                f"Classical features need a --sample_rate above {2 * HIGHEST_CONTRAST_HZ}, because the highest band of "
                f"spectral contrast starts at {HIGHEST_CONTRAST_HZ} Hz, found {self.sample_rate}: try 22050"
            )
        if self.step_s is not None and round(self.step_s * self.sample_rate) < N_FFT:
            raise InputError(
                f"A step of {self.step_s:g} s is shorter than a spectrum of {N_FFT} samples: give --step_s "
                f"{N_FFT / self.sample_rate + 0.005:.2f} or more, or leave it out for one vector per window"
            )
        try:
            feature_names(self.step_s, self.entropy_frame_s)
        except ValueError as error:
            raise InputError(
                f"{error}: give --step_s, e.g. the window's length, or another --entropy_frame_s"
            ) from None

    @property
    def frame_samples(self) -> int:
        """Samples per spectrum, which is also the minimum length of a waveform."""
        return N_FFT

    @property
    def hop_samples(self) -> int:
        """Windows may start at any sample."""
        return 1

    @property
    def parameters(self) -> dict[str, float | int | str | None]:
        """All settings that determine the values, for a manifest."""
        return {
            "kind": "classical",
            "sampling_rate": self.sample_rate,
            "step_s": self.step_s,
            "entropy_frame_s": self.entropy_frame_s,
            "num_features": len(feature_names(self.step_s, self.entropy_frame_s)),
            "fft_samples": N_FFT,
            "fft_hop_samples": HOP_SAMPLES,
        }

    def count(self, num_samples: int) -> int:
        """Steps of a window."""
        return self.published.count_steps(num_samples)

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """float32 `[steps, features]`."""
        return self.published.extract(sound)

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
        """See `CutSound.windows`."""
        with threadpool_limits(1, user_api="blas"):  # processes already use all cores
            yield from super().windows(waveforms, window_s, hop_s)

    def to_feature_extractor(
        self, max_length: int, mean: Sequence[float] | float, std: Sequence[float] | float
    ) -> ClassicalFeatureExtractor:
        """The extractor that computes the same from a waveform, for `max_length` steps, with training statistics."""
        return ClassicalFeatureExtractor(
            sampling_rate=self.sample_rate,
            step_s=self.step_s,
            num_steps=max_length,
            entropy_frame_s=self.entropy_frame_s,
            mean=mean,
            std=std,
        )


class Classical(Kind):
    """See `Kind`."""

    name = "classical"
    form = Form.VECTORS
    described = "classical features"
    extractor = ClassicalFeatures
    published = (ClassicalFeatureExtractor,)
    compared = ("sampling_rate", "step_s", "entropy_frame_s")
    statistics_axis = 0
    limits = LIMITS
    card = CARD

    def columns(self, sample_rate: int) -> dict[str, Any]:
        from datasets import List, Value  # not needed by those who only predict

        return {"features": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[np.ndarray]:
        return (window.ravel(),)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        count = parameters["num_features"]
        lengths = rows["num_frames"].to_numpy() * count
        holds = lists_hold(rows["features"], lengths, are_measured(rows["features"].flatten()))
        return {f"features that are not {count} numbers for each of num_frames": ~holds}

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(row["features"], dtype=np.float32).reshape(row["num_frames"], -1)

    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, int]:
        num_steps = 1
        if parameters["step_s"] is not None:
            extractor = ClassicalFeatureExtractor(parameters["sampling_rate"], step_s=parameters["step_s"])
            num_steps = extractor.count_steps(round(window_s * parameters["sampling_rate"]))
        return num_steps, parameters["num_features"]

    def window_frames(self, extractor: ClassicalFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.num_steps

    def shortest_samples(self, parameters: Mapping[str, Any]) -> int:
        """Samples per spectrum."""
        return N_FFT

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: ClassicalFeatureExtractor) -> dict[str, torch.Tensor]:
        """Standardized, and padded or cut to `num_steps`, by the extractor."""
        return {"input_values": torch.from_numpy(extractor.standardize([self.decode(row) for row in rows]))}

    def padding_value(self, extractor: ClassicalFeatureExtractor) -> float:
        return extractor.padding_value

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return manifest["extractor"]["step_s"] or manifest["window_s"]

    def feature_names(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        return feature_names(parameters["step_s"], parameters["entropy_frame_s"])


KIND = Classical()

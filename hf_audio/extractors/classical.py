"""174 classical features of music, and spectral entropies: one vector per window, or one every few seconds.

This file and those it imports are copied to published models, so they do not import hf_audio:

    extractor = AutoFeatureExtractor.from_pretrained("someone/model", trust_remote_code=True)
    extractor(waveform, sampling_rate=22050, return_tensors="pt")["input_values"]    # [1, steps, 174]

The features are those of a student project that classified GTZAN's genres (github.com/Mathieeeu/data832_projet): means
over time of librosa's features (McFee et al. 2015) with default settings.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from transformers import BatchFeature, SequenceFeatureExtractor

from .given_sound import as_waveforms, check_sampling_rate

N_FFT = 2048
HOP_SAMPLES = 512
NUM_MFCCS = 20
NUM_MEL_BANDS = 128
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FEATURE_NAMES = (
    *(f"mfcc_{number}" for number in range(NUM_MFCCS)),
    *(f"chroma_{name}" for name in PITCH_CLASSES),
    *(f"contrast_{band}" for band in range(7)),
    *(f"tonnetz_{axis}" for axis in ("fifth_x", "fifth_y", "minor_x", "minor_y", "major_x", "major_y")),
    "tempo_bpm",
    *(f"mel_{band}_db" for band in range(NUM_MEL_BANDS)),
)
# Features with a smaller standard deviation are constant in training and only centered, as in StandardScaler
MIN_STD = 1e-4


class ClassicalFeatureExtractor(SequenceFeatureExtractor):
    """Waveforms → standardized classical features, see FEATURE_NAMES and `classical_features`.

    Args:
        feature_size: number of features; determined by the other arguments.
        sampling_rate: in Hz. The default is that of librosa, which the original project also used.
        padding_value: of steps after a short waveform's end; 0 is the mean of the training data.
        step_s: seconds per vector; None: one vector for the whole waveform. A remainder of less than half a step is
            ignored, unless the waveform is shorter than a step.
        num_steps: number of vectors that a waveform is cut or padded to; None: pad to the longest of the batch.
        entropy_frame_s: length in seconds of frames whose spectral entropy is added, see `spectral_entropies`; None:
            none. One entropy per frame in a step follows the other features, so `step_s` is required.
        mean, std: of each feature over the training data, or one number for all; None: values are unchanged.
    """

    model_input_names = ["input_values"]  # noqa: RUF012 - as the stock extractors have it

    def __init__(
        self,
        feature_size: int = len(FEATURE_NAMES),
        sampling_rate: int = 22_050,
        padding_value: float = 0.0,
        step_s: float | None = None,
        num_steps: int | None = None,
        entropy_frame_s: float | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        return_attention_mask: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(len(feature_names(step_s, entropy_frame_s)), sampling_rate, padding_value, **kwargs)
        self.return_attention_mask = return_attention_mask
        self.step_s, self.num_steps, self.entropy_frame_s = step_s, num_steps, entropy_frame_s
        self.mean = np.ravel(mean).tolist() if mean is not None else None
        self.std = np.ravel(std).tolist() if std is not None else None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each number of a vector, in order."""
        return feature_names(self.step_s, self.entropy_frame_s)

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Features of one mono waveform `[samples]`, or of several.

        Returns:
            `input_values`, float32 `[batch, steps, features]`.

        Raises:
            ValueError: wrong sampling rate, more than one channel, or no samples.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        values = self.standardize([self.extract(waveform) for waveform in as_waveforms(raw_speech)])
        return BatchFeature({"input_values": values}, tensor_type=return_tensors)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """`[samples]` → float32 `[steps, features]`, at most `num_steps`; not standardized, not padded."""
        step_samples = self.step_samples(len(waveform))
        starts = range(0, self.count_steps(len(waveform)) * step_samples, step_samples)[: self.num_steps]
        steps = [waveform[start : start + step_samples] for start in starts]
        features = np.stack([classical_features(step, self.sampling_rate) for step in steps])
        if self.entropy_frame_s is None:
            return features
        count, frame_samples = self.feature_size - len(FEATURE_NAMES), round(self.entropy_frame_s * self.sampling_rate)
        return np.concatenate([features, [spectral_entropies(step, frame_samples, count) for step in steps]], axis=1)

    def step_samples(self, num_samples: int) -> int:
        """Samples per vector, for a waveform of `num_samples`."""
        return num_samples if self.step_s is None else max(1, round(self.step_s * self.sampling_rate))

    def count_steps(self, num_samples: int) -> int:
        """Vectors of a waveform of `num_samples`."""
        whole, rest = divmod(num_samples, self.step_samples(num_samples))
        return max(1, whole + (2 * rest >= self.step_samples(num_samples)))

    def standardize(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Outputs of `extract` for several waveforms → float32 `[batch, steps, features]`, the model's input."""
        num_steps = self.num_steps or max(len(steps) for steps in features)
        batch = np.full((len(features), num_steps, self.feature_size), self.padding_value, dtype=np.float32)
        mean = np.asarray(0 if self.mean is None else self.mean, np.float32)
        std = np.asarray(1 if self.std is None else self.std, np.float32)
        std = np.where(std < MIN_STD, np.float32(1), std)
        for row, steps in zip(batch, features, strict=True):
            row[: len(steps)] = (steps[:num_steps] - mean) / std
        return batch


def feature_names(step_s: float | None = None, entropy_frame_s: float | None = None) -> tuple[str, ...]:
    """Name of each number of a vector, in order.

    Raises:
        ValueError: entropies without steps, or frames longer than a step.
    """
    if entropy_frame_s is None:
        return FEATURE_NAMES
    if step_s is None or not 0 < entropy_frame_s <= step_s:
        raise ValueError(
            f"entropy_frame_s {entropy_frame_s:g} needs a step_s of at least this length, found {step_s}, since the "
            "number of entropies must not depend on a clip's length"
        )
    return (*FEATURE_NAMES, *(f"entropy_{number}" for number in range(round(step_s / entropy_frame_s))))


def spectral_entropies(waveform: np.ndarray, frame_samples: int, count: int) -> np.ndarray:
    """Spectral entropy of each frame: float32 `[count]`, from 0 for a tone to 1 for white noise.

    Shannon entropy of the power spectrum (Hann window, no overlap) as shares of its sum, divided by the logarithm of
    the number of bins; 0 for digital silence. If the sound has fewer than `count` frames, the others get their mean.
    """
    whole = max(1, min(count, len(waveform) // frame_samples))
    frames = np.resize(np.pad(waveform, (0, max(0, frame_samples - len(waveform)))), (whole, frame_samples))
    power = np.abs(np.fft.rfft(frames * np.hanning(frame_samples), axis=1)) ** 2
    total = power.sum(axis=1, keepdims=True)
    shares = power / np.where(total > 0, total, 1.0)
    entropies = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1) / np.log(power.shape[1])
    return np.pad(entropies, (0, count - whole), constant_values=entropies.mean()).astype(np.float32)


def classical_features(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The features of one stretch of sound: float32 `[174]`, in the order of FEATURE_NAMES.

    Each feature is its mean over frames of 2,048 samples every 512. The 128 mel bands, and the 20 MFCCs from them, are
    in dB relative to 1, with a floor 80 dB below the maximum. Chroma (12, each pitch class relative to the loudest) is
    computed from the power spectrum, with the tuning estimated for each stretch; spectral contrast (7 bands, in dB)
    from the magnitudes. Tonnetz (6) uses the same chroma: librosa's default is a chroma from a constant-Q transform,
    which takes four times longer than everything else together. Tempo (1, in beats per minute) is from the
    autocorrelation, over at most 8 s; it is unreliable for one or two seconds of sound.

    librosa computes a spectrum for each of these. Here one spectrum is used for all, with the same values.
    """
    from .compiled_librosa import librosa

    waveform = np.asarray(waveform, dtype=np.float32)
    if len(waveform) < N_FFT:
        waveform = np.pad(waveform, (0, N_FFT - len(waveform)))
    magnitude = np.abs(librosa.stft(waveform, n_fft=N_FFT, hop_length=HOP_SAMPLES))
    power = magnitude**2
    mel_db = librosa.power_to_db(np.einsum("ft,mf->mt", power, _mel_filters(sampling_rate), optimize=True))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to estimate tuning from empty frequency set")  # silence has none
        chroma = librosa.feature.chroma_stft(S=power, sr=sampling_rate)
    onsets = librosa.onset.onset_strength(S=mel_db, sr=sampling_rate)
    over_time = (
        librosa.feature.mfcc(S=mel_db, sr=sampling_rate, n_mfcc=NUM_MFCCS),
        chroma,
        librosa.feature.spectral_contrast(S=magnitude, sr=sampling_rate),
        librosa.feature.tonnetz(chroma=chroma, sr=sampling_rate),
        librosa.feature.tempo(onset_envelope=onsets, sr=sampling_rate)[:, None],
        mel_db,
    )
    return np.concatenate([values.mean(axis=1) for values in over_time]).astype(np.float32)


@lru_cache(maxsize=4)
def _mel_filters(sampling_rate: int) -> np.ndarray:
    from .compiled_librosa import librosa

    return librosa.filters.mel(sr=sampling_rate, n_fft=N_FFT, n_mels=NUM_MEL_BANDS)


ClassicalFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

"""What is computed from the recordings: features, and mixtures of training clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hf_audio.config.setting import require_choices, setting


@dataclass
class FeatureConfig:
    """Which features are built from the recordings."""

    _argument_group_name = "features"

    features: str = setting(
        "fbank",
        "Features of each window: fbank (Kaldi log-mel, for AST), spectrogram (log-mel with your own settings, one or "
        "more channels), waveform (for Wav2Vec2 and similar models) or classical (174 features from librosa).",
    )
    features_on_device: bool = setting(
        False,
        "Store waveforms, and compute fbank or spectrogram features on the GPU during training and evaluation. This "
        "allows waveform augmentation.",
    )
    window_s: float | None = setting(
        None,
        "Window length in seconds; 0: the length of the longest clip, so that each clip is one window. Default: long "
        "enough for 99%% of the training clips, at most 5 s.",
    )
    hop_s: float | None = setting(
        None, "Seconds from the start of one window to the next. Default: the window length (no overlap)."
    )
    sample_rate: int | None = setting(
        None, "Sample rate in Hz that recordings are resampled to. Default: 16000 (fbank, waveform) or 22050."
    )
    normalization: Literal["dataset", "clip", "none"] = setting(
        "dataset",
        "Mean and standard deviation to normalize features with: dataset (of the training split), clip (of each clip, "
        "for --features spectrogram) or none.",
    )
    num_mel_bins: int = setting(128, "Mel bins, for --features fbank and spectrogram.")
    n_fft: int = setting(2048, "For --features spectrogram: samples per FFT.")
    hop_samples: int = setting(512, "For --features spectrogram: samples between the starts of frames.")
    channels: list[str] | None = setting(
        None,
        "For --features spectrogram: input channels, any of mel, left, right, harmonic, percussive, mfcc, wavelet. "
        "Default: mel.",
    )
    step_s: float | None = setting(
        None, "For --features classical: seconds of sound per feature vector. Default: the whole window."
    )
    entropy_frame_s: float | None = setting(
        None, "For --features classical: add the spectral entropy of each frame of this length in seconds, e.g. 0.1."
    )

    def __post_init__(self) -> None:
        require_choices(self)


@dataclass
class MixingConfig:
    """How training clips are mixed into new clips with several labels when features are built."""

    _argument_group_name = "mixing"

    mix_fraction: float = setting(0.0, "Number of mixtures, as a fraction of the number of training clips; 0 is off.")
    mix_clips: list[int] = field(
        default_factory=lambda: [2, 4], metadata={"help": "Minimum and maximum number of clips in a mixture."}
    )
    mix_labels: int = setting(4, "Maximum number of classes in a mixture.")
    mix_same: str | None = setting(None, "Mix only clips with equal values of this metadata, e.g. genre. Default: any.")
    mix_overlap: float = setting(
        0.5, "Minimum share of a window in which all clips of a mixture overlap; 1: all start together."
    )
    mix_level_db: float = setting(6.0, "Maximum difference in level between the clips of a mixture, in dB.")
    mix_match: Literal["none", "tempo", "pitch"] = setting(
        "none", "Bring the clips of a mixture to the same tempo or pitch."
    )
    mix_seed: int = setting(0, "Random seed of the mixtures.")

    def __post_init__(self) -> None:
        require_choices(self)
        minimum, maximum = (*self.mix_clips, 0, 0)[:2]
        if len(self.mix_clips) != 2 or not 2 <= minimum <= maximum:
            found = " ".join(map(str, self.mix_clips))
            raise ValueError(f"--mix_clips must be the minimum (2 or more) and the maximum, found {found}: try 2 4")
        if self.mix_labels < minimum:
            raise ValueError(
                f"--mix_labels {self.mix_labels} is fewer than the {minimum} clips of a mixture, which all have "
                f"different classes: try --mix_labels {maximum}"
            )
        if self.mix_fraction < 0 or self.mix_level_db < 0:
            raise ValueError(
                "--mix_fraction and --mix_level_db must not be negative: 0 means no mixtures, or equal levels"
            )
        if not 0 < self.mix_overlap <= 1:
            raise ValueError(f"--mix_overlap must be above 0 and at most 1, found {self.mix_overlap:g}: try 0.5")

"""What is made of the recordings: features, and mixtures of training clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hf_audio.config.setting import require_choices, setting


@dataclass
class FeatureConfig:
    """What is stored of the recordings."""

    _argument_group_name = "features"

    features: str = setting(
        "fbank",
        "What each window becomes: fbank (Kaldi log-mel, what AST reads), spectrogram (log-mel with your own "
        "settings, several channels), waveform (for Wav2Vec2 and the like) or classical (174 numbers).",
    )
    features_on_device: bool = setting(
        False,
        "Store waveforms, and compute fbank or spectrogram features on the GPU while training and evaluating, so that "
        "waveform augmentation can be used.",
    )
    window_s: float | None = setting(
        None,
        "Length of a window in seconds; 0: that of the longest clip, so that every clip is one window. Default: what "
        "90 %% of the training clips fit into, at most 5 s.",
    )
    hop_s: float | None = setting(
        None, "Seconds from the start of one window of a clip to the next. Default: the window's length, no overlap."
    )
    sample_rate: int | None = setting(
        None, "Sample rate in Hz that recordings are resampled to. Default: 16000 (fbank, waveform) or 22050."
    )
    normalization: Literal["dataset", "clip", "none"] = setting(
        "dataset",
        "Mean and standard deviation that features are normalized by: dataset (the training split's), clip (each "
        "clip's own, for --features spectrogram) or none.",
    )
    num_mel_bins: int = setting(128, "Mel bins, for --features fbank and spectrogram.")
    n_fft: int = setting(2048, "For --features spectrogram: samples per FFT.")
    hop_samples: int = setting(512, "For --features spectrogram: samples from one frame to the next.")
    channels: list[str] | None = setting(
        None,
        "For --features spectrogram: channels of the input, any of mel, left, right, harmonic, percussive, mfcc, "
        "wavelet. Default: mel.",
    )
    step_s: float | None = setting(
        None, "For --features classical: seconds that each vector describes. Default: one vector per window."
    )
    entropy_frame_s: float | None = setting(
        None, "For --features classical: also add the spectral entropy of every frame of this many seconds, e.g. 0.1."
    )

    def __post_init__(self) -> None:
        require_choices(self)


@dataclass
class MixingConfig:
    """How new clips with several labels are mixed from training clips, when features are built."""

    _argument_group_name = "mixing"

    mix_fraction: float = setting(0.0, "Number of mixtures, as a share of the training clips; 0 is off.")
    mix_clips: list[int] = field(
        default_factory=lambda: [2, 4], metadata={"help": "Fewest and most clips in a mixture."}
    )
    mix_labels: int = setting(4, "Most classes in a mixture.")
    mix_same: str | None = setting(None, "Mix only clips that agree in this metadata, e.g. genre. Default: any clips.")
    mix_overlap: float = setting(
        0.5, "Share of each window in which every clip of a mixture sounds, at least; 1: all begin together."
    )
    mix_level_db: float = setting(6.0, "Most that the clips of a mixture differ in level, in dB.")
    mix_match: Literal["none", "tempo", "pitch"] = setting(
        "none", "Bring the clips of a mixture to the same tempo or pitch."
    )
    mix_seed: int = setting(0, "Random seed of the mixtures.")

    def __post_init__(self) -> None:
        require_choices(self)
        fewest, most = (*self.mix_clips, 0, 0)[:2]
        if len(self.mix_clips) != 2 or not 2 <= fewest <= most:
            found = " ".join(map(str, self.mix_clips))
            raise ValueError(f"--mix_clips must be the fewest (2 or more) and the most clips, found {found}: try 2 4")
        if self.mix_labels < fewest:
            raise ValueError(
                f"--mix_labels {self.mix_labels} is fewer than the {fewest} clips of a mixture, each of another class: "
                f"try --mix_labels {most}"
            )
        if self.mix_fraction < 0 or self.mix_level_db < 0:
            raise ValueError("--mix_fraction and --mix_level_db must not be negative: 0 makes no mixtures, all as loud")
        if not 0 < self.mix_overlap <= 1:
            raise ValueError(f"--mix_overlap must be above 0 and at most 1, found {self.mix_overlap:g}: try 0.5")

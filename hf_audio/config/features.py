"""What is made of the recordings: features, and mixtures of training clips."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_audio.config.setting import setting


@dataclass
class FeatureConfig:
    """What is stored of the recordings."""

    _argument_group_name = "features"

    features: str = setting(
        "fbank",
        "What is stored of each window: fbank (Kaldi log-mel, for AST and others), spectrogram (log-mel as you set it, "
        "stereo, wavelets ... as channels), waveform (for Wav2Vec2 and others), classical (174 numbers).",
    )
    features_on_device: bool = setting(
        False,
        "Store the sound, and compute fbank or spectrogram features of it where the model is, in training as in "
        "evaluation: its waveforms can then be augmented.",
    )
    window_s: float | None = setting(
        None,
        "Window length in seconds; 0 is the longest clip's, so that every clip is one window. Default: what nine of "
        "ten training clips fit into, at most 5 s.",
    )
    hop_s: float | None = setting(None, "Hop between windows of one clip in seconds. Default: the window length.")
    sample_rate: int | None = setting(
        None, "Sample rate in Hz that sound is resampled to. Default: 16000 (fbank, waveform) or 22050."
    )
    normalization: str = setting(
        "dataset",
        "What features are normalized by: the training data's statistics (dataset), their clip's own, or none.",
    )
    num_mel_bins: int = setting(128, "Mel bins, for features=fbank and spectrogram.")
    n_fft: int = setting(2048, "For features=spectrogram: samples under one spectrum.")
    hop_samples: int = setting(512, "For features=spectrogram: samples from one frame to the next.")
    channels: list[str] | None = setting(
        None,
        "For features=spectrogram: spectrograms of one window, as channels of one tensor: mel, left, right, harmonic, "
        "percussive, mfcc, wavelet. Default: mel.",
    )
    step_s: float | None = setting(
        None, "For features=classical: seconds under one vector. Default: one vector for the whole window."
    )
    entropy_frame_s: float | None = setting(
        None, "For features=classical: add the spectral entropy of every so many seconds, e.g. 0.1, to each step."
    )


@dataclass
class MixingConfig:
    """How new clips with several labels are mixed from training clips, when features are built."""

    _argument_group_name = "mixing"

    mix_fraction: float = setting(0.0, "Mixtures to make, as a share of the training clips; 0 makes none.")
    mix_clips: list[int] = field(
        default_factory=lambda: [2, 4],
        metadata={"help": "Fewest and most clips in a mixture."},
    )
    mix_labels: int = setting(4, "Most classes in a mixture.")
    mix_same: str | None = setting(None, "Metadata in which the clips of a mixture agree, e.g. genre. Default: any.")
    mix_overlap: float = setting(
        0.5, "Every clip of a mixture sounds in at least this share of each window; 1 lets all begin together."
    )
    mix_level_db: float = setting(6.0, "Clips of a mixture differ in level by up to so many decibels.")
    mix_match: str = setting("none", "Bring the clips of a mixture to one tempo or pitch: none, tempo or pitch.")
    mix_seed: int = setting(0, "Seed of the mixtures.")

    def __post_init__(self) -> None:
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
        if self.mix_match not in ("none", "tempo", "pitch"):
            raise ValueError(f"--mix_match must be none, tempo or pitch, found {self.mix_match!r}")

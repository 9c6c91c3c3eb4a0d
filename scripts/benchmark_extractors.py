"""Compare the speed of feature extraction on one core with librosa, in one run.

    python scripts/benchmark_extractors.py                      # synthesized music
    python scripts/benchmark_extractors.py --data_dir DIR       # 3 s windows cut from the recordings in DIR

Both compute the same features of the same 3 s windows (mono, 22,050 Hz). Their results are checked to be equal within
0.1 dB, except for one value in a thousand, because rounding differs near the floor of -100 dB. They take turns. Figures
are medians over turns, in seconds of sound per second of CPU time. A line that starts with `ratio` is a comparison.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process, for both variants

import numpy as np
import soxr
import torch
from _measuring import CLIP_S, FILE_RATE, machine, made_up_piece, recorded_pieces, report, turns

from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.compiled_librosa import librosa
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor

RATE, N_FFT, HOP, BINS = 22_050, 2048, 512, 128
FLOOR = 1e-10
LARGEST_DIFFERENCE_DB = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut windows from; default: synthesized sound")
    parser.add_argument("--num_windows", type=int, default=60, help="windows of 3 s (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each variant (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = options.num_windows
    pieces = recorded_pieces(options.data_dir, count) if options.data_dir else map(made_up_piece, range(count))
    windows = [soxr.resample(piece, FILE_RATE, RATE).astype(np.float32) for piece in itertools.islice(pieces, count)]
    print(f"{len(windows)} windows of {CLIP_S:g} s, {options.repeats} turns, {machine()}\n")
    print(f"{'times real time':28}{'hf_audio':>12}{'librosa':>12}")
    ratios = {}
    for what, (ours, theirs) in pairs().items():
        difference = max(np.quantile(np.abs(ours(window) - theirs(window)), 0.999) for window in windows[:5])
        assert difference < LARGEST_DIFFERENCE_DB, f"{what} differs by {difference:.3f}"
        ways = {"ours": lambda ours=ours: [ours(one) for one in windows]}
        ways["librosa"] = lambda theirs=theirs: [theirs(one) for one in windows]
        spent = turns(ways, options.repeats, "cpu")
        rates = {name: len(windows) * CLIP_S / seconds for name, seconds in spent.items()}
        print(f"{what:28}{rates['ours']:12.0f}{rates['librosa']:12.0f}", flush=True)
        ratios[what] = rates["ours"] / rates["librosa"]
    print()
    for what, ratio in ratios.items():
        report(f"{what}, ours / librosa", ratio)


def pairs() -> dict[str, tuple[Callable, Callable]]:
    """By name: our function and librosa's for the same features of a window `[samples]`."""
    settings = {"sampling_rate": RATE, "n_fft": N_FFT, "hop_samples": HOP, "num_mel_bins": BINS}
    mel = SpectrogramFeatureExtractor(channels=["mel"], **settings)
    parts = SpectrogramFeatureExtractor(channels=["harmonic", "percussive"], **settings)
    classical = ClassicalFeatureExtractor()
    return {
        "log-mel": (lambda window: mel.extract(window)[:, 0], librosa_mel),
        "harmonic and percussive": (parts.extract, librosa_parts),
        "174 classical features": (lambda window: classical.extract(window)[0], librosa_classical),
    }


def librosa_mel(window: np.ndarray) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=window, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=BINS)
    return librosa.power_to_db(power, ref=1.0, amin=FLOOR, top_db=None).T


def librosa_parts(window: np.ndarray) -> np.ndarray:
    parts = librosa.decompose.hpss(np.abs(librosa.stft(window, n_fft=N_FFT, hop_length=HOP)))
    filters = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=BINS)
    mels = [librosa.power_to_db(filters @ part**2, ref=1.0, amin=FLOOR, top_db=None).T for part in parts]
    return np.stack(mels, axis=1)


def librosa_classical(window: np.ndarray) -> np.ndarray:
    """Each feature with its own function of librosa, as in its documentation; tonnetz uses the same chroma as ours."""
    chroma = librosa.feature.chroma_stft(y=window, sr=RATE)
    over_time = (
        librosa.feature.mfcc(y=window, sr=RATE),
        chroma,
        librosa.feature.spectral_contrast(y=window, sr=RATE),
        librosa.feature.tonnetz(chroma=chroma, sr=RATE),
        librosa.feature.tempo(y=window, sr=RATE)[:, None],
        librosa.power_to_db(librosa.feature.melspectrogram(y=window, sr=RATE)),
    )
    return np.concatenate([values.mean(axis=1) for values in over_time])


if __name__ == "__main__":
    main()

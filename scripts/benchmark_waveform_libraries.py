"""Compare the speed of waveform augmentations with those of two other libraries, in one run.

    pip install torch-audiomentations audiomentations
    python scripts/benchmark_waveform_libraries.py

Windows are in memory. Everything is timed once per round, in turns. Figures are the median over rounds, in CPU time of
the process per window. The time of an augmentation includes drawing and applying it to every window. The cost relative
to a training step is measured by benchmark_augmentations.py.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not use CPU time

import numpy as np
import soundfile
import torch
from _measuring import turns

from hf_audio.augment import Compose
from hf_audio.augment.waveform import example_waveform_steps
from hf_audio.errors import InputError, clear_errors
from hf_audio.terminal import show

RATE = 16_000
# Corresponding augmentations by our name: the classes of torch-audiomentations and audiomentations, with settings
PAIRS = {
    "gain": (("Gain", {}), ("Gain", {})),
    "polarity": (("PolarityInversion", {}), ("PolarityInversion", {})),
    "shift, roll": (("Shift", {"min_shift": -0.1, "max_shift": 0.1}), ("Shift", {"min_shift": -0.1, "max_shift": 0.1})),
    "noise": (("AddColoredNoise", {}), ("AddColorNoise", {})),
    "low pass": (("LowPassFilter", {}), ("LowPassFilter", {})),
    "band pass": (("BandPassFilter", {}), ("BandPassFilter", {})),
    "pitch": (("PitchShift", {"sample_rate": RATE}), ("PitchShift", {})),
    "stretch": (None, ("TimeStretch", {})),
    # torch-audiomentations 0.12 reads files with torchaudio.info, which torchaudio 2.11 no longer has
    "reverb, recorded": (None, ("ApplyImpulseResponse", {"ir_path": None})),
}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=16, help="windows (default: %(default)s)")
    parser.add_argument("--window_s", type=float, default=3.0, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser.parse_args()


def ours(windows: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Our augmentations, which draw and apply, with their example settings."""
    targets, num_frames = torch.zeros(len(windows), 1), torch.full((len(windows),), windows.shape[1])
    steps_done = iter(range(1 << 30))

    def way(steps):
        augment = Compose(steps, None)

        def once():
            step = next(steps_done)
            return augment(windows, targets, num_frames, augment.draw([(0, step, n) for n in range(len(windows))]))

        return once

    steps = example_waveform_steps(RATE)
    return {name: way(steps[name]) for name in PAIRS}


def theirs(windows: torch.Tensor, room: str) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """The same by torch-audiomentations, per batch, and by audiomentations, per window.

    Raises:
        InputError: one of them is not installed.
    """
    try:
        batched, single = (importlib.import_module(name) for name in ("torch_audiomentations", "audiomentations"))
    except ImportError as error:
        raise InputError(f"pip install torch-audiomentations audiomentations first: {error}") from error
    of_batches, of_windows = {}, {}
    for name, (one, other) in PAIRS.items():
        if one is not None:
            step = getattr(batched, one[0])(p=1.0, p_mode="per_example", output_type="tensor", **one[1])
            of_batches[name] = lambda step=step: step(windows[:, None], sample_rate=RATE)
        settings = {key: value if value is not None else room for key, value in other[1].items()}
        each = getattr(single, other[0])(p=1.0, **settings)
        of_windows[name] = lambda each=each: [each(samples=window, sample_rate=RATE) for window in windows.numpy()]
    return of_batches, of_windows


def medians_ms(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU time per call of each: the median over rounds in which all take turns, after a warm-up round."""
    return {name: 1000 * median_s for name, median_s in turns(ways, rounds, "cpu", warm_up=True).items()}


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # of the libraries
    samples = round(options.window_s * RATE)
    windows = 0.1 * torch.randn(options.batch_size, samples, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        room = os.path.join(folder, "room.wav")
        decay = np.exp(-np.arange(RATE // 5) / (0.03 * RATE))
        soundfile.write(room, 0.2 * np.random.default_rng(0).standard_normal(len(decay)) * decay, RATE)
        ways = [ours(windows), *theirs(windows, room)]
        together = {(place, name): way for place, of in enumerate(ways) for name, way in of.items()}
        spent = medians_ms(together, options.rounds)
    show(f"| CPU ms per window of {options.window_s:g} s | hf_audio | torch-audiomentations | audiomentations |")
    show("|---|---:|---:|---:|")
    for name in PAIRS:
        times = (spent.get((place, name)) for place in range(len(ways)))
        cells = ("" if one is None else f"{one / options.batch_size:.2f}" for one in times)
        show(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    with clear_errors():
        main()

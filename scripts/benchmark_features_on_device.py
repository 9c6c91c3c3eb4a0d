"""Compare the training speed with features computed from stored sound and with stored features, in one run.

    python scripts/benchmark_features_on_device.py --data_dir DIR      # ast-mini and cnn
    python scripts/benchmark_features_on_device.py --device cuda --bf16 --model ast-base --batch_size 64 --steps 50

The same 3 s clips are built twice, as log-mel features and as sound, and AudioTrainer trains the same model on both:
reading rows, decoding, computing features if they are not stored, augmentation (mixup, masks), and the step. A third
variant also augments the waveforms (noise, shift, gain, for half of the windows each). Variants take turns, each after
warm-up steps. Figures are medians over turns, of CPU time on the CPU and wall-clock time on a GPU. A line that starts
with `ratio` is a comparison with stored features, in clips per second.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process, for all variants

import numpy as np
import soundfile
import soxr
import torch
import transformers
from _measuring import CLIP_S, FILE_RATE, machine, made_up_piece, recorded_pieces, report
from transformers import PrinterCallback, TrainerCallback

from hf_audio import load_features
from hf_audio.augment import augmentation_of, waveform_steps
from hf_audio.config import AugmentConfig, WaveformAugmentConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.computed_features import computed_features
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds.waveform import Waveform
from hf_audio.models import build_model
from hf_audio.training import AudioTrainer, Classification, training_arguments

RATE, WARM_UP_STEPS = 16_000, 3
SOURCES = (KaldiFbank(), Waveform())
LABELS = LabelSpace(tuple(f"class {index}" for index in range(11)), SINGLE_LABEL)
SPECTROGRAMS = AugmentConfig(mixup_alpha=10.0, time_mask_s=0.25, frequency_mask_bins=12)
WAVEFORMS = WaveformAugmentConfig(wave_noise_probability=0.5, wave_shift_probability=0.5, wave_gain_probability=0.5)


class Clock(TrainerCallback):
    """Seconds of the steps after the warm-up."""

    def __init__(self, now: Callable[[], float], is_on_gpu: bool) -> None:
        self.now, self.is_on_gpu, self.times = now, is_on_gpu, []

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in (WARM_UP_STEPS, state.max_steps):
            if self.is_on_gpu:
                torch.cuda.synchronize()
            self.times.append(self.now())


def main() -> None:
    options = parse_options()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    print(
        f"{options.num_clips} clips of {CLIP_S:g} s, batches of {options.batch_size}, {options.steps} steps, "
        f"{options.repeats} turns, {options.device}, {machine()}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        stored, sound = both_sets(Path(folder), options)
        computed = computed_features(sound, KaldiFbank())
        waves = waveform_steps(WAVEFORMS, RATE)
        ways = {"stored": (stored, ()), "on the device": (computed, ())}
        ways["on the device, augmented sound"] = (computed, waves)
        for model in options.model:
            compare(model, ways, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut clips from; default: synthesized clips")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", nargs="+", default=["ast-mini", "cnn"], help="presets (default: ast-mini cnn)")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--num_clips", type=int, default=128, help="different clips (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=16, help="clips per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="timed steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, default=0, help="data loader processes (default: %(default)s)")
    return parser.parse_args()


def both_sets(folder: Path, options: argparse.Namespace) -> tuple[FeatureDataset, FeatureDataset]:
    """The same clips as stored log-mel features and as stored sound."""
    count = options.num_clips
    pieces = recorded_pieces(options.data_dir, count) if options.data_dir else map(made_up_piece, range(count))
    clips = []
    for number, piece in enumerate(itertools.islice(pieces, count)):
        path = folder / f"{number}.wav"
        soundfile.write(path, soxr.resample(piece, FILE_RATE, RATE).astype(np.float32), RATE, subtype="PCM_16")
        clips.append(Clip(path, (LABELS.names[number % len(LABELS)],), path.name, path.name, split="train"))
    settings = {"window_s": CLIP_S, "hop_s": CLIP_S, "card": CorpusCard("benchmark", "CC0", True), "num_workers": 1}
    built = (build_features(index_of(clips), LABELS, folder / type(one).__name__, one, **settings) for one in SOURCES)
    return tuple(map(load_features, built))


def compare(model: str, ways: dict[str, tuple[FeatureDataset, tuple]], options: argparse.Namespace) -> None:
    """Prints clips per second of each way, and their ratios to stored features."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, (features, waves) in ways.items():
            spent[name].append(seconds_of(model, features, waves, options))
    rates = {name: options.steps * options.batch_size / statistics.median(times) for name, times in spent.items()}
    for name, rate in rates.items():
        print(f"{model:10} {name:32} {rate:10.1f} clips/s", flush=True)
    for name in list(rates)[1:]:
        report(f"{model}, {name} / stored", rates[name] / rates["stored"])


def seconds_of(model: str, features: FeatureDataset, waves: tuple, options: argparse.Namespace) -> float:
    """Seconds of the timed steps of one training."""
    is_on_gpu = options.device == "cuda"
    clock = Clock(time.perf_counter if is_on_gpu else time.process_time, is_on_gpu)
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            folder,
            use_cpu=not is_on_gpu,
            bf16=options.bf16,
            max_steps=WARM_UP_STEPS + options.steps,
            per_device_train_batch_size=options.batch_size,
            dataloader_num_workers=options.num_workers,
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        objective = Classification(features, augment=augmentation_of(features, SPECTROGRAMS, waves))
        trainer = AudioTrainer(build_model(model, features), arguments, objective, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    first, last = clock.times
    return last - first


if __name__ == "__main__":
    main()

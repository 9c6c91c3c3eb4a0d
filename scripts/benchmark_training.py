"""Compare the training speed of a classifier of 3 s clips with the stock way, in one run.

    python scripts/benchmark_training.py --device cuda --bf16                  # the AudioSet model's size
    python scripts/benchmark_training.py --device cuda --bf16 --compile
    python scripts/benchmark_training.py --device cuda --bf16 --share          # of the GPU's matrix rate, see below
    python scripts/benchmark_training.py --device cpu --model ast-tiny --batch_size 8 --steps 5
    python scripts/benchmark_training.py --device cpu --model cnn --batch_size 16 --steps 10     # or lstm

The stock way is transformers' audio-classification example: a model of the same size on the 1,024 frames to which
ASTFeatureExtractor pads every clip, with the plain Trainer and the model's loss. Ours reads the 298 frames of 3 s, and
computes loss and augmentation (mixup, SpecAugment) on the device. Two things are timed:

    step       features are in memory for both: the effect of the shorter window and the augmentation
    whole way  as used: the example extracts features in its data loader in every epoch; AudioTrainer decodes stored
               windows. Decoding and resampling of audio files is omitted, which favors the example.
               Needs the package datasets; without it only the step is timed.

With --share nothing is compared: our step is timed for several batch sizes, eager and compiled. Its operations per
second (matrix products and convolutions, forward and backward) are given relative to the device's rate in products of
large matrices with the same precision.

They take turns, each after warm-up steps, and every figure is the median over turns. A line that starts with `ratio` is
a comparison: ours over stock in clips per second, or stock over ours in memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from _matrix_rate import matrix_rate, training_flops
from torch.utils.data import Dataset
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_audio.augment import Compose, Mixup, Normalization, SpecAugment
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.losses import loss_for
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.models.presets import AST_PRESETS, NETWORKS

LABELS = LabelSpace(tuple(f"class {index}" for index in range(11)), SINGLE_LABEL)
STOCK_FRAMES, FRAMES, BINS = 1024, 298, 128
CLIP_SAMPLES = 3 * 16_000
NUM_CLIPS = 64  # different clips, which repeat
WARM_UP_STEPS = 3
SHARE_BATCHES = (32, 128, 256)
MODELS = ("ast-base", "ast-tiny", "ast-mini", "cnn", "cnn-concert", "lstm")


@dataclass
class Speed:
    """Measurements of one variant."""

    clips_per_s: float
    step_ms: float
    peak_gb: float  # memory of the GPU, or of the process on the CPU, without that of libraries
    data_wait: float  # share of the time spent waiting for the next batch


class Clips(Dataset):
    """A map-style dataset of a few examples that repeat: `make(index)` gives one."""

    def __init__(self, make, length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int):
        return self.make(index % NUM_CLIPS)


class Clock(TrainerCallback):
    """Times the steps after the warm-up; the device is idle at both ends."""

    def __init__(self, cuda: bool) -> None:
        self.cuda, self.started_s, self.ended_s, self.data_s, self.step_ended_s = cuda, 0.0, 0.0, 0.0, 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step >= WARM_UP_STEPS:
            self.data_s += time.perf_counter() - self.step_ended_s

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in (WARM_UP_STEPS, state.max_steps):
            if self.cuda:
                torch.cuda.synchronize()
            now_s = time.perf_counter()
            self.started_s, self.ended_s = (
                (now_s, 0.0) if state.global_step == WARM_UP_STEPS else (self.started_s, now_s)
            )
        self.step_ended_s = time.perf_counter()


class StepTrainer(Trainer):
    """The training step of AudioTrainer without its data: loss and augmentation on the device."""

    def __init__(self, *args, augment, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.augment, self.loss = augment, loss_for(LABELS)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        batch = (inputs["input_values"], inputs["labels"], inputs["num_frames"])
        places = [(0, self.state.global_step, window) for window in range(len(batch[0]))]
        features, targets, _ = self.augment(*batch, self.augment.draw(places))
        outputs = model(input_values=features)
        loss = self.loss(outputs.logits, targets)
        return (loss, outputs) if return_outputs else loss


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device, help="default: %(default)s")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, for both variants")
    parser.add_argument("--model", choices=MODELS, default="ast-base", help="default: %(default)s, of 86 M weights")
    parser.add_argument("--batch_size", type=int, default=32, help="clips per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for both variants")
    parser.add_argument("--compile_backend", default="inductor", help="of torch.compile (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, help="data loader processes (default: none on the CPU, else 8)")
    parser.add_argument(
        "--share",
        type=int,
        nargs="*",
        metavar="BATCH",
        help="measure the share of the matrix rate for these batch sizes (32, 128, 256)",
    )
    parser.add_argument("--skip_whole_way", action="store_true", help="time only the step")
    options = parser.parse_args()
    if options.num_workers is None:
        options.num_workers = 0 if options.device == "cpu" else min(8, max(1, (os.cpu_count() or 2) - 1))
    return options


def model_of(name: str, num_frames: int, stock: bool) -> PreTrainedModel:
    """The model for a window length; the stock AST with its own initialization."""
    if name in AST_PRESETS:
        ours = ast_from_scratch(LABELS, num_frames, BINS, **AST_PRESETS[name])
        return ASTForAudioClassification(ASTConfig(**ours.config.to_dict())) if stock else ours
    model_class, settings, _ = NETWORKS[name]
    named = {"id2label": LABELS.id2label, "label2id": LABELS.label2id, "problem_type": LABELS.problem_type}
    return model_class(model_class.config_class(**settings, **named))


def timed(options: argparse.Namespace, build, num_workers: int) -> Speed:
    """Trains for the warm-up and the timed steps; `build(arguments, callbacks)` makes the trainer."""
    cuda = options.device == "cuda"
    clock = Clock(cuda)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            use_cpu=not cuda,
            bf16=options.bf16,
            torch_compile=options.compile,
            torch_compile_backend=options.compile_backend if options.compile else None,
            max_steps=WARM_UP_STEPS + options.steps,
            per_device_train_batch_size=options.batch_size,
            dataloader_num_workers=num_workers,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        before_gb = resident_gb()
        trainer = build(arguments, [clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    seconds = clock.ended_s - clock.started_s
    peak_gb = torch.cuda.max_memory_allocated() / 1e9 if cuda else (resident_gb() - before_gb)
    per_s, step_ms = options.steps * options.batch_size / seconds, 1000 * seconds / options.steps
    return Speed(per_s, step_ms, peak_gb, clock.data_s / seconds)


def resident_gb() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def augmentation(extractor: ASTFeatureExtractor) -> Compose:
    normalization = Normalization.of(extractor)
    return Compose((Mixup(0.3), SpecAugment(50, 24)), normalization)


def stock_step(options: argparse.Namespace) -> Speed:
    """Padded features in memory, plain Trainer."""
    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    stored = torch.randn(NUM_CLIPS, STOCK_FRAMES, BINS) / 2
    clips = Clips(lambda index: {"input_values": stored[index], "labels": index % len(LABELS)}, length)
    model = model_of(options.model, STOCK_FRAMES, stock=True)
    return timed(options, lambda args, calls: Trainer(model, args, train_dataset=clips, callbacks=calls), 0)


def our_step(options: argparse.Namespace) -> Speed:
    """Features of 3 s in memory, our loss and augmentation."""
    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    stored, one_hot = torch.randn(NUM_CLIPS, FRAMES, BINS) / 2, torch.eye(len(LABELS))
    clips = Clips(
        lambda index: {"input_values": stored[index], "labels": one_hot[index % len(LABELS)], "num_frames": FRAMES},
        length,
    )
    model, augment = model_of(options.model, FRAMES, stock=False), augmentation(ASTFeatureExtractor())
    return timed(
        options, lambda args, calls: StepTrainer(model, args, train_dataset=clips, callbacks=calls, augment=augment), 0
    )


def waveforms() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NUM_CLIPS, CLIP_SAMPLES)).astype(np.float32) / 10


def stock_whole_way(options: argparse.Namespace) -> Speed:
    """Features extracted by the example's loader, epoch after epoch."""
    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    sounds, extractor = waveforms(), ASTFeatureExtractor(max_length=STOCK_FRAMES)

    def extracted(index: int) -> dict:
        inputs = extractor(sounds[index], sampling_rate=16_000, return_tensors="pt")
        return {"input_values": inputs["input_values"][0], "labels": index % len(LABELS)}

    model, clips = model_of(options.model, STOCK_FRAMES, stock=True), Clips(extracted, length)
    return timed(
        options, lambda args, calls: Trainer(model, args, train_dataset=clips, callbacks=calls), options.num_workers
    )


def our_whole_way(options: argparse.Namespace) -> Speed:
    """Stored windows decoded by ours."""
    from hf_audio.data.loading.features_dataset import FeatureDataset
    from hf_audio.gray_images import encode_features
    from hf_audio.kinds._kaldi_fbank import KaldiFbank
    from hf_audio.training import AudioTrainer, Classification

    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    extractor = ASTFeatureExtractor(max_length=FRAMES)
    rows = []
    for index, waveform in enumerate(waveforms()):
        normalized = extractor(waveform, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        png, offset, scale = encode_features(normalized * 2 * extractor.std + extractor.mean)
        stored = {"features": {"bytes": png}, "offset": offset, "scale": scale}
        rows.append({**stored, "labels": [index % len(LABELS)], "clip_id": str(index)})
    manifest = {"extractor": KaldiFbank().parameters, "window_s": 3.0}
    features = FeatureDataset({"train": Clips(rows.__getitem__, length)}, LABELS, extractor, manifest, "benchmark")
    model, augment = model_of(options.model, FRAMES, stock=False), augmentation(extractor)
    return timed(
        options,
        lambda args, calls: AudioTrainer(model, args, Classification(features, augment=augment), callbacks=calls),
        options.num_workers,
    )


def in_own_process(measure, options: argparse.Namespace) -> Speed:
    """Resets the memory statistics, so that each measurement has its own peak."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(quietly, (measure, options))


def quietly(measure, options: argparse.Namespace) -> Speed:
    transformers.utils.logging.set_verbosity_error()
    return measure(options)


def compare(what: str, options: argparse.Namespace, stock_way, our_way) -> None:
    """Times the two variants in turns, and prints both speeds and their ratios."""
    turns = [[in_own_process(way, options) for way in (stock_way, our_way)] for _ in range(options.repeats)]
    stock, ours = (
        sorted(speeds, key=lambda speed: speed.clips_per_s)[len(speeds) // 2] for speeds in zip(*turns, strict=True)
    )
    for name, speed in ((f"stock, {STOCK_FRAMES} frames", stock), (f"ours, {FRAMES} frames", ours)):
        print(
            f"{what:<10} {name:<20} {speed.clips_per_s:8.1f} clips/s, {speed.step_ms:8.1f} ms per step, "
            f"{100 * speed.data_wait:4.1f} % waiting for data, peak {speed.peak_gb:.2f} GB"
        )
    print(f"ratio {what}, clips per second: {ours.clips_per_s / stock.clips_per_s:.2f}")
    print(f"ratio {what}, memory: {stock.peak_gb / ours.peak_gb:.2f}", flush=True)


def report_share(options: argparse.Namespace) -> None:
    """Prints our step's speed and share of the device's matrix rate per batch size, eager and compiled."""
    rate = matrix_rate(options.device, torch.bfloat16 if options.bf16 else torch.float32)
    flops = training_flops(model_of(options.model, FRAMES, stock=False), FRAMES, BINS)
    print(f"matrix rate {rate / 1e12:.2f} TFLOP/s; a clip takes {flops / 1e9:.1f} GFLOP forward and backward")
    for batch_size in options.share or SHARE_BATCHES:
        for compiled in (False, True):
            settings = argparse.Namespace(**{**vars(options), "batch_size": batch_size, "compile": compiled})
            speeds = [our_step(settings) for _ in range(options.repeats)]
            per_s = sorted(speed.clips_per_s for speed in speeds)[len(speeds) // 2]
            print(
                f"share  batch {batch_size:4d}, {'compiled' if compiled else 'eager':<8} {per_s:8.1f} clips/s, "
                f"{per_s * flops / 1e12:7.2f} TFLOP/s: {100 * per_s * flops / rate:5.1f} % of the matrix rate",
                flush=True,
            )


def main() -> None:
    options = parse_options()
    transformers.utils.logging.set_verbosity_error()
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if options.bf16 else "float32"
    print(
        f"{device}, {precision}{', compiled' if options.compile else ''}, {options.model}, batches of "
        f"{options.batch_size}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
    if options.share is not None:
        report_share(options)
        return
    compare("step", options, stock_step, our_step)
    if options.skip_whole_way:
        return
    if importlib.util.find_spec("datasets") is None or importlib.util.find_spec("evaluate") is None:
        print("whole way  not timed: it needs the packages datasets and evaluate")
        return
    compare("whole way", options, stock_whole_way, our_whole_way)


if __name__ == "__main__":
    main()

"""How fast a classifier of 3 s clips trains, side by side with the stock way, in one run on this machine.

    python scripts/benchmark_training.py --device cuda --bf16                  # the AudioSet model's size
    python scripts/benchmark_training.py --device cuda --bf16 --compile
    python scripts/benchmark_training.py --device cpu --model_size tiny --batch_size 8 --steps 5

The stock way is transformers' audio-classification example: ASTForAudioClassification with its 1,024 frames, to which
ASTFeatureExtractor pads every clip, plain Trainer, loss from the model. Ours cuts the model to the 298 frames of 3 s
and computes loss and augmentation (mixup, SpecAugment) on the device. Two things are timed:

    step       features wait in memory for both: what the shorter window and the augmentation change
    whole way  as used: the example extracts features in its data loader, epoch after epoch; AudioTrainer decodes stored
               windows. Decoding and resampling of audio files is left out, in the example's favour.
               Needs the package datasets; without it only the step is timed.

The ways take turns, each after warm-up steps, and every figure is the median of the turns. A line that begins with
`ratio` is a comparison: ours over stock, in clips per second, or stock over ours, in memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from torch.utils.data import Dataset
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_audio.augment import Compose, Mixup, Normalisation, SpecAugment
from hf_audio.data.labels import SINGLE_LABEL, LabelSpace
from hf_audio.losses import loss_for
from hf_audio.models import PRESETS
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch

LABELS = LabelSpace(tuple(f"class {index}" for index in range(11)), SINGLE_LABEL)
STOCK_FRAMES, FRAMES, BINS = 1024, 298, 128
CLIP_SAMPLES = 3 * 16_000
NUM_CLIPS = 64  # different ones; they are used again and again
WARM_UP_STEPS = 3


@dataclass
class Speed:
    """What one way reached."""

    clips_per_s: float
    step_ms: float
    peak_gb: float


class Clips(Dataset):
    """A map-style dataset of a few examples that repeat: `make(index)` gives one."""

    def __init__(self, make, length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int):
        return self.make(index % NUM_CLIPS)


class Clock(TrainerCallback):
    """Times the steps after the warm-up, with the device's work done at both ends."""

    def __init__(self, cuda: bool) -> None:
        self.cuda, self.started_s, self.ended_s = cuda, 0.0, 0.0

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in (WARM_UP_STEPS, state.max_steps):
            if self.cuda:
                torch.cuda.synchronize()
            now_s = time.perf_counter()
            self.started_s, self.ended_s = (
                (now_s, 0.0) if state.global_step == WARM_UP_STEPS else (self.started_s, now_s)
            )


class StepTrainer(Trainer):
    """The training step of AudioTrainer without its data: loss and augmentation on the device."""

    def __init__(self, *args, augment, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.augment, self.loss = augment, loss_for(LABELS)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        generator = torch.Generator().manual_seed(self.state.global_step)
        features, targets = self.augment(inputs["input_values"], inputs["labels"], generator)
        outputs = model(input_values=features)
        loss = self.loss(outputs.logits, targets)
        return (loss, outputs) if return_outputs else loss


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device, help="default: %(default)s")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, for both ways")
    parser.add_argument(
        "--model_size", choices=("base", "tiny"), default="base", help="base: 86 M weights, tiny: 2 M (%(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="clips a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for both ways")
    parser.add_argument("--num_workers", type=int, help="data loader processes (default: none on the CPU, else 8)")
    parser.add_argument("--skip_whole_way", action="store_true", help="time the step only")
    options = parser.parse_args()
    if options.num_workers is None:
        options.num_workers = 0 if options.device == "cpu" else min(8, max(1, (os.cpu_count() or 2) - 1))
    return options


def model_of(size: str, num_frames: int, stock: bool) -> ASTForAudioClassification:
    """The model for a window length; the stock one with its own initialisation."""
    ours = ast_from_scratch(LABELS, num_frames, BINS, **PRESETS[f"ast-{size}"])
    return ASTForAudioClassification(ASTConfig(**ours.config.to_dict())) if stock else ours


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
            max_steps=WARM_UP_STEPS + options.steps,
            per_device_train_batch_size=options.batch_size,
            dataloader_num_workers=num_workers,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = build(arguments, [clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    seconds = clock.ended_s - clock.started_s
    peak_gb = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    return Speed(options.steps * options.batch_size / seconds, 1000 * seconds / options.steps, peak_gb)


def augmentation(extractor: ASTFeatureExtractor) -> Compose:
    normalisation = Normalisation.of(extractor)
    return Compose((Mixup(0.3, normalisation), SpecAugment(50, 24, normalisation)))


def compare_steps(options: argparse.Namespace) -> None:
    """Features in memory."""
    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    stored = {frames: torch.randn(NUM_CLIPS, frames, BINS) / 2 for frames in (STOCK_FRAMES, FRAMES)}
    one_hot = torch.eye(len(LABELS))

    def stock(arguments, callbacks):
        clips = Clips(lambda i: {"input_values": stored[STOCK_FRAMES][i], "labels": i % len(LABELS)}, length)
        model = model_of(options.model_size, STOCK_FRAMES, stock=True)
        return Trainer(model, arguments, train_dataset=clips, callbacks=callbacks)

    def ours(arguments, callbacks):
        clips = Clips(lambda i: {"input_values": stored[FRAMES][i], "labels": one_hot[i % len(LABELS)]}, length)
        augment = augmentation(ASTFeatureExtractor())
        model = model_of(options.model_size, FRAMES, stock=False)
        return StepTrainer(model, arguments, train_dataset=clips, callbacks=callbacks, augment=augment)

    compare("step", options, stock, ours, num_workers=0)


def compare_whole_ways(options: argparse.Namespace) -> None:
    """Features extracted by the example's loader, against stored windows decoded by ours."""
    from hf_audio.data.features_dataset import FeatureDataset
    from hf_audio.data.picture_storage import encode_features
    from hf_audio.training import AudioTrainer

    length = (WARM_UP_STEPS + options.steps + 1) * options.batch_size
    waveforms = np.random.default_rng(0).normal(size=(NUM_CLIPS, CLIP_SAMPLES)).astype(np.float32) / 10
    padding = ASTFeatureExtractor(max_length=STOCK_FRAMES)
    cutting = ASTFeatureExtractor(max_length=FRAMES)

    def extracted(index: int) -> dict:
        inputs = padding(waveforms[index], sampling_rate=16_000, return_tensors="pt")
        return {"input_values": inputs["input_values"][0], "labels": index % len(LABELS)}

    rows = []
    for index, waveform in enumerate(waveforms):
        normalised = cutting(waveform, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        png, offset, scale = encode_features(normalised * 2 * cutting.std + cutting.mean)
        stored = {"features": {"bytes": png}, "offset": offset, "scale": scale}
        rows.append({**stored, "labels": [index % len(LABELS)], "clip_id": str(index)})
    features = FeatureDataset({"train": Clips(rows.__getitem__, length)}, LABELS, cutting, {}, "benchmark")

    def stock(arguments, callbacks):
        model = model_of(options.model_size, STOCK_FRAMES, stock=True)
        return Trainer(model, arguments, train_dataset=Clips(extracted, length), callbacks=callbacks)

    def ours(arguments, callbacks):
        model, augment = model_of(options.model_size, FRAMES, stock=False), augmentation(cutting)
        return AudioTrainer(model, arguments, features=features, augment=augment, callbacks=callbacks)

    compare("whole way", options, stock, ours, options.num_workers)


def compare(what: str, options: argparse.Namespace, build_stock, build_ours, num_workers: int) -> None:
    """Times the two ways in turns, prints both speeds and their ratio."""
    turns = [
        [timed(options, build, num_workers) for build in (build_stock, build_ours)] for _ in range(options.repeats)
    ]
    stock, ours = (
        sorted(speeds, key=lambda speed: speed.clips_per_s)[len(speeds) // 2] for speeds in zip(*turns, strict=True)
    )
    for name, speed in ((f"stock, {STOCK_FRAMES} frames", stock), (f"ours, {FRAMES} frames", ours)):
        memory = f", peak {speed.peak_gb:.2f} GB" if speed.peak_gb else ""
        print(f"{what:<10} {name:<20} {speed.clips_per_s:8.1f} clips/s, {speed.step_ms:8.1f} ms a step{memory}")
    print(f"ratio {what}, clips per second: {ours.clips_per_s / stock.clips_per_s:.2f}", flush=True)
    if stock.peak_gb:
        print(f"ratio {what}, memory: {stock.peak_gb / ours.peak_gb:.2f}", flush=True)


def main() -> None:
    options = parse_options()
    transformers.utils.logging.set_verbosity_error()
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if options.bf16 else "float32"
    print(
        f"{device}, {precision}{', compiled' if options.compile else ''}, AST {options.model_size}, batches of "
        f"{options.batch_size}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
    compare_steps(options)
    if options.skip_whole_way:
        return
    if importlib.util.find_spec("datasets") is None or importlib.util.find_spec("evaluate") is None:
        print("whole way  not timed: it needs the packages datasets and evaluate")
        return
    compare_whole_ways(options)


if __name__ == "__main__":
    main()

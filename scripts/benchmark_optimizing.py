"""Measure the cost of optimization methods: CPU time of a training step with each and without, in one run.

    python scripts/benchmark_optimizing.py --model ast-mini --batch_size 8 --steps 20
    python scripts/benchmark_optimizing.py --model cnn --batch_size 16 --steps 20

AudioTrainer reads 3 s windows of noise from a feature dataset. Methods take turns, each after warm-up steps. CPU time
of the process is compared, so that other load on the machine does not count. Every ratio is the median over turns;
above 1, the method costs time. On a GPU, use --device cuda, which measures wall-clock time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import datasets
import numpy as np
import torch
import transformers
from transformers import ASTFeatureExtractor, PrinterCallback, TrainerCallback

from hf_audio.config import OptimizingConfig
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.gray_images import encode_features
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models import build_model
from hf_audio.training import AudioTrainer, Classification, training_arguments

FRAMES, BINS, NUM_CLASSES = 298, 128, 11
WARM_UP_STEPS = 3
WAYS = {
    "none": {},
    "--layer_decay 0.75": {"layer_decay": 0.75},
    "--lr_schedule one_cycle": {"lr_schedule": "one_cycle"},
    "--ema_decay 0.999": {"ema_decay": 0.999},
    "--balanced_sampling full": {"balanced_sampling": "full"},
    "--unfreeze_epochs, only the head": {"unfreeze_epochs": 1000.0},
}


class Clock(TrainerCallback):
    """CPU time of the steps after the warm-up, or wall-clock time on a GPU."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu, self.started_s, self.seconds = on_gpu, 0.0, 0.0

    def now_s(self) -> float:
        if not self.on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == WARM_UP_STEPS:
            self.started_s = self.now_s()
        self.seconds = self.now_s() - self.started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ast-mini", help="a preset on log-mel features (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=8, help="windows per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    features = windows_of_noise(options.batch_size * (WARM_UP_STEPS + options.steps))
    turns = [{name: timed(options, features, way) for name, way in WAYS.items()} for _ in range(options.repeats)]
    print(f"{options.model}, batches of {options.batch_size}, {options.device}, torch {torch.__version__}")
    for name in WAYS:
        ratios = [turn[name][0] / turn["none"][0] for turn in turns]
        found = [turn[name] for turn in turns]
        milliseconds = 1000 * statistics.median(seconds for seconds, _, _ in found) / options.steps
        print(
            f"ratio {statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})   {milliseconds:8.1f} ms "
            f"per step, {found[0][1] / 1e6:6.1f} MB more   {name}"
        )
    renewals = [turn["none"][2] for turn in turns]
    if any(renewals):
        print(f"ratio {statistics.median(renewals):5.2f} of an epoch: batch norm statistics after --swa_epochs")


def windows_of_noise(number: int) -> FeatureDataset:
    """A feature dataset in memory, with a long-tailed class distribution."""
    random, rows = np.random.default_rng(0), []
    for index in range(number):
        png, offset, scale = encode_features(random.normal(-4, 4, (FRAMES, BINS)).astype(np.float32))
        stored = {"features": {"bytes": png}, "offset": offset, "scale": scale, "num_frames": FRAMES}
        rows.append({**stored, "labels": [min(index % 40, NUM_CLASSES - 1)], "clip_id": str(index)})
    labels = LabelSpace(tuple(f"class {one}" for one in range(NUM_CLASSES)), SINGLE_LABEL)
    manifest = {"extractor": KaldiFbank().parameters, "window_s": 3.0, "corpus": {"name": "noise"}}
    splits = {"train": datasets.Dataset.from_list(rows)}
    return FeatureDataset(splits, labels, ASTFeatureExtractor(max_length=FRAMES), manifest, "noise")


def timed(options: argparse.Namespace, features: FeatureDataset, way: dict) -> tuple[float, int, float]:
    """Seconds of the timed steps, bytes of averaged weights, and the time to recompute batch norm statistics.

    The last is relative to an epoch, and 0 without batch norm.
    """
    clock = Clock(options.device == "cuda")
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            folder,
            use_cpu=not clock.on_gpu,
            num_train_epochs=1,
            per_device_train_batch_size=options.batch_size,
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        model = build_model(options.model, features)
        optimizing = OptimizingConfig(**way)
        trainer = AudioTrainer(model, arguments, Classification(features), optimizing=optimizing, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        kept = sum(one.nbytes for one in model.parameters() if one.requires_grad) if "ema_decay" in way else 0
        renewal = 0.0
        if not way and any("BatchNorm" in type(module).__name__ for module in model.modules()):
            before_s = clock.now_s()
            trainer._renew_statistics()
            steps = WARM_UP_STEPS + options.steps
            renewal = (clock.now_s() - before_s) / (clock.seconds / options.steps * steps)
        return clock.seconds, kept, renewal


if __name__ == "__main__":
    main()

"""Compare the training speed of two versions: two checkouts take turns, each in separate processes.

    git worktree add ../before COMMIT
    python scripts/benchmark_training_versions.py ../before --model cnn-concert --steps 40
    python scripts/benchmark_training_versions.py ../before --model cnn --bf16         # and this version in bfloat16

AudioTrainer decodes stored 3 s windows, augments them (mixup, SpecAugment) and trains, on one CPU thread. The result is
clips per second of CPU time, which other load on the machine affects least.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 3
SMALLEST = {"hidden_size": 4, "num_layers": 1, "num_heads": 1, "stride": 16}
HERE = Path(__file__).resolve().parents[1]


def train(model_name: str, batch_size: int, steps: int, bf16: bool) -> float:
    """Clips per second of CPU time, with whichever version of hf_audio Python finds."""
    sys.path.pop(0)  # this file's folder, so that the other version's scripts are found by PYTHONPATH
    import benchmark_training as training
    import torch
    import transformers

    from hf_audio.models.presets import AST_PRESETS
    from hf_audio.training import AudioTrainer, training_arguments

    dataset_of = first_found("FeatureDataset", "data.loading.features_dataset", "data.features_dataset")
    encode_features = first_found("encode_features", "gray_images", "grey_pictures", "data.picture_storage")
    fbank = first_found("KaldiFbank", "kinds._kaldi_fbank", "kinds.fbank", "features.fbank")
    AST_PRESETS["smallest"] = SMALLEST

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step in (WARM_UP_STEPS, state.max_steps):
                self.times_s = [*getattr(self, "times_s", []), time.process_time()]

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    extractor, rows = transformers.ASTFeatureExtractor(max_length=training.FRAMES), []
    for index, waveform in enumerate(training.waveforms()):
        window = extractor(waveform, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        png, offset, scale = encode_features(window * 2 * extractor.std + extractor.mean)
        facts = {"labels": [index % len(training.LABELS)], "clip_id": str(index), "num_frames": training.FRAMES}
        rows.append({"features": {"bytes": png}, "offset": offset, "scale": scale, **facts})
    clips = training.Clips(rows.__getitem__, (WARM_UP_STEPS + steps + 1) * batch_size)
    manifest = {"extractor": fbank().parameters, "window_s": 3.0, "corpus": {"name": "benchmark"}}
    features = dataset_of({"train": clips}, training.LABELS, extractor, manifest, "benchmark")
    augment, clock = training.augmentation(extractor), Clock()
    settings = {"use_cpu": True, "max_steps": WARM_UP_STEPS + steps, "per_device_train_batch_size": batch_size}
    settings |= {"save_strategy": "no", "eval_strategy": "no", "report_to": "none", "disable_tqdm": True}
    settings["bf16"] = bf16
    model = training.model_of(model_name, training.FRAMES, stock=False)
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(folder, **settings)
        try:
            from hf_audio.training import Classification

            trainer = AudioTrainer(model, arguments, Classification(features, augment=augment), callbacks=[clock])
        except ImportError:  # a version without objectives
            trainer = AudioTrainer(model, arguments, features=features, augment=augment, callbacks=[clock])
        trainer.train()
    return steps * batch_size / (clock.times_s[1] - clock.times_s[0])


def first_found(name: str, *modules: str) -> Any:
    """The object with this name, from the first of these modules that has it in this version."""
    for module in modules:
        try:
            return getattr(importlib.import_module(f"hf_audio.{module}"), name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"This version has {name} in none of {', '.join(modules)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", nargs="?", help="checkout of the other version; default: measure only this one")
    parser.add_argument(
        "--model", default="cnn-concert", help="a preset, or smallest for overhead (default: %(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=40, help="timed steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--bf16", action="store_true", help="also train this version in bfloat16")
    parser.add_argument("--in_this_process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        print("clips per CPU second", train(options.model, options.batch_size, options.steps, options.bf16))
        return
    versions = {"before": (options.before, [])} if options.before else {}
    versions |= {"now": (HERE, []), **({"now, bfloat16": (HERE, ["--bf16"])} if options.bf16 else {})}
    found: dict[str, list[float]] = {name: [] for name in versions}
    own = ["--model", options.model, "--batch_size", str(options.batch_size), "--steps", str(options.steps)]
    for _ in range(options.repeats):
        for name, (checkout, precision) in versions.items():
            path = os.pathsep.join(str(Path(checkout).resolve() / folder) for folder in ("", "scripts"))
            command = [sys.executable, __file__, "--in_this_process", *own, *precision]
            environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            found[name].append(float(output.split("clips per CPU second")[1].split()[0]))
    for name, rates in found.items():
        print(f"{options.model}, {name:<13} {statistics.median(rates):7.1f} clips per second of CPU time, of", rates)


if __name__ == "__main__":
    main()

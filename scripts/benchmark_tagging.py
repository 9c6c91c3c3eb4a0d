"""Compare the speed of tagging with the stock pipeline on the same windows, in one run.

    python scripts/benchmark_tagging.py                         # cnn
    python scripts/benchmark_tagging.py --model ast-small --num_files 6
    python scripts/benchmark_tagging.py --model runs/cnn_folder # or a model's name on the Hub
    python scripts/benchmark_tagging.py --long_h 10             # memory of one long recording
    python scripts/benchmark_tagging.py --start                 # time of the command until its first tag
    taskset -c 0 python scripts/benchmark_tagging.py --listen_s 20      # latency of listening on one core

Files of 3 to 30 s, 44.1 kHz stereo, are tagged from disk. The stock way is transformers' pipeline, one file at a time.
It gets the same windows as hf_audio, decoded by soundfile and resampled by soxr, and extracts and classifies them. Both
must give the same scores, which is checked. Presets have windows of 3 s and random weights, which are as fast as
trained ones.

They take turns, and every figure is the median over turns. A line that starts with `ratio` is a comparison, in seconds
of sound per second of time, and per second of CPU time, which other load on the machine affects less. `share` is the
time of only the model's forward pass, on batches in memory, relative to the total time of tagging; the rest is
decoding, resampling and features for which the model had to wait.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in hf-audio: waiting threads leave the core to those that read

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from _measuring import machine
from transformers import ASTFeatureExtractor, PreTrainedModel, pipeline
from transformers.utils import logging as of_transformers

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.models.presets import AST_PRESETS, NETWORKS
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import Usage, write_usage
from hf_audio.tagging.listening import file_in_real_time, listen
from hf_audio.tagging.loading import load
from hf_audio.tagging.many import answered
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger

LABELS = LabelSpace(tuple(f"class {index}" for index in range(11)), MULTI_LABEL)
WINDOW_S, FRAMES, BINS, FILE_RATE = 3.0, 298, 128, 44_100
LENGTHS_S = (3.0, 5.2, 10.0, 17.3, 30.0)
LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="cnn", help="a preset, a folder or a model on the Hub (default: %(default)s)"
    )
    parser.add_argument("--num_files", type=int, default=40, help="recordings (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument(
        "--long_h", type=float, help="instead, tag one recording of this many hours, and measure memory"
    )
    parser.add_argument("--start", action="store_true", help="instead, measure how long the command takes to start")
    parser.add_argument("--listen_s", type=float, help="instead, listen for this many seconds in real time")
    options = parser.parse_args()
    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        model = saved_model(options.model, Path(folder) / "model")
        if options.long_h:
            measure_memory(model, Path(folder), options.long_h)
        elif options.start:
            measure_start(model, write_files(Path(folder), 1)[0], options.repeats)
        elif options.listen_s:
            measure_listening(options.model, model, Path(folder), options.listen_s)
        else:
            compare(options.model, model, write_files(Path(folder), options.num_files), options.repeats)


def saved_model(name: str, folder: Path) -> str:
    """The folder of a preset with random weights; the name of any other model."""
    if name not in AST_PRESETS and name not in NETWORKS:
        return name
    torch.manual_seed(0)
    save_model(preset(name).eval(), folder)
    save_extractor(ASTFeatureExtractor(max_length=FRAMES, mean=-7.0, std=4.0), folder)
    write_usage(folder, Usage(0.5, WINDOW_S, WINDOW_S))
    return str(folder)


def preset(name: str) -> PreTrainedModel:
    if name in AST_PRESETS:
        return ast_from_scratch(LABELS, FRAMES, BINS, **AST_PRESETS[name])
    model_class, settings, _ = NETWORKS[name]
    return model_class(model_class.config_class(**settings, **LABELS.config_settings))


def write_files(folder: Path, count: int) -> list[str]:
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        sound = 0.1 * random.normal(size=(int(LENGTHS_S[number % len(LENGTHS_S)] * FILE_RATE), 2))
        paths.append(str(folder / f"{number}.wav"))
        soundfile.write(paths[-1], sound, FILE_RATE)
    return paths


def compare(name: str, model: str, paths: list[str], repeats: int) -> None:
    """Prints the speed of both variants, and the share of the forward pass."""
    tagger = load(model)
    classifier = pipeline("audio-classification", model=model, trust_remote_code=True, device=tagger.predictor.device)
    ways: dict[str, Callable] = {
        "hf_audio": lambda: ours(tagger, paths),
        "stock": lambda: stock(classifier, tagger, paths),
    }
    found = {way: run() for way, run in ways.items()}  # also a warm-up
    difference = max(np.abs(found["hf_audio"][path] - found["stock"][path]).max() for path in paths)
    if difference > LARGEST_DIFFERENCE:
        sys.exit(f"The two variants give different scores: they differ by {difference:.2g}")
    batches = [tagger.prepared(path).inputs for path in paths]
    joint = {key: torch.cat([one[key] for one in batches]) for key in batches[0]}
    parts = zip(*(values.split(tagger.predictor.batch_size) for values in joint.values()), strict=True)
    forward = [dict(zip(joint, part, strict=True)) for part in parts]
    ways["forward"] = lambda: [tagger.logits(inputs) for inputs in forward]
    times = turns(ways, repeats)
    seconds = sum(soundfile.info(path).duration for path in paths)
    windows = len(next(iter(joint.values())))
    print(f"{name}: {len(paths)} files, {seconds:.0f} s, {windows} windows, {repeats} turns, {machine()}\n")
    print(f"{'':10}{'s of sound per s':>20}{'per CPU s':>20}")
    for way, (wall_s, processor_s) in times.items():
        print(f"{way:10}{seconds / wall_s:>20.1f}{seconds / processor_s:>20.1f}")
    (own, own_processor), (theirs, theirs_processor) = times["hf_audio"], times["stock"]
    print(f"ratio {theirs / own:.2f} in time, {theirs_processor / own_processor:.2f} in CPU time")
    print(f"share {times['forward'][0] / own:.0%} of the time is the model's forward pass")


def ours(tagger: Tagger, paths: list[str]) -> dict[str, np.ndarray]:
    recordings = [recording_of(path) for path in paths]
    answers = answered(tagger, tagger.logits, recordings, tagger.settings(), made=tagger.tags_of)
    found = {paths[number]: tags for number, tags in answers}
    return {path: np.array([tags.scores[label] for label in tagger.labels.names]) for path, tags in found.items()}


def stock(classifier: Callable, tagger: Tagger, paths: list[str]) -> dict[str, np.ndarray]:
    rule, rate, found = tagger.windows(), tagger.sample_rate, {}
    apply = {"function_to_apply": "none", "top_k": None}
    for path in paths:
        sound, file_rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = soxr.resample(sound.mean(axis=1), file_rate, rate)
        answers = classifier([{"raw": window, "sampling_rate": rate} for window in rule.cut(mono)], **apply)
        logits = [{one["label"]: one["score"] for one in answer} for answer in answers]
        mean = np.mean([[one[label] for label in tagger.labels.names] for one in logits], axis=0)
        found[path] = tagger.labels.probabilities(mean)
    return found


def turns(ways: dict[str, Callable], repeats: int, of: int = resource.RUSAGE_SELF) -> dict[str, tuple[float, float]]:
    """Median wall-clock and CPU seconds of each variant, for this process or its children."""
    measured: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            started, processor = time.perf_counter(), processor_s(of)
            run()
            measured[way].append((time.perf_counter() - started, processor_s(of) - processor))
    return {way: tuple(map(statistics.median, zip(*times, strict=True))) for way, times in measured.items()}


def processor_s(of: int) -> float:
    usage = resource.getrusage(of)
    return usage.ru_utime + usage.ru_stime


def measure_memory(model: str, folder: Path, hours: float) -> None:
    """Prints the cost of tagging one long recording in a separate process."""
    path = folder / "long.flac"
    minute = 0.1 * np.random.default_rng(0).normal(size=60 * FILE_RATE).astype(np.float32)
    with soundfile.SoundFile(path, "w", FILE_RATE, 1, format="FLAC", compression_level=0.0) as file:
        for _ in range(round(hours * 60)):
            file.write(minute)
    script = "from hf_audio.commands.main import main; main(); print(open('/proc/self/status').read())"
    flags = ["tag", str(path), "--model", model, "--format", "csv", "--output", str(folder / "tags.csv")]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *flags], check=True, stdout=subprocess.PIPE, text=True)
    peak_kb = int(re.search(r"VmHWM:\s+(\d+)", done.stdout)[1])  # getrusage would include this process before the fork
    rows = len((folder / "tags.csv").read_text().splitlines()) - 1
    print(
        f"{hours:g} h in {time.perf_counter() - started:.0f} s, {processor_s(resource.RUSAGE_CHILDREN):.0f} s of CPU "
        f"time, peak memory {peak_kb / 1024:.0f} MB, {rows} rows, {machine()}"
    )


def measure_start(model: str, path: str, repeats: int) -> None:
    """Prints the total time of processes, in turns: the command, and the imports that it needs."""
    command = "from hf_audio.commands.main import main; main()"
    processes = {
        "hf-audio --help": (command, "--help"),
        "import torch": ("import torch",),
        "import transformers.modeling_utils": ("import transformers.modeling_utils",),
        "hf-audio tag": (command, "tag", path, "--model", model),
    }
    print(f"medians of {repeats}, {machine()}\n\n{'':36}{'seconds':>10}{'CPU s':>20}")
    ways = {name: lambda argv=argv: run_to_end(argv) for name, argv in processes.items()}
    for name, (wall_s, processor_s) in turns(ways, repeats, of=resource.RUSAGE_CHILDREN).items():
        print(f"{name:36}{wall_s:>10.2f}{processor_s:>20.2f}")


def run_to_end(argv: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-c", *argv], check=True, stdout=subprocess.DEVNULL)


def measure_listening(name: str, model: str, folder: Path, seconds: float) -> None:
    """Prints the latency from the end of a window until its scores are ready, every 0.1 s of a stereo file."""
    soundfile.write(
        folder / "a.wav", 0.1 * np.random.default_rng(0).normal(size=(int(seconds * FILE_RATE), 2)), FILE_RATE
    )
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tagger = load(model)
    settings = tagger.settings(hop_s=0.1)
    heard = list(listen(tagger, settings, file_in_real_time(str(folder / "a.wav"))))
    behind_ms = [1000 * one.behind_s for one in heard]
    print(
        f"{name}: {len(heard)} windows, {sum(one.num_skipped for one in heard)} skipped; latency "
        f"{statistics.median(behind_ms):.0f} ms (median), {np.quantile(behind_ms, 0.99):.0f} ms (99th percentile), "
        f"{max(behind_ms):.0f} ms (maximum); {machine()}"
    )


if __name__ == "__main__":
    main()

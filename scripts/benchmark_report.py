"""Measure time and memory of the report and the page of stored scores, for some clips and a quarter of them.

    python scripts/benchmark_report.py                      # 20,000 clips, 20 classes, 1,000 draws
    python scripts/benchmark_report.py --num_clips 100000 --num_classes 50

Scores are synthetic: 3 windows per clip, 4 clips per group, and the same number of clips for validation. Times are CPU
times of one core in a separate process, and memory is relative to the start of that process.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one core; NumPy reads it at import

import multiprocessing
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from _measuring import machine, report

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.files import write_json
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.page import write_page
from hf_audio.judging.report import judge

WINDOWS, CLIPS_PER_GROUP, WINDOW_S = 3, 4, 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_clips", type=int, default=20_000, help="clips to evaluate (default: %(default)s)")
    parser.add_argument("--num_classes", type=int, default=20, help="classes (default: %(default)s)")
    parser.add_argument("--num_draws", type=int, default=1_000, help="bootstrap samples (default: %(default)s)")
    options = parser.parse_args()
    print(f"{options.num_classes} classes, {options.num_draws:,} draws; {machine()}\n")
    print(f"{'clips':>10}{'CPU s':>14}{'added MB':>10}{'page MB':>10}")
    found = {}
    for num_clips in (options.num_clips // 4, options.num_clips):
        judged = made_up(num_clips, options.num_classes)
        found[num_clips] = measured(judged, options.num_draws)
        print(f"{num_clips:>10,}{found[num_clips][0]:>14.1f}{found[num_clips][1]:>10.0f}{found[num_clips][2]:>10.2f}")
    (few, _, _), (many, _, _) = found.values()
    report("CPU time, all clips / a quarter", many / few, "4 or less")


def made_up(num_clips: int, num_classes: int) -> JudgedClips:
    """The same number of test and validation clips."""
    random = np.random.default_rng(0)
    labels = LabelSpace(tuple(f"class {number}" for number in range(num_classes)), MULTI_LABEL)
    targets = (random.random((2 * num_clips, num_classes)) < np.geomspace(0.3, 0.02, num_classes)).astype(np.float32)
    numbers = np.arange(2 * num_clips)
    clip_of_window = np.repeat(numbers, WINDOWS)
    logits = random.normal(size=(len(clip_of_window), num_classes)) + 3 * targets[clip_of_window] - 2
    clips = pa.table(
        {
            "clip_id": [f"{number}.wav" for number in numbers],
            "group": [f"song {number // (2 * CLIPS_PER_GROUP)}" for number in numbers],
            "split": np.where(numbers % 2, "test", "validation").tolist(),
            "duration_s": np.full(len(numbers), WINDOWS * WINDOW_S),
            "genre": [f"genre {number}" for number in random.integers(10, size=len(numbers))],
        }
    )
    starts_s = np.tile(WINDOW_S * np.arange(WINDOWS), len(numbers))
    return JudgedClips("model", labels, clips, targets, logits.astype(np.float32), clip_of_window, starts_s)


def measured(judged: JudgedClips, num_draws: int) -> tuple[float, float, float]:
    """CPU seconds, peak memory in MB relative to the start, and MB of the page."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(judged, num_draws, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def _measured(judged: JudgedClips, num_draws: int, sender: object) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak memory
    before_mb, started = _memory_mb("VmRSS"), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = judge([judged], split="test", num_draws=num_draws, windows_s={"model": WINDOW_S})
        write_json(Path(folder) / "report.json", found)
        page = write_page(folder, found)
        sender.send((time.process_time() - started, _memory_mb("VmHWM") - before_mb, page.stat().st_size / 2**20))


def _memory_mb(name: str) -> float:
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


if __name__ == "__main__":
    main()

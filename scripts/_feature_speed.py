"""One version of hf_audio, asked by `benchmark_features.py --beside` to build and read features: it answers in seconds.

    PYTHONPATH=CHECKOUT python scripts/_feature_speed.py RECORDINGS FOLDER

Each line of its input is `build KIND` or `read KIND`; each line of its output says clips or windows, and the processor
time that they took. Only what every version has under the same names is used here.
"""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import hf_audio

WINDOW_S, BATCH = 3.0, 32


def build(recordings: Path, folder: Path, kind: str) -> tuple[int, Callable[[], object]]:
    shutil.rmtree(folder, ignore_errors=True)
    data = hf_audio.DataConfig(data_dir=str(recordings), num_workers=1)
    settings = hf_audio.FeatureConfig(features=kind, window_s=WINDOW_S)
    return len(list(recordings.rglob("*.wav"))), lambda: hf_audio.build_corpus_features(data, folder, settings)


def read(recordings: Path, folder: Path, kind: str) -> tuple[int, Callable[[], object]]:
    features = hf_audio.load_features(folder)
    rows, collate = features.splits["train"], hf_audio.FeatureCollator(features.extractor, features.labels)
    count = len(rows)
    batches = [list(range(first, min(first + BATCH, count))) for first in range(0, count, BATCH)]
    return count, lambda: [collate(rows.__getitems__(batch)) for batch in batches]


def main() -> None:
    torch.set_num_threads(1)
    recordings, folder = map(Path, sys.argv[1:])
    for line in sys.stdin:
        what, kind = line.split()
        count, way = {"build": build, "read": read}[what](recordings, folder / kind, kind)
        start = time.process_time()
        way()
        print(f"done {count} {time.process_time() - start}", flush=True)


if __name__ == "__main__":
    main()

"""Builds and reads features with one version of hf_audio, for `benchmark_features.py --beside`.

    PYTHONPATH=CHECKOUT python scripts/_feature_speed.py RECORDINGS FOLDER

Each input line is `build KIND` or `read KIND`. Each output line has the number of clips or windows and their CPU time.
This script uses only names that exist in all versions.
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

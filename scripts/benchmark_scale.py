"""Measure how building scales: memory for a corpus ten times as large, two processes, and large corpora.

    python scripts/benchmark_scale.py                           # 10,000 and 100,000 clips of 3 s: half an hour
    python scripts/benchmark_scale.py --num_clips 200           # a quick look
    python scripts/benchmark_scale.py --parts index             # an index of a million clips, from rows to plan
    python scripts/benchmark_scale.py --parts rates --data_dir DIR      # only: rates by file format and kind of feature
    python scripts/benchmark_scale.py --parts long              # only: memory with a recording of 10 h and whole songs

Memory is the peak of anonymous pages of a process and its workers, sampled ten times per second. Pages of mapped files,
which the system can reclaim, do not count. This works only on Linux. One process and two take turns on the larger
corpus. Both corpora are links to a hundred files: every clip is decoded and built again.

Rates are seconds of sound per second of CPU time on one core, from 44.1 kHz stereo files to finished shards, with
windows of 10 s and files of 30 s (synthesized tones, or the recordings in --data_dir). Core-hours, gigabytes and shards
are computed from them and the hours of each corpus.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process

import numpy as np
import psutil
import soundfile
from _measuring import (
    CLIP_S,
    FILE_RATE,
    folder_bytes,
    machine,
    made_up_piece,
    recorded_pieces,
    report,
    write_clips,
)
from torch.utils.data import DataLoader

import hf_audio
from hf_audio.data.building.checked_clips import check_clips
from hf_audio.data.building.description import describe_build
from hf_audio.data.building.finish import write_index
from hf_audio.data.building.plan import plan_shards, shards_of, windows_in_a_shard
from hf_audio.data.feature_format import ClipColumns
from hf_audio.data.foreign.index import read_index
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.data.tables import csv_text
from hf_audio.files import write_atomically
from hf_audio.kinds._kaldi_fbank import KaldiFbank

PARTS = ("memory", "processes", "index", "long", "rates")
TIMES = 10
NUM_SOUNDS = 100
LONG_H, SONG_S, NUM_SONGS = 10.0, 270.0, 40
SAMPLES_PER_S = 10
RATE_WINDOW_S, RATE_FILE_S, RATE_FILES, FEW_FILES = 10.0, 30.0, 80, 10
FORMATS = ("wav", "flac", "ogg", "mp3")
KINDS = ("fbank", "spectrogram", "waveform", "classical")
# Hours of sound, and the file format. IRMAS: 6,705 clips of 3 s and 2,874 of 5 to 20 s (about 17 s each). FMA
# full: 106,574 tracks, 343 days (Defferrard et al. 2017). AudioSet: 2,084,320 clips of 10 s (Gemmeke et al. 2017).
LARGE_CORPORA = {"IRMAS": (19.2, "wav"), "FMA full": (8232.0, "mp3"), "AudioSet": (5790.0, "flac")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--num_clips", type=int, default=10_000, help="clips of the smaller corpus (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds of one and two processes (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all")
    parser.add_argument("--num_rows", type=int, default=1_000_000, help="rows of the index (default: %(default)s)")
    parser.add_argument("--num_classes", type=int, default=50, help="classes of the index (default: %(default)s)")
    parser.add_argument("--data_dir", type=Path, help="recordings to measure rates and bytes with")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # a measurement in a separate process
    options = parser.parse_args()
    if options.one:
        ONE[options.one[0]](Path(options.one[1]), json.loads(options.one[2]))
        return
    parts = options.parts or PARTS
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if {"memory", "processes"} & set(parts):
            write_corpora(root, options.num_clips)
        if "memory" in parts:
            measure_memory(root)
        if "processes" in parts:
            measure_processes(root, options.repeats)
        if "index" in parts:
            measure_index(root, options.num_rows, options.num_classes)
        if "long" in parts:
            measure_long(root)
        if "rates" in parts:
            print_costs(measure_rates(root, options.data_dir))


def write_corpora(root: Path, num_clips: int) -> None:
    """`root`/1 with `num_clips` clips of 3 s in two classes, and `root`/10 with ten times as many."""
    sounds = write_clips(root / "sounds", min(NUM_SOUNDS, num_clips), None)
    for size in (1, TIMES):
        for number in range(size * num_clips):
            clip = root / str(size) / "ab"[number % 2] / f"{number:06d}.wav"
            clip.parent.mkdir(parents=True, exist_ok=True)
            os.link(sounds[number % len(sounds)], clip)


def measure_memory(root: Path) -> None:
    """Peak memory of building, of an epoch of batches, and of a streamed epoch, for both corpora."""
    peaks: dict[str, list[float]] = {}
    for size in ("1", str(TIMES)):
        for what, settings in (("build", {"num_workers": 1}), ("read", {}), ("stream", {"streaming": True})):
            if what == "build":
                shutil.rmtree(root / f"features-{size}", ignore_errors=True)
            _, peak = watched("build" if what == "build" else "read", root / size, settings)
            peaks.setdefault(what, []).append(peak / 1e6)
    print(f"{'peak memory, MB':20}{'1 x':>10}{f'{TIMES} x':>10}")
    for what, (small, large) in peaks.items():
        print(f"{what:20}{small:10.0f}{large:10.0f}")
    for what, (small, large) in peaks.items():
        report(f"memory to {what}, {TIMES} x / 1 x", large / small, "below 1.1")
    print(flush=True)


def measure_long(root: Path) -> None:
    """Peak memory of one process with a recording of ten hours among short ones, and with songs as windows."""
    minute = np.concatenate([made_up_piece(seed) for seed in range(round(60 / CLIP_S))]).clip(-1, 1)
    for number in range(NUM_SONGS):
        write_minutes(root / "songs" / "ab"[number % 2] / f"{number}.wav", minute, SONG_S / 60)
        write_minutes(root / "day" / "ab"[number % 2] / f"{number}.wav", minute, LONG_H * 60 if number == 0 else 0.5)
    print(f"{'':8}{'':12}{'window, s':>12}{'peak memory, MB':>18}{'seconds':>10}", flush=True)
    for corpus, kind, window_s in (("day", "fbank", 3.0), ("day", "waveform", 30.0), ("songs", "waveform", SONG_S)):
        seconds, peak = watched("build", root / corpus, {"features": kind, "window_s": window_s})
        print(f"{corpus:8}{kind:12}{window_s:12g}{peak / 1e6:18.0f}{seconds:10.0f}", flush=True)


def write_minutes(path: Path, minute: np.ndarray, count: float) -> None:
    """A mono file that repeats the same minute."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", FILE_RATE, 1, "PCM_16") as file:
        for _ in range(int(count)):
            file.write(minute)
        file.write(minute[: round(count % 1 * len(minute))])


def measure_processes(root: Path, repeats: int) -> None:
    """Wall-clock time of building with one process and with two, in turns."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for workers, found in seconds.items():
            shutil.rmtree(root / f"features-{TIMES}", ignore_errors=True)
            found.append(watched("build", root / str(TIMES), {"num_workers": workers})[0])
    one, two = (statistics.median(found) for found in seconds.values())
    print(f"seconds to build: {one:.1f} with one process, {two:.1f} with two; turns {seconds}")
    report("efficiency of two processes over one", one / (2 * two), "at least 0.85")
    print(flush=True)


def watched(what: str, corpus: Path, settings: dict) -> tuple[float, float]:
    """Runs one measurement in a separate process: the seconds that it prints, and its peak memory in bytes."""
    command = [sys.executable, __file__, "--one", what, str(corpus), json.dumps(settings)]
    environment = os.environ | {"HF_HOME": str(corpus.parent / "hf_home")}  # deleted with the corpora
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak, tree = 0, psutil.Process(process.pid)
    while process.poll() is None:
        held = 0
        for one in [tree, *_children(tree)]:
            with contextlib.suppress(OSError, psutil.Error):  # the process may have ended
                held += anonymous_bytes(one.pid)
        peak = max(peak, held)
        time.sleep(1 / SAMPLES_PER_S)
    if process.returncode:
        sys.exit(f"error: measuring {what} of {corpus.name} x failed with exit code {process.returncode}")
    return float(process.stdout.read().split()[-1]), float(peak)


def anonymous_bytes(pid: int) -> int:
    """Memory of a process without pages of files."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def _children(tree: psutil.Process) -> list[psutil.Process]:
    try:
        return tree.children(recursive=True)
    except psutil.Error:
        return []


def build_one(corpus: Path, settings: dict) -> None:
    start = time.perf_counter()
    num_workers = settings.pop("num_workers", 1)
    features = hf_audio.FeatureConfig(**{"window_s": CLIP_S} | settings)
    folder = corpus.parent / f"features-{corpus.name}"
    shutil.rmtree(folder, ignore_errors=True)
    build(corpus, folder, features, num_workers)
    print(time.perf_counter() - start)


def read_one(corpus: Path, settings: dict) -> None:
    """An epoch of batches, as the loader makes them."""
    start = time.perf_counter()
    features = hf_audio.load_features(corpus.parent / f"features-{corpus.name}", streaming=bool(settings))
    collate = hf_audio.FeatureCollator(features.extractor, features.labels)
    if settings:
        windows = StreamedWindows(features.streamed, 32)
        loader = DataLoader(windows, batch_sampler=StreamedBatches(windows), collate_fn=collate)
    else:
        loader = DataLoader(features.splits["train"], 32, collate_fn=collate)
    for _ in loader:
        pass
    print(time.perf_counter() - start)


def measure_index(root: Path, num_rows: int, num_classes: int) -> None:
    """Time and peak memory of an index from its rows to the plan of a build. The recordings do not exist.

    At the end it is written like that of a feature dataset, and read with the checks of an untrusted one.
    """
    (root / "index").mkdir()
    seconds, peak = watched("index", root / "index", {"num_rows": num_rows, "num_classes": num_classes})
    print((root / "index" / "stages.txt").read_text())
    print(f"{num_rows:,} clips: {seconds:.1f} s, peak {peak / 1e6:.0f} MB\n", flush=True)


def index_one(folder: Path, settings: dict) -> None:
    """Writes the CPU time of each stage to a file, and prints their sum."""
    num_rows, num_classes, stages = settings["num_rows"], settings["num_classes"], {}

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        stages[name] = time.process_time() - start

    with stage("rows to table"):
        clips = index_of(
            Clip(
                f"/corpus/audio/{number // 1000:05d}/{number:08d}.wav",
                tuple({f"class {one % num_classes}": None for one in (number, number // 3)}),
                f"speaker {number // 100}",
                f"audio/{number // 1000:05d}/{number:08d}.wav",
                metadata={"take": str(number % 7), "room": "ab"[number % 2]},
            )
            for number in range(num_rows)
        )
    with stage("classes"):
        labels = hf_audio.LabelSpace.of_clips(clips)
    with stage("splits"):
        clips = hf_audio.assign_splits(clips, labels)
    with stage("checks"):
        check_clips(clips, labels)
    with stage("description"):
        describe_build(clips, labels, {}, 1.0, 1.0)
    with stage("plan"):
        bounds = plan_shards(clips, np.full(num_rows, 3.0), 1.0, 1.0, window_bytes=16_000)
    with stage("shards"):
        num_shards = sum(1 for _ in shards_of(clips, bounds))
    columns = ClipColumns.of_index(clips, labels, KaldiFbank().parameters)
    write_atomically(folder / "excluded.csv", csv_text([("clip_id", "reason")]))
    with stage("index to disk"):
        write_index(clips, columns, folder / "index.parquet")
    with stage("index from disk"):
        read_index(folder / "index.parquet", folder / "excluded.csv", columns, "it")
    size_mb = (folder / "index.parquet").stat().st_size / 1e6
    lines = [f"{name:24}{taken:8.2f}" for name, taken in stages.items()]
    (folder / "stages.txt").write_text("\n".join([*lines, f"{num_shards} shards, index of {size_mb:.0f} MB"]))
    print(sum(stages.values()))


ONE = {"build": build_one, "read": read_one, "index": index_one}


def build(corpus: Path, folder: Path, features: hf_audio.FeatureConfig, num_workers: int = 1) -> Path:
    data = hf_audio.DataConfig(data_dir=str(corpus), num_workers=num_workers, test_fraction=0.1)
    return hf_audio.build_corpus_features(data, folder, features)


def measure_rates(root: Path, data_dir: Path | None) -> dict[tuple[str, str], tuple[float, float]]:
    """Multiples of real time per core, and bytes per second of sound, by format and kind."""
    found = {}
    print(f"{'times real time per core':24}" + "".join(f"{kind:>14}" for kind in KINDS))
    for name in FORMATS:
        write_recordings(root / name / "all", RATE_FILES, name, data_dir)
        write_recordings(root / name / "few", FEW_FILES, name, data_dir)
        for kind in KINDS:
            settings = hf_audio.FeatureConfig(features=kind, window_s=RATE_WINDOW_S)
            build(root / name / "few", root / f"warm-{name}-{kind}", settings)  # loads and compiles libraries
            which, num_files = ("few", FEW_FILES) if kind == "classical" else ("all", RATE_FILES)
            folder, start = root / f"rates-{name}-{kind}", time.process_time()
            build(root / name / which, folder, settings)
            spent, sound_s = time.process_time() - start, num_files * RATE_FILE_S
            found[name, kind] = (sound_s / spent, folder_bytes(folder / "data") / sound_s)
        print(f"{name:24}" + "".join(f"{found[name, kind][0]:14.0f}" for kind in KINDS), flush=True)
    print(f"{'bytes per s of sound':24}" + "".join(f"{found['wav', kind][1]:14.0f}" for kind in KINDS) + "\n")
    return found


def write_recordings(folder: Path, count: int, suffix: str, data_dir: Path | None) -> None:
    """Stereo files of RATE_FILE_S in two classes."""
    pieces_per_file = round(RATE_FILE_S / CLIP_S)
    total = count * pieces_per_file
    pieces = recorded_pieces(data_dir, total) if data_dir else (made_up_piece(seed) for seed in itertools.count())
    pieces = itertools.islice(itertools.cycle(itertools.islice(pieces, 200)), total)
    for number in range(count):
        sound = np.concatenate(list(itertools.islice(pieces, pieces_per_file)))
        path = folder / "ab"[number % 2] / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack([sound, 0.8 * sound], axis=1).clip(-1, 1), FILE_RATE)


def print_costs(rates: dict[tuple[str, str], tuple[float, float]]) -> None:
    """The cost of each large corpus by kind of feature, in windows of 10 s."""
    print("| corpus | hours | kind | core-hours | GB | windows of 10 s | shards |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for corpus, (hours, name) in LARGE_CORPORA.items():
        for kind in KINDS:
            rate, bytes_per_s = rates[name, kind]
            windows = hours * 3600 / RATE_WINDOW_S
            cells = (f"{hours / rate:,.1f}", f"{hours * 3600 * bytes_per_s / 1e9:,.1f}", f"{windows:,.0f}")
            shards = 8 * -(-windows // (8 * windows_in_a_shard(round(bytes_per_s * RATE_WINDOW_S))))
            print(f"| {corpus} | {hours:,.0f} | {kind} | {' | '.join(cells)} | {shards:,.0f} |")


if __name__ == "__main__":
    main()

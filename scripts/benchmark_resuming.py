"""Measure the time to resume a streamed epoch in the middle, and compare with reading it from its start.

    python scripts/benchmark_resuming.py                            # a million windows; ten minutes
    python scripts/benchmark_resuming.py --num_windows 20000        # a quick look

A Hub on 127.0.0.1 has log-mel windows of 3 s in shards of 1,024, all with the same content: 27 GB for a reader, 27 MB
on disk. "Ours" is the reader of training, which requests batches of 32 by their number. "Read and dropped" is what a
generic trainer does with a stream: `datasets` shuffles with a buffer of 1,000, and batches are made and dropped; the
time for half the epoch is computed from the rate. Variants take turns, each in a separate process with an empty cache.
Figures are medians. The time to start Python and import libraries is not counted.

Then the shares of several processes are checked, with tiny distinct windows: each of two, then three processes reads
all of its batches of an epoch. Every window must occur exactly once over all processes.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from _measuring import BATCH, CLIP_S, HUB_SERVER, machine, made_up_piece, report
from _measuring import FILE_RATE as RATE_HZ
from accelerate.data_loader import DataLoaderShard, skip_first_batches

from hf_audio.data.building.build import build_features
from hf_audio.data.building.shard_rows import shard_writer
from hf_audio.data.feature_format import SHARD_WINDOWS, shard_names
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.training.epoch_batches import BatchLayout

REPO, SHARD, FEW_CLIPS = "alice/windows", 1024, 100
FILE_RATE, TINY_S = 16_000, 0.1
WORLD_SIZES = (2, 3)
PARTS = ("epoch", "shares")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_windows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--num_rated", type=int, default=9_000, help="windows to measure rates with (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: both")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a measurement in a separate process
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(ONE[options.one[0]](**json.loads(options.one[1]))))
        return
    if "epoch" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options)
    for world_size in WORLD_SIZES if "shares" in options.parts else ():
        with tempfile.TemporaryDirectory() as folder:
            read_by_several(Path(folder), options.num_windows, world_size)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Seconds until the first batch, and rates, of both variants."""
    sys.path.insert(0, str(HUB_SERVER.parent))
    from hub_server import Hub

    hub = Hub.start(folder / "hub")
    num_shards = -(-options.num_windows // SHARD)
    num_windows, windows_bytes = num_shards * SHARD, put_on(hub, folder, num_shards)
    print(f"{num_windows:,} windows in {num_shards:,} shards, {windows_bytes / 1e9:.1f} GB, {machine()}\n", flush=True)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "dropped": []}
    for turn, way in itertools.product(range(options.repeats), found):
        # the Hugging Face libraries read these when they are imported
        environment = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / f"{way} {turn}"),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        found[way].append(ask(way, environment, num_rated=min(options.num_rated, num_windows)))
    hub.stop()
    ours, dropped = (
        {name: statistics.median(turn[name] for turn in turns) for name in turns[0]} for turns in found.values()
    )
    half, what = num_windows / 2, "windows per second"
    until_half_s, of_them_cpu_s = half / dropped["windows_per_s"], half / dropped["windows_per_cpu_s"]
    for name, value in {
        "seconds to open the dataset": ours["open_s"],
        "seconds to the first batch of an epoch": ours["start_s"],
        "seconds to the next batch at half the epoch": ours["half_s"],
        "the same, read and dropped (computed)": until_half_s,
        "the same, seconds of CPU time": of_them_cpu_s,
        f"{what}, ours": ours["windows_per_s"],
        f"{what}, datasets' shuffle": dropped["windows_per_s"],
        f"{what} of CPU time, ours": ours["windows_per_cpu_s"],
        f"{what} of CPU time, datasets' shuffle": dropped["windows_per_cpu_s"],
        "peak memory, MB, ours": ours["memory_mb"],
        "peak memory, MB, datasets' shuffle": dropped["memory_mb"],
    }.items():
        print(f"{name:50}{value:10.1f}")
    print()
    report("seconds until half the epoch, ours / dropped", ours["half_s"] / until_half_s, "below 0.1")
    report("windows/s, ours / datasets' shuffle", ours["windows_per_s"] / dropped["windows_per_s"], "at least 1")
    report("the same by CPU time", ours["windows_per_cpu_s"] / dropped["windows_per_cpu_s"], "at least 1")


def ask(way: str, environment: dict[str, str], **settings: Any) -> dict[str, Any]:
    """The result of a measurement in a separate process."""
    command = [sys.executable, __file__, "--one", way, json.dumps(settings)]
    done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def ours(num_rated: int) -> dict[str, float]:
    """The times to start an epoch and to resume one in the middle, and the rate from there."""
    start = time.perf_counter()
    features = load_features(REPO, streaming=True)
    taken = {"open_s": time.perf_counter() - start}
    for name, share in (("start_s", 0.0), ("half_s", 0.5)):
        windows = StreamedWindows(features.streamed, BATCH)
        start = time.perf_counter()
        loader = loader_of(windows, FeatureCollator(features.extractor, features.labels))
        batches = iter(skip_first_batches(loader, int(share * len(loader))))
        next(batches)
        taken[name] = time.perf_counter() - start
    return taken | rate(lambda: batches_of(windows, features), num_rated)


def batches_of(windows: StreamedWindows, features: Any) -> Iterator[Any]:
    return iter(loader_of(windows, FeatureCollator(features.extractor, features.labels)))


def dropped(num_rated: int) -> dict[str, float]:
    """The rate of batches from a stream that is shuffled by `datasets`."""
    features = load_features(REPO, streaming=True)
    collate = FeatureCollator(features.extractor, features.labels)
    stream = features.splits["train"].shuffle(seed=0, buffer_size=1000, max_buffer_input_shards=1)
    rows = iter(stream)
    return rate(lambda: map(collate, iter(lambda: list(islice(rows, BATCH)), [])), num_rated)


def rate(batches: Callable[[], Iterator[Any]], num_rated: int) -> dict[str, float]:
    wall, cpu, count = time.perf_counter(), time.process_time(), num_rated // BATCH
    for _ in islice(batches(), count):
        pass
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    memory_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    rates = {"windows_per_s": count * BATCH / wall, "windows_per_cpu_s": count * BATCH / cpu}
    return {**rates, "memory_mb": memory_mb}


def loader_of(windows: StreamedWindows, collate: Callable) -> DataLoaderShard:
    return DataLoaderShard(windows, batch_sampler=StreamedBatches(windows), collate_fn=collate)


def put_on(hub: Any, folder: Path, num_shards: int) -> int:
    """A feature dataset on the Hub with this many shards of the same content; returns their total size in bytes."""
    built, clips = folder / "built", [made_up_piece(number)[::3] for number in range(FEW_CLIPS)]
    few = rows_of(build(built, clips, RATE_HZ // 3, CLIP_S))
    with (folder / "shard").open("wb") as file, shard_writer(file, few.schema) as writer:
        writer.write_table(few.take(np.arange(SHARD) % len(few)), row_group_size=SHARD)
    count_windows(built, [SHARD] * num_shards)
    names = [f"data/{name}.parquet" for name in shard_names("train", num_shards)]
    files = {str(path.relative_to(built)): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    files = {name: content for name, content in files.items() if not name.startswith("data/train-")}
    repo = hub.create("datasets", REPO, files | {names[0]: (folder / "shard").read_bytes()})
    shard = repo.resolve().files[names[0]]
    repo.commit(dict.fromkeys(names, shard))
    return num_shards * shard.size


def build(folder: Path, clips: list[np.ndarray], rate_hz: int, window_s: float) -> Path:
    """Features of clips of one window each, all but two for training."""
    listed = []
    for number, sound in enumerate(clips):
        path = folder.with_name("wav") / f"{number:05d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound, rate_hz)
        split = {0: "validation", 1: "test"}.get(number, "train")
        listed.append(Clip(path, ("ab"[number % 2],), path.stem, path.stem, split=split))
    index = index_of(listed)
    options = {"window_s": window_s, "hop_s": window_s, "card": CorpusCard("benchmark", "none", True), "num_workers": 1}
    return build_features(index, LabelSpace.of_clips(index), folder, KaldiFbank(), **options)


def rows_of(built: Path) -> pa.Table:
    """The training rows; their shards are removed."""
    paths = sorted((built / "data").glob("train-*"))
    rows = pa.concat_tables([pq.read_table(path) for path in paths]).combine_chunks()
    for path in paths:
        path.unlink()
    return rows


def count_windows(built: Path, counts: list[int]) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    manifest["splits"]["train"] |= {"num_shards": len(counts), "num_windows": sum(counts)}
    manifest[SHARD_WINDOWS]["train"] = counts
    (built / "manifest.json").write_text(json.dumps(manifest))


def read_by_several(folder: Path, num_windows: int, world_size: int) -> None:
    """Several processes read an epoch, each its share; returns whether each window occurred exactly once."""
    built = write_differing(folder / "features", num_windows)
    command = [sys.executable, __file__, "--one", "share"]
    environment = os.environ | {"HF_HOME": str(folder / "home")}
    start, processes = time.perf_counter(), []
    for rank in range(world_size):
        told = {"folder": str(built), "rank": rank, "world_size": world_size, "read": str(folder / f"{rank}.npy")}
        processes.append(subprocess.Popen([*command, json.dumps(told)], env=environment, stdout=subprocess.DEVNULL))
    if any([process.wait() for process in processes]):
        sys.exit(f"error: one of {world_size} processes failed")
    shares = [np.load(folder / f"{rank}.npy") for rank in range(world_size)]
    read = np.sort(np.concatenate(shares))
    once = bool((read == np.arange(num_windows)).all()) if len(read) == num_windows else False
    sizes = ", ".join(f"{len(share):,}" for share in shares)
    print(
        f"{world_size} processes read {sizes} windows in {time.perf_counter() - start:.0f} s: "
        f"{'every window once' if once else 'WINDOWS ARE MISSING OR READ TWICE'}",
        flush=True,
    )
    shutil.rmtree(built)


def write_differing(folder: Path, num_windows: int) -> Path:
    """Windows of 0.1 s, identified by clip name and start in seconds."""
    random = np.random.default_rng(0)
    clips = [0.1 * random.standard_normal(round(TINY_S * FILE_RATE)) for _ in range(FEW_CLIPS + 2)]
    few = rows_of(build(folder, clips, FILE_RATE, TINY_S))
    few = few.take(np.argsort(few["clip_id"].to_pylist()))
    counts = [min(SHARD, num_windows - first) for first in range(0, num_windows, SHARD)]
    for number, name in enumerate(shard_names("train", len(counts))):
        windows = np.arange(counts[number]) + number * SHARD
        rows = few.take(windows % FEW_CLIPS)
        starts = pa.array((windows // FEW_CLIPS).astype(np.float32))
        rows = rows.set_column(rows.schema.get_field_index("start_s"), few.schema.field("start_s"), starts)
        with (folder / "data" / f"{name}.parquet").open("wb") as file, shard_writer(file, few.schema) as writer:
            writer.write_table(rows.combine_chunks(), row_group_size=SHARD)
    count_windows(folder, counts)
    return folder


def share(folder: str, rank: int, world_size: int, read: str) -> dict[str, int]:
    """Reads a process's batches of an epoch, and writes the windows in them that count."""
    features = load_features(folder, streaming=True)
    windows = StreamedWindows(features.streamed, BATCH, rank=rank, world_size=world_size)
    layout = BatchLayout(len(windows), BATCH, 1, rank, world_size)
    found = []
    for step, rows in enumerate(loader_of(windows, list)):
        counted = rows[: layout.share(step, 0).num_counted]
        found += [int(row["start_s"]) * FEW_CLIPS + int(row["clip_id"]) - 2 for row in counted]
    np.save(read, np.array(found))
    return {"windows": len(found)}


ONE = {"ours": ours, "dropped": dropped, "share": share}

if __name__ == "__main__":
    datasets.disable_progress_bars()
    main()

"""Compare the speed of building features from recordings on the Hub with the stock way, in one run.

    python scripts/benchmark_streams.py                     # 400 clips of synthesized music
    python scripts/benchmark_streams.py --data_dir DIR      # 3 s clips cut from the recordings in DIR

A Hub on 127.0.0.1 has the clips (44.1 kHz, stereo, 16 bits) as WAV files in Parquet, as `push_to_hub` writes them. The
stock way is `load_dataset(streaming=True)` and `map` with ASTFeatureExtractor; soundfile decodes, since torchcodec
needs FFmpeg, and every channel is resampled, as in `datasets.Audio`. "Stock" discards the features; "stock, kept"
writes them to disk, as ours does, with `Dataset.from_generator`; "stock, cut" discards them, with max_length set to the
window length. Variants take turns, each in a separate process with an empty cache. Figures are medians over turns. The
time to start Python and import libraries is not counted.

It also measures the peak disk space and memory, and the time until a build that was killed in the middle reads the next
recording.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process, for all variants

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
import torch
from _measuring import CLIP_S, HUB_SERVER, RATE, folder_bytes, machine, report, write_clips
from transformers import ASTFeatureExtractor

from hf_audio.data.building import pieces
from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.recordings import in_turn
from hf_audio.kinds._kaldi_fbank import KaldiFbank

REPO, ROWS_PER_FILE, ROWS_PER_GROUP = "alice/recordings", 200, 50
WAYS = ("stock", "stock, kept", "stock, cut", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="recordings to cut the clips from; default: synthesized clips")
    parser.add_argument("--num_clips", type=int, default=400, help="clips of 3 s (default: %(default)s)")
    parser.add_argument("--num_processes", type=int, default=1, help="processes per variant (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each variant (default: %(default)s)")
    parser.add_argument("--way", nargs=2, metavar=("WAY", "CLIPS"), help="only one turn of a variant (HF_ENDPOINT)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    if options.way:
        way, clips = options.way
        print(json.dumps(one_turn(way, json.loads(Path(clips).read_text()), options.num_processes)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """All measurements and their report."""
    sys.path.insert(0, str(HUB_SERVER.parent))
    from hub_server import Hub

    hub = Hub.start(folder / "hub")
    addresses, num_bytes = push(hub, write_clips(folder / "wav", options.num_clips, options.data_dir))
    (folder / "clips.json").write_text(json.dumps(addresses))
    print(
        f"{options.num_clips} clips of {CLIP_S:g} s, {num_bytes / 1e6:.0f} MB, {options.num_processes} process(es), "
        f"{options.repeats} turns, {machine()}\n"
    )
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (*WAYS, "resumed")}
    for turn in range(options.repeats):
        for way in found:
            home = folder / f"home {turn} {way}"
            # the Hugging Face libraries read these when they are imported
            environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
            command = [sys.executable, __file__, "--way", way, str(folder / "clips.json")]
            command += ["--num_processes", str(options.num_processes)]
            answer = subprocess.run(
                command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
            )
            found[way].append(json.loads(answer.stdout.splitlines()[-1]))
    hub.stop()
    medians = {
        way: {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        for way, turns in found.items()
    }
    heads = f"{'clips/s':>10}{'CPU ms per clip':>17}{'peak memory, MB':>18}{'peak disk, MB':>15}{'result, MB':>12}"
    print(f"{'':12}{heads}")
    for way in WAYS:
        its = medians[way]
        print(
            f"{way:12}{options.num_clips / its['wall_s']:10.0f}{1000 * its['cpu_s'] / options.num_clips:17.2f}"
            f"{its['memory_mb']:18.0f}{its['disk_mb']:15.1f}{its['kept_mb']:12.1f}"
        )
    print()
    for other in WAYS[:3]:
        for clock in ("wall_s", "cpu_s"):
            ratio = medians[other][clock] / medians["ours"][clock]
            report(
                f"recordings/s, ours / {other}, {clock[:-2]}", ratio, "at least 2.5" if other != "stock, cut" else ""
            )
    ours = medians["ours"]
    report("peak disk / features", ours["disk_mb"] / ours["kept_mb"], "about 2")
    report("peak disk / recordings", 1e6 * ours["disk_mb"] / num_bytes, "below 1")
    report("seconds until a killed build resumes", medians["resumed"]["until_next_s"], "a few")


def push(hub: Any, paths: list[Path]) -> tuple[list[str], int]:
    """The clips as Parquet files of the Hub: their addresses, and their bytes."""
    files, kind = {}, pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for first in range(0, len(paths), ROWS_PER_FILE):
        rows = [{"bytes": path.read_bytes(), "path": path.name} for path in paths[first : first + ROWS_PER_FILE]]
        table = pa.table({"audio": pa.array(rows, kind), "label": [row % 2 for row in range(len(rows))]})
        features = datasets.Features({"audio": datasets.Audio(), "label": datasets.ClassLabel(names=["a", "b"])})
        file = io.BytesIO()
        pq.write_table(table.cast(features.arrow_schema), file, row_group_size=ROWS_PER_GROUP)
        number, num_files = first // ROWS_PER_FILE, -(-len(paths) // ROWS_PER_FILE)
        files[f"data/train-{number:05d}-of-{num_files:05d}.parquet"] = file.getvalue()
    commit = hub.create("datasets", REPO, files).resolve().oid
    addresses = [f"hf://datasets/{REPO}@{commit}/{name}" for name in files for _ in range(ROWS_PER_FILE)]
    return addresses[: len(paths)], sum(map(len, files.values()))


def one_turn(way: str, addresses: list[str], processes: int) -> dict[str, float]:
    """The cost of one turn of one variant, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        if way == "resumed":
            return {"until_next_s": until_next(addresses, Path(folder) / "features")}
        run = {
            "stock": lambda: stock(1024, processes),
            "stock, kept": lambda: stock(1024, processes, Path(folder) / "features"),
            "stock, cut": lambda: stock(KaldiFbank().window_frames(CLIP_S), processes),
            "ours": lambda: ours(addresses, Path(folder) / "features", processes),
        }[way]
        places = [Path(folder), Path(os.environ["HF_HOME"])]
        return measured(run, places)


def measured(run: Callable[[], object], places: list[Path]) -> dict[str, float]:
    """Seconds, and peak memory and disk space, which is sampled every 50 ms."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], sum(map(folder_bytes_now, places)))

    threading.Thread(target=watch, daemon=True).start()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    kept = sum(map(folder_bytes, places))
    status = Path("/proc/self/status").read_text()  # getrusage would include the process that started this one
    memory_kb = int(status.partition("VmHWM:")[2].split()[0])
    sizes = {"memory_mb": memory_kb / 1024, "disk_mb": max(peak[0], kept) / 1e6, "kept_mb": kept / 1e6}
    return {"wall_s": wall, "cpu_s": cpu, **sizes}


def folder_bytes_now(folder: Path) -> int:
    """Size of a folder in which files are created and deleted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def stock(max_length: int, processes: int, folder: Path | None = None) -> None:
    """The stock way: stream, decode, resample, extract, and write to a folder if there is one."""
    extractor = ASTFeatureExtractor(max_length=max_length)

    def transform(row: dict) -> dict:
        samples, file_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        waveform = soxr.resample(samples, file_rate, RATE).T.mean(axis=0)
        return {"input_values": extractor(waveform, sampling_rate=RATE)["input_values"][0]}

    stream = datasets.load_dataset(REPO, split="train", streaming=True)
    stream = stream.cast_column("audio", datasets.Audio(decode=False)).map(transform, remove_columns=["audio"])
    loader = stream if processes == 1 else torch.utils.data.DataLoader(stream, batch_size=None, num_workers=processes)
    if folder is None:
        for _ in loader:
            pass
    else:
        datasets.Dataset.from_generator(lambda: iter(loader), cache_dir=str(folder))


def ours(addresses: list[str], folder: Path, processes: int) -> None:
    clips = index_of(clips_of(addresses))
    options = {"window_s": CLIP_S, "hop_s": CLIP_S, "card": CorpusCard("benchmark", "none", True)}
    build_features(clips, LabelSpace.of_clips(clips), folder, KaldiFbank(), num_workers=processes, **options)


def clips_of(addresses: list[str]) -> Iterator[Clip]:
    for number, address in enumerate(addresses):
        place = {"audio_row": number % ROWS_PER_FILE, "audio_field": "audio"}
        yield Clip(address, ("ab"[number % 2],), str(number), str(number), split="train", **place)


def until_next(addresses: list[str], folder: Path) -> float:
    """Seconds from the start of a build that was stopped after half of its pieces until it decodes a recording."""
    build, sounds, left = pieces.PieceBuilder.build, in_turn.sounds, [max(1, len(addresses) // ROWS_PER_GROUP // 2)]
    came: list[float] = []

    def some(self: Any, piece: Any, told: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        build(self, piece, told)

    def first(*arguments: Any) -> Iterator[Any]:
        for _ in sounds(*arguments):
            came.append(time.perf_counter())
            raise KeyboardInterrupt
        yield

    # a piece is a row group; restores all, for other builds in this process
    with mock.patch.object(pieces, "PIECE_BYTES", 1):
        with mock.patch.object(pieces.PieceBuilder, "build", some), contextlib.suppress(KeyboardInterrupt):
            ours(addresses, folder, 1)
        start = time.perf_counter()
        with mock.patch.object(in_turn, "sounds", first), contextlib.suppress(KeyboardInterrupt):
            ours(addresses, folder, 1)
    return came[0] - start


if __name__ == "__main__":
    main()

"""Measure the memory to read all recordings of a large row group or batch, for different ways to write the file.

    python scripts/benchmark_row_groups.py --num_recordings 300 --recording_mb 1.3

Each kind of file is written to a temporary folder with noise as sound, and is read in a separate process.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.data.recordings.containers import sounds
from hf_audio.data.recordings.hub_files import open_container
from hf_audio.terminal import show

PARQUET = {
    "packed, with a dictionary (pyarrow's default)": {},
    "packed, without a dictionary": {"use_dictionary": False},
    "packed, in small pages (push_to_hub of datasets 5)": {"use_content_defined_chunking": True},
    "not packed (push_corpus.py)": {"compression": "none", "use_dictionary": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--num_recordings", type=int, default=300, help="recordings in the row group; default: %(default)s"
    )
    parser.add_argument("--recording_mb", type=float, default=1.3, help="MB of each; default: %(default)s")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        show(f"{memory_mb(options.read, options.num_recordings):.0f}")
        return
    show(f"| {options.num_recordings} recordings of {options.recording_mb:g} MB in one row group | memory, MB |")
    show("|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, file in written(Path(folder), options.num_recordings, round(1e6 * options.recording_mb)):
            command = [sys.executable, __file__, "--read", str(file), "--num_recordings", str(options.num_recordings)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            show(f"| {name} | {done.stdout.strip()} |")


def written(folder: Path, num_recordings: int, num_bytes: int) -> Iterator[tuple[str, Path]]:
    """The same rows in each kind of file, one at a time."""
    random = np.random.default_rng(0)
    rows = [{"bytes": random.bytes(num_bytes), "path": f"{row}.wav"} for row in range(num_recordings)]
    table = pa.table({"audio": rows})
    for name, options in PARQUET.items():
        pq.write_table(table, folder / "a.parquet", row_group_size=num_recordings, **options)
        yield f"Parquet, {name}", folder / "a.parquet"
    with pa.OSFile(str(folder / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    yield "Arrow, one batch", folder / "a.arrow"


def memory_mb(file: str, num_recordings: int) -> float:
    """Peak private memory of this process in MB while it reads all recordings, minus that of the libraries."""
    before = _own_mb()
    with _watched() as most:
        for _, sound in sounds(file, "audio", range(num_recordings), open_container):
            sound.read()
    return most[0] - before


@contextmanager
def _watched() -> Iterator[list[float]]:
    most, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            most[0] = max(most[0], _own_mb())
            time.sleep(0.003)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def _own_mb() -> float:
    """Memory of this process in MB, without pages of files, which the system can reclaim (Linux)."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


if __name__ == "__main__":
    main()

"""Measure the time to open a large dataset on the Hub: its index with classes and groups, without any sound.

    python scripts/benchmark_opening.py                                        # 1,000,000 rows in 100 Parquet files
    python scripts/benchmark_opening.py --num_rows 100000 --num_files 20

A Hub on 127.0.0.1 has the rows: 200 bytes instead of a recording, a class and a speaker. They are opened in a separate
process with an empty cache. The time to start Python and import libraries is not counted.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by its processes

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _measuring import HUB_SERVER, machine

from hf_audio.config import DataConfig
from hf_audio.preparation.read_corpora import read_corpus

REPO, SOUND_BYTES, ROWS_PER_GROUP, ROWS_PER_SPEAKER = "alice/many", 200, 2_500, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--num_files", type=int, default=100, help="Parquet files (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="only open the rows (HF_ENDPOINT)")
    options = parser.parse_args()
    if options.open:
        print(json.dumps(opened()))
        return
    sys.path.insert(0, str(HUB_SERVER.parent))
    from hub_server import Hub

    with tempfile.TemporaryDirectory() as folder:
        hub = Hub.start(Path(folder) / "hub")
        content = rows(options.num_rows // options.num_files)
        names = [f"data/train-{number:05d}-of-{options.num_files:05d}.parquet" for number in range(options.num_files)]
        hub.create("datasets", REPO, dict.fromkeys(names, content))
        hub.log.clear()
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": f"{folder}/home", "NO_PROXY": "127.0.0.1,localhost"}
        command = [sys.executable, __file__, "--open"]
        done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        sent, stored = sum(one.sent for one in hub.log.requests), options.num_files * len(content)
        print(f"{found['rows']:,} rows in {options.num_files} files, {machine()}")
        print(f"opened in {found['wall_s']:.1f} s, {found['cpu_s']:.1f} s of CPU time")
        print(f"{len(hub.log.requests):,} requests, {sent / 1e6:.0f} of {stored / 1e6:.0f} MB")
        hub.stop()


def rows(count: int) -> bytes:
    """A Parquet file as `push_to_hub` writes it."""
    random = np.random.default_rng(0)
    columns = {
        "audio": [{"bytes": random.bytes(SOUND_BYTES), "path": None} for _ in range(count)],
        "label": [row % 3 for row in range(count)],
        "speaker_id": [row // ROWS_PER_SPEAKER for row in range(count)],
    }
    features = {
        "audio": datasets.Audio(),
        "label": datasets.ClassLabel(names=["blues", "jazz", "rock"]),
        "speaker_id": datasets.Value("int32"),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns, datasets.Features(features).arrow_schema), file, row_group_size=ROWS_PER_GROUP)
    return file.getvalue()


def opened() -> dict[str, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    clips = read_corpus(DataConfig(dataset=REPO)).clips
    return {"rows": len(clips), "wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}


if __name__ == "__main__":
    main()

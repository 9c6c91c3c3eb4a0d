"""scripts/benchmark_opening.py and benchmark_row_groups.py read all of their files in separate processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_time_to_open_rows_is_printed(forks):
    done = forks.run(ROOT / "scripts/benchmark_opening.py", "--num_rows", "60", "--num_files", "2", cwd=ROOT)
    assert done.returncode == 0, done.errors
    assert "60 rows in 2 files" in done.output and "s of CPU time" in done.output


def test_memory_for_a_row_group_is_printed_for_each_kind_of_file():
    command = [sys.executable, "scripts/benchmark_row_groups.py", "--num_recordings", "4", "--recording_mb", "0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.count("| Parquet, ") == 4 and "| Arrow, one batch | " in done.stdout

"""scripts/benchmark_opening.py and benchmark_row_groups.py read all of what they wrote, in other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_rows_are_opened_and_what_that_took_is_told():
    command = [sys.executable, "scripts/benchmark_opening.py", "--num_rows", "60", "--num_files", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert "60 rows in 2 files" in done.stdout and "s of CPU time" in done.stdout


def test_what_a_row_group_takes_is_told_of_each_kind_of_file():
    command = [sys.executable, "scripts/benchmark_row_groups.py", "--num_recordings", "4", "--recording_mb", "0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.count("| Parquet, ") == 4 and "| Arrow, one batch | " in done.stdout

"""scripts/benchmark_opening.py opens what a Hub has, all of it, in another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_rows_are_opened_and_what_that_took_is_told():
    command = [sys.executable, "scripts/benchmark_opening.py", "--num_rows", "60", "--num_files", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert "60 rows in 2 files" in done.stdout and "s of CPU time" in done.stdout

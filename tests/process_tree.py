"""A program that starts processes of its own, of which none outlives the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil


def run_tree(command: list[str], env: dict[str, str], timeout_s: float, cwd: Path | None = None) -> str:
    """Runs a launcher to its end and returns what it printed; whatever it printed is said where it fails.

    Launchers give each worker a session of its own, so that no signal to a group reaches them all. On a time-out, or
    where the test itself is interrupted, all that came of the launcher are killed one by one.
    """
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=env, cwd=cwd, **together)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except BaseException:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            one.kill()
        process.communicate()
        raise
    assert process.returncode == 0, output[-4000:]
    return output

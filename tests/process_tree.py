"""Runs a program that starts further processes, none of which outlives the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil


def run_tree(command: list[str], env: dict[str, str], timeout_s: float, cwd: Path | None = None) -> str:
    """Runs a launcher to its end and returns its output, which is also in the error if it fails.

    Launchers give each worker its own session, so no signal to a process group reaches them all. After a timeout, or if
    the test itself is interrupted, all descendants of the launcher are killed one by one.
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

"""One run of a trial in its own process, which ends when the search ends, for whatever reason."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_audio.environment import usable_cores
from hf_audio.files import open_for_writing, open_regular
from hf_audio.repeated_runs import last_words
from hf_audio.training.trial_scores import TRIAL_FILE

MAX_LINE_BYTES = 1 << 20
GRACE_S = 5.0  # time for a process to end before it is killed


class TrialProcess:
    """A running recipe.

    Its standard input is a pipe from this process: when this process ends, even by SIGKILL, the recipe ends too.

    Args:
        command: its command, with the flag `--trial`.
        folder: its run folder, to which it writes its scores.
        log: file for its output.
        env: additional environment variables.
    """

    def __init__(self, command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str]) -> None:
        self.log, self._scores, self._read = log, folder / TRIAL_FILE, 0
        self._evaluations: list[int] = []  # their steps
        folder.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        with open_for_writing(log, "xb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    def __enter__(self) -> TrialProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process if it still runs."""
        self._process.stdin.close()
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def new_scores(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The evaluations since the last call: their numbers, from 1, and their content."""
        if not self._scores.exists():
            return
        with open_regular(self._scores) as file:
            file.seek(self._read)
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                if not line.endswith(b"\n"):
                    return  # the line is not complete yet
                self._read += len(line)
                said = _parsed(line)
                if said is None or said["step"] in self._evaluations:
                    continue  # the run was resumed, and evaluated again
                self._evaluations.append(said["step"])
                yield len(self._evaluations), said

    def why_it_failed(self) -> str:
        """One line about the exit code and the output."""
        code, said = self._process.returncode, last_words(self.log)
        if code < 0:
            name = signal.Signals(-code).name
            out_of_memory = ", which the system sends when memory runs out" if name == "SIGKILL" else ""
            return f"it was ended by {name}{out_of_memory}; its last output: {said}"
        return said


def share_of_machine(slot: int, num_jobs: int) -> dict[str, str]:
    """Environment variables for parallel trials: the number of cores, and one of several GPUs."""
    import torch

    env = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // num_jobs)))}
    num_gpus = torch.cuda.device_count()
    if num_gpus > 1 and num_jobs > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(num_gpus)))).split(",")
        env["CUDA_VISIBLE_DEVICES"] = visible[slot % num_gpus]
    return env


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line of trial.jsonl; None if it is incomplete, because its process was killed."""
    try:
        said = json.loads(line)
        return said if isinstance(said["step"], int) and isinstance(said["scores"], dict) else None
    except (ValueError, KeyError, TypeError):
        return None

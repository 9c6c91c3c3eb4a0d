"""A separate process that decodes given files, so that crashes, hangs and memory exhaustion only fail a test.

python decoding_process.py        reads paths from stdin, answers each with one line: "" or the fault
"""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import traceback
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[1]
SAMPLE_RATE = 16_000
# far more than decoding a few kilobytes needs, far less than a false header can request
MEMORY_BYTES = 400 << 20
LIMIT_S = 10.0


class DecodingProcess:
    """Starts at the first call, and again after it had to be killed. Use as a context."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> DecodingProcess:
        return self

    def __exit__(self, *_) -> None:
        self._end()

    def fault(self, path: Path) -> str:
        """The fault in decoding a file; "" if it was decoded or properly refused."""
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": str(REPO_ROOT)}
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the MP3 decoder prints there about every broken frame
                env=environment,
            )
            self._answer(60.0)  # its imports
        self._process.stdin.write(os.fsencode(path) + b"\n")
        self._process.stdin.flush()
        return self._answer(LIMIT_S)

    def _answer(self, limit_s: float) -> str:
        answers = self._process.stdout
        if not select.select([answers], [], [], limit_s)[0]:
            self._end()
            return f"hangs: no answer after {limit_s:g} s"
        line = answers.readline()
        if not line:
            return f"crashes: the process ended with code {self._end()}"
        return line.decode().strip().replace("\\n", "\n")

    def _end(self) -> int | None:
        if self._process is None:
            return None
        if self._process.poll() is None and not select.select([self._process.stdout], [], [], 0)[0]:
            self._process.kill()
        code = self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None
        return code


def check(path: Path) -> str:
    """Decodes a file in every way, and returns the first fault."""
    import numpy as np

    from hf_audio.data.recordings.audio import AudioError, probe, read_audio, read_blocks

    size = path.stat().st_size
    # far more sound per byte than these files hold
    longest_s = 2.0 + 0.1 * size
    calls = {
        "probe": lambda: probe(path),
        "read_audio": lambda: read_audio(path, SAMPLE_RATE),
        "read_audio of a stretch": lambda: read_audio(path, SAMPLE_RATE, start_s=0.1, end_s=0.2),
        "read_audio in stereo": lambda: read_audio(path, SAMPLE_RATE, stereo=True),
        "read_blocks": lambda: np.concatenate([np.abs(block).max(axis=1) for block in read_blocks(path)]),
    }
    for name, call in calls.items():
        try:
            answer = call()
        except AudioError as error:
            reason = error.reason
            if not reason.strip() or "\n" in reason or len(reason) > 150 or str(path.parent) in reason:
                return f"{name}: not a reason in few words: {reason!r}"
            continue
        except BaseException:
            return f"{name}: {traceback.format_exc()}"
        if name == "probe":
            if not (0 < answer.duration_s <= longest_s and 0 < answer.channels <= 1024 and answer.sample_rate > 0):
                return f"{name}: {answer} of {size} bytes"
        else:
            rate = probe(path).sample_rate if name == "read_blocks" else SAMPLE_RATE
            longest = rate * (0.11 if "stretch" in name else longest_s)
            dimensions = 2 if "stereo" in name else 1
            if answer.dtype != "float32" or answer.ndim != dimensions or not 0 <= answer.shape[-1] <= longest:
                return f"{name}: {answer.dtype} {answer.shape} of {size} bytes"
            if name != "read_blocks" and not (abs(answer) < float("inf")).all():  # it gives the file's values
                return f"{name}: values that are not finite"
    return ""


def main() -> None:
    check(Path(__file__))  # imports come before the limit on memory
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing that a C library prints may be taken for an answer
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    print("ready", file=answers)
    for line in sys.stdin.buffer:
        print(check(Path(os.fsdecode(line.rstrip(b"\n")))).replace("\n", "\\n"), file=answers)


if __name__ == "__main__":
    main()

"""Processes that need not import torch again: forks of a process that has, each with its own environment.

    with Forks("training_run") as forks:
        process = forks.start(program_or_path, "--flag", env=..., cwd=...)

Importing the dependencies of hf_audio takes about 6 s of CPU time, and most tests that start processes are about
something else: a kill, two ranks, a library that must be absent. Some variables (HF_HOME, HF_ENDPOINT, PYTHONHASHSEED)
are read once at import, so tests of these start a new Python.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_BYTES = 100_000  # maximum size of a request, which holds a program and an environment
ANSWER_S = 240.0  # the first answer comes after all imports: 7 s of CPU time, much longer on a busy machine


class Fork:
    """A process that runs a program. Its output goes to files, so that it never waits for a reader."""

    def __init__(self, status: int, output: Path, errors: Path) -> None:
        self._status, self._output, self._errors, self._said = status, output, errors, b""
        self.returncode: int | None = None
        if not self._hear(ANSWER_S):
            raise RuntimeError("the forking process has ended, or takes too long to import its modules")
        pid, _, self._said = self._said.partition(b"\n")
        self.pid = int(pid)

    def _hear(self, timeout_s: float) -> bool:
        """Whether the process that waits for the fork has sent a line: first the process id, then the exit status."""
        if not self._said and select.select([self._status], [], [], timeout_s)[0]:
            self._said = os.read(self._status, 100)
        return b"\n" in self._said

    def poll(self, timeout_s: float = 0.0) -> int | None:
        """The exit status, negative after a signal; None while it runs."""
        if self.returncode is None and self._hear(timeout_s):
            self.returncode = int(self._said)
            os.close(self._status)
        return self.returncode

    def wait(self, timeout_s: float = 240.0) -> int:
        """Waits for its end, and kills it after the timeout."""
        if self.poll(timeout_s) is None:
            self.kill()
            raise AssertionError(f"still running after {timeout_s:g} s: {self.errors[-3000:]}")
        return self.returncode

    def kill(self) -> None:
        """Sends SIGKILL if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill_once(self, has_happened: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Sends SIGKILL as soon as something has happened; until then the process must run."""
        deadline = time.monotonic() + timeout_s
        try:
            while not has_happened():
                assert self.poll(0.01) is None and time.monotonic() < deadline, self.errors[-3000:]
        finally:
            self.kill()
            self.wait(10)

    @property
    def output(self) -> str:
        """What it has written to stdout."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What it has written to stderr."""
        return self._errors.read_text()


class Forks:
    """A process that imports modules and then forks itself for each program, until the block ends."""

    def __init__(self, *modules: str, without: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        """
        Args:
            modules: imported before the forks.
            without: modules that no program can import.
            env: the environment at import.
        """
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno()), json.dumps(without), *modules]
        self._server = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()])
        theirs.close()
        self._folder, self._started = tempfile.TemporaryDirectory(prefix="forks_"), 0

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._server.wait(ANSWER_S)
        self._folder.cleanup()

    def start(
        self, program: str | Path, *argv: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Fork:
        """Starts Python code, or a script if `program` is a path."""
        request = {
            **{"program": str(program), "is_path": isinstance(program, Path), "argv": list(map(str, argv))},
            **{"env": dict(os.environ if env is None else env), "cwd": str(cwd or os.getcwd())},
        }
        self._started += 1
        output, errors = (Path(self._folder.name, f"{self._started}.{what}") for what in ("output", "errors"))
        status, theirs = os.pipe()
        with output.open("w") as out, errors.open("w") as err:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [out.fileno(), err.fileno(), theirs])
        os.close(theirs)
        return Fork(status, output, errors)

    def run(self, program: str | Path, *argv: object, timeout_s: float = 240.0, **options: Any) -> Fork:
        """Runs a program to its end; see `start`."""
        process = self.start(program, *argv, **options)
        process.wait(timeout_s)
        return process

    def ranks(
        self, number: int, program: str | Path, *argv: object, env: Mapping[str, str] | None = None, **options: Any
    ) -> list[Fork]:
        """Runs a program in `number` processes that find each other, like torchrun; all must succeed."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        place |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "OMP_NUM_THREADS": "1"}
        here = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
        ranks = [self.start(program, *argv, env={**(env or os.environ), **place, **own}, **options) for own in here]
        try:
            while any(rank.poll(0.01) is None for rank in ranks) and not any(rank.poll() for rank in ranks):
                pass  # pytest-timeout limits the wait
            failed = next((rank for rank in ranks if rank.poll()), None)
            assert failed is None, failed.errors[-4000:]
        finally:
            for rank in ranks:
                rank.kill()
        return ranks


def next_program(channel: socket.socket) -> dict[str, Any] | None:
    """Returns a program in the fork that must run it, and None in the server when there are no more."""
    started: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MAX_BYTES, 3)
        started -= {pid for pid in started if os.waitpid(pid, os.WNOHANG) != (0, 0)}
        if not message:
            for pid in started:  # no process outlives the tests
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            return None
        pid = os.fork()
        if pid == 0:
            channel.close()
            _attend(descriptors)
            return json.loads(message)
        started.add(pid)
        for one in descriptors:
            os.close(one)


def _attend(descriptors: list[int]) -> None:
    """Forks again and returns in the second fork; the first one waits for it and reports its exit status."""
    output, errors, status = descriptors
    os.setsid()
    if pid := os.fork():
        os.write(status, f"{pid}\n".encode())
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(status, f"{ended}\n".encode())
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for one in descriptors:
        os.close(one)


def run_here(program: dict[str, Any]) -> None:
    """Runs a program as the main module of this process."""
    os.environ.clear()
    os.environ.update(program["env"])
    os.chdir(program["cwd"])
    random.seed()  # else all forks would draw the same numbers
    source, main = program["program"], types.ModuleType("__main__")
    where, first = "<string>", ""
    if program["is_path"]:
        main.__file__ = where = source
        source, first = Path(where).read_text(), str(Path(where).parent)
    sys.path[:1] = [first, *filter(None, program["env"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [where if program["is_path"] else "-c", *program["argv"]]
    sys.modules["__main__"] = main
    exec(compile(source, where, "exec"), main.__dict__)


def main() -> None:
    """The server that `Forks` starts. Arguments: descriptor of its channel, JSON list of absent modules, modules."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.modules |= dict.fromkeys(json.loads(sys.argv[2]))
    gc.disable()
    for name in sys.argv[3:]:
        importlib.import_module(name)
    gc.freeze()  # garbage collection in forks would otherwise visit all imports and copy their memory pages
    gc.enable()
    program = next_program(channel)
    if program is not None:
        run_here(program)


if __name__ == "__main__":
    main()

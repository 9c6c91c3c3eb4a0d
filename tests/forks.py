"""Processes that need not import torch and its kin again: forks of one that has, with an environment of their own.

    with Forks("training_run") as forks:
        process = forks.start(program_or_path, "--flag", env=..., cwd=...)

To import what hf_audio needs takes a process some 6 s of CPU time, and most tests that start processes are about
something else: a kill, two ranks, a library that must not be there. What is imported reads some variables once
(HF_HOME, HF_ENDPOINT, PYTHONHASHSEED), so tests about those start a fresh Python.
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

MAX_BYTES = 100_000  # of a request: a program and an environment
ANSWER_S = 240.0  # the first answer comes when all is imported: 7 s of CPU time, which a busy machine makes long


class Fork:
    """A process that runs a program. What it prints goes to files, so that nobody has to read it meanwhile."""

    def __init__(self, status: int, output: Path, errors: Path) -> None:
        self._status, self._output, self._errors, self._said = status, output, errors, b""
        self.returncode: int | None = None
        if not self._hear(ANSWER_S):
            raise RuntimeError("the process that should fork has ended, or takes too long to import its modules")
        pid, _, self._said = self._said.partition(b"\n")
        self.pid = int(pid)

    def _hear(self, timeout_s: float) -> bool:
        """Whether a line has come from the fork that waits for this one: first its number, then how it ended."""
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
        """Waits for its end, and kills it where that does not come."""
        if self.poll(timeout_s) is None:
            self.kill()
            raise AssertionError(f"still running after {timeout_s:g} s: {self.errors[-3000:]}")
        return self.returncode

    def kill(self) -> None:
        """SIGKILL, where it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill_once(self, has_happened: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """SIGKILL as soon as something has happened, until which it must run."""
        deadline = time.monotonic() + timeout_s
        try:
            while not has_happened():
                assert self.poll(0.01) is None and time.monotonic() < deadline, self.errors[-3000:]
        finally:
            self.kill()
            self.wait(10)

    @property
    def output(self) -> str:
        """What it has printed."""
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
            modules: what programs find imported.
            without: what no program can import.
            env: what the modules are imported with.
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
        """Starts Python code, or a script where `program` is a path."""
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
        """Runs a program in so many processes that find each other, as torchrun starts them; all must end well."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        place |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "OMP_NUM_THREADS": "1"}
        here = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
        ranks = [self.start(program, *argv, env={**(env or os.environ), **place, **own}, **options) for own in here]
        try:
            while any(rank.poll(0.01) is None for rank in ranks) and not any(rank.poll() for rank in ranks):
                pass  # pytest-timeout ends a wait that is too long
            failed = next((rank for rank in ranks if rank.poll()), None)
            assert failed is None, failed.errors[-4000:]
        finally:
            for rank in ranks:
                rank.kill()
        return ranks


def next_program(channel: socket.socket) -> dict[str, Any] | None:
    """Returns in the fork that is to run a program; None where no more will come."""
    started: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MAX_BYTES, 3)
        started -= {pid for pid in started if os.waitpid(pid, os.WNOHANG) != (0, 0)}
        if not message:
            for pid in started:  # nothing outlives the tests
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
    """Forks again, and returns there: the first fork waits for the second and tells how it ended."""
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
    random.seed()  # else all forks would draw the same
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
    """What `Forks` starts: descriptor of its channel, a JSON list of what must not be there, modules."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.modules |= dict.fromkeys(json.loads(sys.argv[2]))
    gc.disable()
    for name in sys.argv[3:]:
        importlib.import_module(name)
    gc.freeze()  # no fork's collector goes through what was imported, or copies its pages by that
    gc.enable()
    program = next_program(channel)
    if program is not None:
        run_here(program)


if __name__ == "__main__":
    main()

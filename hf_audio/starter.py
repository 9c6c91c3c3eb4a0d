"""Ends a process when the process that started it ends, for any reason."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO


def end_with_standard_input() -> None:
    """Ends this process, and those that it started, when its standard input is closed.

    The starting process holds the other end of a pipe, which the system closes when that process ends, even by SIGKILL.
    Otherwise, this process would keep running for nothing, and write to the same files as its successor.
    """
    threading.Thread(target=_wait_and_end, args=(sys.stdin.buffer,), daemon=True).start()


def _wait_and_end(stream: BinaryIO) -> None:
    while os.read(stream.fileno(), 1 << 10):
        pass
    if os.getpgrp() == os.getsid(0):  # started as a session, so the group has no other processes
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

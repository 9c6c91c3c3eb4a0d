"""The address of the service: taken before torch is imported and models are loaded, which takes seconds."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from hf_audio.errors import InputError, one_line

MAX_WAITING = 1024  # connections that the system holds until they are taken


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A place that is taken, but not answered at yet: who connects before `answer_at` is refused.

    Raises:
        InputError: no such place, or another program has it.
    """
    if not 0 <= port <= 65_535:
        raise InputError(f"A port is a number from 0 to 65535, found {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        own_socket = socket.socket(family, kind, protocol)
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own_socket.bind(address)
    except OSError as error:
        raise _taken(host, port, error) from error
    with own_socket:
        yield own_socket


def answer_at(own_socket: socket.socket) -> tuple[str, int]:
    """From here on clients can connect; the host and port.

    Raises:
        InputError: another service was started at the same time, and was faster.
    """
    host, port = own_socket.getsockname()[:2]
    try:
        own_socket.listen(MAX_WAITING)
    except OSError as error:
        raise _taken(host, port, error) from error
    return host, port


def _taken(host: str, port: int, error: OSError) -> InputError:
    return InputError(f"Nothing can listen at {host}, port {port} ({one_line(error)}): choose another")

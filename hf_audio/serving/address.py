"""The address of the service. It is bound before torch is imported and models are loaded, which takes seconds."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from hf_audio.errors import InputError, one_line

MAX_WAITING = 1024  # connections that the system queues until they are accepted


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Binds the address but does not listen yet: connections before `answer_at` are refused.

    Raises:
        InputError: the address does not exist, or another program uses it.
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
    """Starts listening, so that clients can connect; returns host and port.

    Raises:
        InputError: another service, started at the same time, already listens on it.
    """
    host, port = own_socket.getsockname()[:2]
    try:
        own_socket.listen(MAX_WAITING)
    except OSError as error:
        raise _taken(host, port, error) from error
    return host, port


def _taken(host: str, port: int, error: OSError) -> InputError:
    return InputError(f"Cannot listen on {host}, port {port} ({one_line(error)}): choose another host or port")

"""The process of the service: it listens once the models are loaded and warm, and ends after its last answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging.config
import signal
import socket
from collections.abc import Iterator

import uvicorn

from hf_audio.errors import InputError, one_line
from hf_audio.serving.access import TOKEN_VARIABLE
from hf_audio.serving.app import create_app
from hf_audio.serving.logs import log_settings
from hf_audio.serving.service import Service
from hf_audio.terminal import named_logger

logger = named_logger(__name__)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEEP_ALIVE_S = 30
MOST_CONNECTIONS = 1024  # that are open at once; the next one is told to come back
STOPS = (signal.SIGTERM, signal.SIGINT)


def serve(service: Service, *, host: str, port: int, token: str | None) -> None:
    """Answers requests until the process is told to end (SIGTERM, SIGINT), then finishes those that it has.

    Args:
        service: its models are loaded.
        host, port: where it listens; port 0 takes a free one, which the log names.
        token: that clients must send, if any.

    Raises:
        InputError: nothing can listen there.
    """
    logging.config.dictConfig(log_settings())
    if token is None and host not in LOOPBACK:
        logger.warning("Whoever reaches %s may ask: set %s so that clients must send a token", host, TOKEN_VARIABLE)
    with _listening(host, port) as own_socket:
        config = uvicorn.Config(
            create_app(service, token),
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=round(service.allowance.max_request_s) + 5,
        )
        address = f"http://{host}:{own_socket.getsockname()[1]}"
        logger.info("Serving %s at %s", ", ".join(service.models), address)
        asyncio.run(_Server(config).serve(sockets=[own_socket]))


class _Server(uvicorn.Server):
    """Ends with code 0 when it is told to stop: uvicorn's own raises the signal once more after its last answer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles the signals while the server runs."""
        before = {one: signal.signal(one, self.handle_exit) for one in STOPS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        own_socket = socket.socket(*found[:3])
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own_socket.bind(found[4])
    except (OSError, OverflowError) as error:
        raise InputError(
            f"Nothing can listen at {host}, port {port} ({one_line(error)}): choose another --port"
        ) from error
    with own_socket:
        yield own_socket

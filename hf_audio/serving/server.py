"""The server process: it listens after the models are loaded and warm, and exits after the last response."""

from __future__ import annotations

import asyncio
import contextlib
import logging.config
import signal
import socket
from collections.abc import Iterator

import uvicorn

from hf_audio.serving.access import TOKEN_VARIABLE
from hf_audio.serving.address import MAX_WAITING, answer_at
from hf_audio.serving.app import create_app
from hf_audio.serving.connection import Connection
from hf_audio.serving.logs import log_settings
from hf_audio.serving.service import Service
from hf_audio.terminal import named_logger

logger = named_logger(__name__)
LOOPBACK = ("127.0.0.1", "::1")
KEEP_ALIVE_S = 30
MAX_CONNECTIONS = 512  # open at the same time; requests on additional ones get a 503
STOPS = (signal.SIGTERM, signal.SIGINT)


def serve(service: Service, own_socket: socket.socket, token: str | None) -> None:
    """Answers requests until SIGTERM or SIGINT, then finishes the open ones.

    Args:
        service: with its models loaded.
        own_socket: the socket from `address.listening`.
        token: the token that clients must send, if any.
    """
    logging.config.dictConfig(log_settings())
    host, port = answer_at(own_socket)
    if token is None and host not in LOOPBACK:
        logger.warning(
            "Anyone who can reach %s can use the service: set %s to require a token from clients", host, TOKEN_VARIABLE
        )
    server = _Server(server_config(service, token), f"Serving {', '.join(service.models)} at http://{host}:{port}")
    asyncio.run(server.serve(sockets=[own_socket]))


def server_config(service: Service, token: str | None) -> uvicorn.Config:
    """Settings of uvicorn, with limits for headers, waiting times and the number of connections."""
    return uvicorn.Config(
        create_app(service, token),
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=MAX_WAITING,
        timeout_graceful_shutdown=round(service.allowance.max_request_s) + 5,
    )


class _Server(uvicorn.Server):
    """Logs when it listens, and exits with code 0 after a signal; uvicorn's own server raises the signal again."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening."""
        await super().startup(sockets)
        logger.info("%s", self._greeting)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles the signals while the server runs."""
        before = {one: signal.signal(one, self.handle_exit) for one in STOPS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

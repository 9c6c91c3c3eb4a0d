"""A service of tiny models for the tests: in this process with a real socket, or in a separate process.

python tests/serving_process.py ...      does what `hf-audio serve ...` does, in a process that a test can stop
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from hf_audio.serving.allowance import Allowance
from hf_audio.serving.metrics import Metrics
from hf_audio.serving.served_models import load_models
from hf_audio.serving.server import server_config
from hf_audio.serving.service import Service


@dataclass
class Running:
    """A running service at `url`."""

    url: str
    service: Service
    listening: socket.socket


@contextlib.contextmanager
def running(*specs: str | Path, token: str | None = None, **limits) -> Iterator[Running]:
    """Serves models over HTTP within the context."""
    allowance, metrics = Allowance(**limits), Metrics()
    service = Service(load_models([str(spec) for spec in specs], allowance, metrics), allowance, metrics)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(server_config(service, token))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        thread.start()
        try:
            yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", service, listening)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the service does not end"

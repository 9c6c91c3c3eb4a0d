"""How a request is processed: admitted, read, checked, decoded in a thread, and classified in a batch with others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import ClientDisconnect, Request

from hf_audio.environment import usable_cores
from hf_audio.errors import InputError, unknown_name
from hf_audio.serving.allowance import Allowance
from hf_audio.serving.decoding import Decoded, decode
from hf_audio.serving.logs import log_failure
from hf_audio.serving.metrics import Metrics
from hf_audio.serving.refusal import RefusalError, too_busy, too_slow
from hf_audio.serving.served_models import ServedModel
from hf_audio.serving.upload import Upload, read_upload
from hf_audio.tagging.tags import Tags


@dataclass(frozen=True)
class Judged:
    """A model's outputs for a recording: `found` is `[windows, ...]`."""

    model: ServedModel
    decoded: Decoded
    found: np.ndarray

    def tags(self) -> Tags:
        """The tags of the recording, if the outputs are logits."""
        return self.model.tags(self.decoded, self.found)


Accept = Callable[[Upload], dict[str, Any]]


class Service:
    """The models, and the state that all requests share.

    Args:
        models: by name; the first is the default.
        allowance: limits of every request.
        metrics: the metrics to update.
    """

    def __init__(self, models: dict[str, ServedModel], allowance: Allowance, metrics: Metrics) -> None:
        self.models, self.allowance, self.metrics = models, allowance, metrics
        self.running = 0
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decoding")

    @property
    def is_ready(self) -> bool:
        """Whether the threads of all models run."""
        return all(model.batcher.is_alive for model in self.models.values())

    def model_called(self, name: str | None) -> ServedModel:
        """A model by its name.

        Raises:
            RefusalError: 404, no model has this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RefusalError(404, str(unknown_name("model", name, self.models)), "model")
        return self.models[name]

    async def judge(self, request: Request, model: ServedModel, kind: str, accept: Accept) -> Judged:
        """Reads a request's recording and runs the model on all of its windows.

        Args:
            kind: LOGITS or EMBEDDINGS.
            accept: makes tagger settings from the upload, before anything is decoded.

        Raises:
            RefusalError: the service is busy, or the request is too large, too long, too slow or has no recording.
        """
        with self._admitted():
            until = time.monotonic() + self.allowance.max_request_s
            return await self._in_time(self._judged(request, model, kind, accept, until))

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Stops the threads after they finish their work."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for model in self.models.values():
            model.batcher.close()

    async def _judged(self, request: Request, model: ServedModel, kind: str, accept: Accept, until: float) -> Judged:
        upload = await self._upload(request)
        settings = model.settings(**accept(upload))
        self.metrics.received.inc(len(upload.content))
        work = partial(decode, model.tagger, upload.content, settings, self.allowance, until)
        del upload  # so that its bytes are freed after decoding
        decoded = await self.run(work)
        self._check_queue(model, len(decoded.starts_s))
        found = await self._answer(model, kind, decoded)
        self.metrics.heard.labels(model.name).inc(decoded.duration_s)
        return Judged(model, decoded, found)

    async def _upload(self, request: Request) -> Upload:
        limit_s = self.allowance.max_request_s
        try:
            return await asyncio.wait_for(read_upload(request, self.allowance), 0.9 * limit_s)
        except asyncio.TimeoutError as error:
            sentence = f"The recording did not arrive within {0.9 * limit_s:g} s: send a smaller one"
            raise RefusalError(408, sentence, "time", {"Connection": "close"}) from error
        except ClientDisconnect as error:
            raise RefusalError(
                400, "The connection was closed before the recording was complete", "disconnected"
            ) from error

    async def _answer(self, model: ServedModel, kind: str, decoded: Decoded) -> np.ndarray:
        try:
            found = await asyncio.wrap_future(model.submit(kind, decoded.windows))
        except InputError as error:
            raise RefusalError(422, str(error), "model") from error
        except Exception as error:
            log_failure(error, model=model.name)
            raise RefusalError(
                503, "The model failed on this recording: see the log of the service", "model"
            ) from error
        if not np.isfinite(found).all():
            raise RefusalError(422, "The model's outputs for this recording are not finite: check its samples", "model")
        return found

    def _check_queue(self, model: ServedModel, count: int) -> None:
        """Refuses a recording if too many windows of others are waiting."""
        waiting = model.batcher.waiting_windows
        if waiting + count > self.allowance.max_windows:
            raise too_busy(1, f"{waiting:,} windows of other recordings are waiting: try again in a second")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.running >= self.allowance.max_requests:
            raise too_busy(
                1, f"{self.running} requests are being processed, which is the maximum: try again in a second"
            )
        self.running += 1
        self.metrics.running.set(self.running)
        try:
            yield
        finally:
            self.running -= 1
            self.metrics.running.set(self.running)

    async def _in_time(self, answer: Any) -> Judged:
        try:
            return await asyncio.wait_for(answer, self.allowance.max_request_s)
        except asyncio.TimeoutError as error:
            raise too_slow(self.allowance.max_request_s) from error

"""The path of a request: admitted, read, checked, decoded in a thread, classified together with others."""

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
    """What a model says of a recording: `found` is `[windows, ...]`."""

    model: ServedModel
    decoded: Decoded
    found: np.ndarray

    def tags(self) -> Tags:
        """Of logits."""
        return self.model.tags(self.decoded, self.found)


Accept = Callable[[Upload], dict[str, Any]]


class Service:
    """The models, and what all requests share.

    Args:
        models: by name; the first is the default.
        allowance: limits of every request.
        metrics: where it counts.
    """

    def __init__(self, models: dict[str, ServedModel], allowance: Allowance, metrics: Metrics) -> None:
        self.models, self.allowance, self.metrics = models, allowance, metrics
        self.running = 0
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decoding")

    @property
    def is_ready(self) -> bool:
        """Whether every model's thread runs."""
        return all(model.batcher.is_alive for model in self.models.values())

    def model_called(self, name: str | None) -> ServedModel:
        """A model by its name.

        Raises:
            RefusalError: 404, there is none.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RefusalError(404, str(unknown_name("model", name, self.models)), "model")
        return self.models[name]

    async def judge(self, request: Request, model: ServedModel, kind: str, accept: Accept) -> Judged:
        """Reads a request's recording and judges all of its windows.

        Args:
            kind: LOGITS or EMBEDDINGS.
            accept: from what came with the recording to settings of the tagger, before anything is decoded.

        Raises:
            RefusalError: busy, too large, too long, too slow, no recording.
        """
        with self._admitted():
            until = time.monotonic() + self.allowance.max_request_s
            return await self._in_time(self._judged(request, model, kind, accept, until))

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs it in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Ends the threads, once they have done what they had."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for model in self.models.values():
            model.batcher.close()

    async def _judged(self, request: Request, model: ServedModel, kind: str, accept: Accept, until: float) -> Judged:
        upload = await self._upload(request)
        settings = model.settings(**accept(upload))
        self.metrics.received.inc(len(upload.content))
        work = partial(decode, model.tagger, upload.content, settings, self.allowance, until)
        del upload  # its bytes are held by the work alone
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
            raise RefusalError(400, "The connection ended before the recording did", "disconnected") from error

    async def _answer(self, model: ServedModel, kind: str, decoded: Decoded) -> np.ndarray:
        try:
            found = await asyncio.wrap_future(model.submit(kind, decoded.windows))
        except InputError as error:
            raise RefusalError(422, str(error), "model") from error
        except Exception as error:
            log_failure(error, model=model.name)
            raise RefusalError(
                503, "The model could not judge this recording: the log of the service says why", "model"
            ) from error
        if not np.isfinite(found).all():
            raise RefusalError(422, "The model answers this recording with numbers that are not finite", "model")
        return found

    def _check_queue(self, model: ServedModel, count: int) -> None:
        """Refuse what would have to wait for too many windows of others."""
        waiting = model.batcher.waiting_windows
        if waiting + count > self.allowance.max_windows:
            raise too_busy(1, f"{waiting:,} windows of other recordings are waiting: ask again in a second")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.running >= self.allowance.max_requests:
            raise too_busy(
                1, f"{self.running} requests are being answered, which is all at once: ask again in a second"
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

"""What happens around every request: authentication, timing, logging and metrics."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hf_audio.serving.access import check_token
from hf_audio.serving.logs import log_failure, log_request
from hf_audio.serving.metrics import Metrics
from hf_audio.serving.refusal import RefusalError
from hf_audio.serving.upload import discard_body

# Routes without authentication: they are for operators and reveal nothing about recordings.
OPEN = ("/health", "/ready", "/openapi.json", "/docs")
OTHER = "other"


class Gate:
    """The outermost layer of the application.

    Args:
        app: the application inside it.
        token: the token that clients must send, if any.
        routes: paths with their own metrics; all others are counted together.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, routes: Collection[str], metrics: Metrics) -> None:
        self.app, self.token, self.routes, self.metrics = app, token, frozenset(routes), metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, then logs and counts its outcome."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answered = _Answered(send)
        try:
            if scope["path"] not in OPEN:
                check_token(self.token, Headers(scope=scope).get("authorization"))
            await self.app(scope, receive, answered)
        except RefusalError as refused:
            await discard_body(Request(scope, receive))
            await error_response(refused)(scope, receive, answered)
        except Exception as error:
            log_failure(error, id=answered.id)
            if answered.status is None:
                response = error_response(RefusalError(500, "The service failed: see its log", "failure"))
                await response(scope, receive, answered)
        finally:
            self._report(scope, answered)

    def _report(self, scope: Scope, answered: _Answered) -> None:
        route = scope["path"] if scope["path"] in self.routes else OTHER
        seconds, status = time.monotonic() - answered.began, answered.status or 0
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if answered.reason:
            self.metrics.refused.labels(answered.reason).inc()
        log_request(
            id=answered.id,
            method=scope["method"] if scope["method"] in METHODS else OTHER,
            route=route,
            status=status,
            seconds=round(seconds, 4),
            **({"reason": answered.reason} if answered.reason else {}),
        )


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REASON = "x-refused"


def error_response(refused: RefusalError) -> JSONResponse:
    """A refusal as JSON; the Hub's clients show the text in `error`."""
    return JSONResponse({"error": refused.sentence}, refused.status, {**refused.headers, REASON: refused.reason})


class _Answered:
    """Passes a response on, adds the request's ID to its headers, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send, self.id, self.began = send, secrets.token_hex(8), time.monotonic()
        self.status: int | None = None
        self.reason = ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self.reason = headers.get(REASON, "")
            headers["x-request-id"] = self.id
        await self._send(message)

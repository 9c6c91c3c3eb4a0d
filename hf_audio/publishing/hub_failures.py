"""Errors of requests to the Hub: which of them are retried, and how they are reported."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

TEMPORARY_STATUS = frozenset({408, 412, 429, 500, 502, 503, 504})  # 412: another push came in between
TEMPORARY_ERRORS = (
    *(httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError),
    *(ConnectionError, TimeoutError),  # raised by hf_xet
    json.JSONDecodeError,  # a gateway answered with a web page instead of the Hub's JSON
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes: the client library wraps errors of its upload threads."""
    while error is not None:
        yield error
        error = error.__cause__


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the Hub's response; None if there was no response."""
    statuses = (cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError))
    return next(statuses, None)


def is_temporary(error: BaseException) -> bool:
    """Whether a retry may succeed."""
    if isinstance(error, OfflineModeIsEnabled):
        return False
    return status_of(error) in TEMPORARY_STATUS or any(isinstance(cause, TEMPORARY_ERRORS) for cause in _causes(error))


def first_line(error: BaseException) -> str:
    """First line of the server's message, or else of the network error."""
    known = [cause for cause in _causes(error) if isinstance(cause, (HfHubHTTPError, *TEMPORARY_ERRORS))]
    error = known[0] if known else error
    message = getattr(error, "server_message", None) or str(error) or type(error).__name__
    return message.strip().splitlines()[0]

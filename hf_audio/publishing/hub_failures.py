"""Failures between this machine and the Hub: which of them are retried, and how they are reported."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

PASSING_STATUS = frozenset({408, 412, 429, 500, 502, 503, 504})  # 412: another push came in between
PASSING_ERRORS = (
    *(httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError),
    *(ConnectionError, TimeoutError),  # hf_xet's
    json.JSONDecodeError,  # a gateway's web page where the client library expects the Hub's answer
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it: the client library wraps what happens in its uploading threads."""
    while error is not None:
        yield error
        error = error.__cause__


def status_of(error: BaseException) -> int | None:
    """The status of the Hub's answer; None where it did not answer."""
    statuses = (cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError))
    return next(statuses, None)


def may_pass(error: BaseException) -> bool:
    """Whether another try may fix it."""
    if isinstance(error, OfflineModeIsEnabled):
        return False
    return status_of(error) in PASSING_STATUS or any(isinstance(cause, PASSING_ERRORS) for cause in _causes(error))


def telling_line(error: BaseException) -> str:
    """First line of the server's own words, or of the error of the line."""
    telling = [cause for cause in _causes(error) if isinstance(cause, (HfHubHTTPError, *PASSING_ERRORS))]
    error = telling[0] if telling else error
    words = getattr(error, "server_message", None) or str(error) or type(error).__name__
    return words.strip().splitlines()[0]

"""Why a request is refused: a status, and one sentence for the client."""

from __future__ import annotations

from hf_audio.errors import printable

MAX_CHARS = 500


class RefusalError(Exception):
    """A response other than 200. The sentence may quote the client's data, so it is escaped and shortened.

    Args:
        status: HTTP status.
        sentence: what was found, what was expected, what to try.
        reason: one word for the metrics.
        headers: headers of the response.
    """

    def __init__(self, status: int, sentence: str, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.headers = status, reason, headers or {}
        self.sentence = printable(" ".join(sentence.split()))[:MAX_CHARS]


def too_busy(wait_s: float, sentence: str) -> RefusalError:
    """429: try again in this many seconds."""
    return RefusalError(429, sentence, "busy", {"Retry-After": str(max(1, round(wait_s)))})


def too_slow(limit_s: float) -> RefusalError:
    """503: the request took too long."""
    return RefusalError(
        503,
        f"No answer within {limit_s:g} s: send a shorter recording, or try again when the service is less busy",
        "time",
        {"Retry-After": str(max(1, round(limit_s)))},
    )

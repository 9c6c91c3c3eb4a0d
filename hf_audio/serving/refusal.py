"""Why a request is refused: a status, and one sentence for the client."""

from __future__ import annotations

from hf_audio.errors import printable

MAX_LETTERS = 500


class RefusalError(Exception):
    """An answer other than 200. The sentence may quote what the client sent: it is escaped and shortened.

    Args:
        status: of HTTP.
        sentence: what was found, what was expected, what to try.
        reason: one word for the metrics.
        headers: of the answer.
    """

    def __init__(self, status: int, sentence: str, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.headers = status, reason, headers or {}
        self.sentence = printable(" ".join(sentence.split()))[:MAX_LETTERS]


def too_busy(wait_s: float, sentence: str) -> RefusalError:
    """429: come back in this many seconds."""
    return RefusalError(429, sentence, "busy", {"Retry-After": str(max(1, round(wait_s)))})


def too_slow(limit_s: float) -> RefusalError:
    """503: the time that a request has is over."""
    return RefusalError(
        503,
        f"No answer within {limit_s:g} s: send a shorter recording, or ask again when there is less to do",
        "time",
        {"Retry-After": str(max(1, round(limit_s)))},
    )

"""Why a recording cannot be used, in a few words."""

from __future__ import annotations


class AudioError(Exception):
    """A file cannot be used; `reason` says why in a few words, e.g. "missing" or "silent"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def said(error: Exception) -> str:
    """The message of a library or the system, in one line and without the path."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if "not a regular file" in words:  # libsndfile's message for an MP3 without a single good frame, among others
        return "Format not recognised."
    return " ".join(words.split()) or type(error).__name__

"""The service's log: one JSON object per line on stderr, without names of files, addresses, headers or tokens."""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from hf_audio.errors import printable
from hf_audio.terminal import named_logger

logger = named_logger(__name__)


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Of an exception its type and place, since its text may quote what a client sent."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, tokens hidden."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        content: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "message": _sentence(record)}
        content |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0]:
            content["exception"], content["at"] = record.exc_info[0].__name__, _place(record.exc_info[2])
        return printable(json.dumps(content, ensure_ascii=True))


def _sentence(record: logging.LogRecord) -> str:
    """A message, and of one that is a whole traceback, as starlette writes at its end, the last line."""
    return (record.getMessage().strip().splitlines() or [""])[-1]


def _place(trace: TracebackType | None) -> list[str]:
    """Where it went wrong, from the outside in: the last names of files, and lines."""
    return [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(trace)][-8:]


def log_request(**facts: Any) -> None:
    """One answered request."""
    logger.info("request", extra={"facts": facts})


def log_failure(error: BaseException, **facts: Any) -> None:
    """What should not have happened."""
    logger.error("failure", exc_info=error, extra={"facts": facts})


def log_settings(level: str = "INFO") -> dict[str, Any]:
    """For logging.config: everything that is logged in the process goes through the formatter above."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"hf_audio": {"level": level}, "uvicorn": {"level": level}, "python_multipart": {"level": "ERROR"}},
    }

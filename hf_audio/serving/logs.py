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
    """A record as one line of JSON. Exceptions are logged without text, which may quote a client's data."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with tokens masked."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        content: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "message": _sentence(record)}
        content |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0]:
            content["exception"], content["at"] = record.exc_info[0].__name__, _place(record.exc_info[2])
        return printable(json.dumps(content, ensure_ascii=True))


def _sentence(record: logging.LogRecord) -> str:
    """The last line of a message: when starlette shuts down with an error, the message is a whole traceback."""
    return (record.getMessage().strip().splitlines() or [""])[-1]


def _place(trace: TracebackType | None) -> list[str]:
    """Where the error occurred: file names and lines, the innermost last."""
    return [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(trace)][-8:]


def log_request(**facts: Any) -> None:
    """Logs an answered request."""
    logger.info("request", extra={"facts": facts})


def log_failure(error: BaseException, **facts: Any) -> None:
    """Logs an unexpected error."""
    logger.error("failure", exc_info=error, extra={"facts": facts})


def log_settings(level: str = "INFO") -> dict[str, Any]:
    """Settings for logging.config that send all logs of the process through the formatter above."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"hf_audio": {"level": level}, "uvicorn": {"level": level}, "python_multipart": {"level": "ERROR"}},
    }

"""Output to terminals and logs, in which untrusted names of files and classes cannot move the cursor or fake a line.

All logging, printing and progress bars of the package use these three functions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

from hf_audio.errors import printable

ProgressBar = tqdm


def named_logger(name: str) -> logging.Logger:
    """The logger `name`, whose messages are escaped to one printable line each."""
    logger = logging.getLogger(name)
    if _escape not in logger.filters:
        logger.addFilter(_escape)
    return logger


def progress(steps: Iterable | None = None, *, desc: str, **settings: Any) -> tqdm:
    """A progress bar over `steps`, or one that is updated by hand; `settings` are tqdm's."""
    return tqdm(steps, desc=printable(desc), **settings)


def show(text: object) -> None:
    """Prints lines of text, and flushes them."""
    print("\n".join(map(printable, str(text).split("\n"))), flush=True)


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True

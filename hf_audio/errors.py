"""The exception whose message is for users, and how a program exits with it."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
import os
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator

MAX_COMPARED_CHARS = 200  # per name: the time to compare two names grows with the product of their lengths
MIN_PREFIX_CHARS = 3
MAX_LISTED = 20
TOKEN_LIKE = r"\bhf_[A-Za-z0-9]{24,}"  # of the Hugging Face Hub: currently hf_ and 34 characters


class InputError(ValueError):
    """The user's input cannot be used. The message is one sentence: what was found, what was expected, what to try.

    Recipes and scripts print it without a stack trace, and exit with code 2. Names of files and classes in it may be
    untrusted, so characters that would move a terminal's cursor or hide text are escaped.
    """

    def __init__(self, message: str) -> None:
        # torch re-raises errors of DataLoader workers with a message that is the stack trace followed by ours
        super().__init__(printable(message.rstrip().rpartition(f"{__name__}.InputError: ")[2]))


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The entry of `names` that is most similar to `name`, or None if none is.

    A common prefix counts more than similarity: for "learn" it is "learning_rate", although "loss" is more similar.
    """
    names = [other for other in names if len(other) <= MAX_COMPARED_CHARS]
    can_be_prefix = len(name) >= MIN_PREFIX_CHARS
    longer = [other for other in names if can_be_prefix and other.casefold().startswith(name.casefold())]
    if longer:
        return min(longer, key=lambda other: (len(other), other))
    matches = difflib.get_close_matches(name[:MAX_COMPARED_CHARS], names, n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, names: Iterable[str]) -> InputError:
    """The error for a misspelled name: suggests the nearest valid name, or lists at most 20 valid names."""
    names = sorted(names)
    guess = nearest_name(name, names)
    hint = f"did you mean {guess!r}?" if guess else f"expected one of: {listed(names)}"
    return InputError(f"Unknown {kind} {name!r}: {hint}")


def listed(names: Iterable[str]) -> str:
    """Names for a message, at most 20 of them.

    >>> listed(f"c{number}" for number in range(22)).endswith("c19 and 2 more")
    True
    """
    names = list(names)
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def printable(text: object) -> str:
    """A text that is safe for a terminal or a log: control, direction and invalid characters escaped, tokens masked.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    text = re.sub(TOKEN_LIKE, "hf_...", str(text))
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else ascii(letter)[1:-1] for letter in text)


def _is_shown(letter: str) -> bool:
    joiners = "\u200c\u200d"  # needed by some scripts and emoji
    return letter.isprintable() or letter in joiners or unicodedata.category(letter) in ("Zs", "Co", "Cn")


def one_line(error: object) -> str:
    """An exception's message on one line, for quoting in another message; its type if it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Wraps a whole program: an InputError ends it with one sentence on stderr and exit code 2.

    It also skips the final garbage collection, in which Python would needlessly scan all objects of torch and
    transformers once more (1.5 s of CPU time).
    """
    atexit.register(gc.freeze)
    try:
        yield
    except InputError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(
                3
            )  # most errors occur in every process: the launcher ends the others after the first one's message
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)

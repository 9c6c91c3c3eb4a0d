"""The one exception whose message is for users, and how a program ends on it."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
import html
import os
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator

MAX_COMPARED_LETTERS = 200  # of a name: the time that it takes to compare two grows with the product of their lengths
MIN_BEGINNING = 3  # letters of a name that is a beginning of another
MAX_LISTED = 20
TOKEN_LIKE = r"\bhf_[A-Za-z0-9]{24,}"  # of the Hugging Face Hub: hf_ and 34 letters today


class InputError(ValueError):
    """What the user gave cannot be used. The message is one sentence: what was found, what was expected, what to try.

    Recipes and scripts print it alone, without a stack trace, and exit with code 2. Names of files and classes that it
    quotes may be untrusted, so what would move a terminal's cursor or hide a part of it is escaped.
    """

    def __init__(self, message: str) -> None:
        # of one raised in a DataLoader's worker, torch makes another, whose message is the stack trace with ours behind
        super().__init__(printable(message.rstrip().rpartition(f"{__name__}.InputError: ")[2]))


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The entry of `names` that `name` most likely stands for, or None when none is close.

    A beginning counts more than likeness: of "learn" that is "learning_rate", although "loss" has more letters of it.
    """
    names = [other for other in names if len(other) <= MAX_COMPARED_LETTERS]
    begun = [other for other in names if len(name) >= MIN_BEGINNING and other.casefold().startswith(name.casefold())]
    if begun:
        return min(begun, key=lambda other: (len(other), other))
    matches = difflib.get_close_matches(name[:MAX_COMPARED_LETTERS], names, n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, names: Iterable[str]) -> InputError:
    """The error for a misspelt name: names the nearest right one, else lists those that there are, at most 20."""
    names = sorted(names)
    guess = nearest_name(name, names)
    hint = f"did you mean {guess!r}?" if guess else f"there are: {listed(names)}"
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
    """A text as a terminal and a log can show it: control, direction and invalid characters escaped, tokens hidden.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    text = re.sub(TOKEN_LIKE, "hf_...", str(text))
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else ascii(letter)[1:-1] for letter in text)


def as_html(text: object) -> str:
    """One line of text as a page can show it, between tags or in an attribute, by the same rule."""
    return html.escape(printable(text))


def _is_shown(letter: str) -> bool:
    joiners = "\u200c\u200d"  # which some scripts and emoji are written with
    return letter.isprintable() or letter in joiners or unicodedata.category(letter) in ("Zs", "Co", "Cn")


def one_line(error: object) -> str:
    """What an exception says, as a message of one sentence can quote it; where it says nothing, its kind."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Around a whole program: an InputError ends it with its one sentence on stderr and exit code 2.

    As a program ends, Python would go through all that torch and transformers made once more, 1.5 s of CPU time for
    nothing: that is left out.
    """
    atexit.register(gc.freeze)
    try:
        yield
    except InputError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(3)  # most errors meet every process: the launcher ends the others once the first has spoken
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)

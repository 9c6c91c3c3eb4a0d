"""Paths and tokens, which are private, and how they are kept out of everything that is published."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from mmap import mmap
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub import get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_audio.errors import TOKEN_LIKE, InputError
from hf_audio.files import write_atomically

# A path within a text, from its root, the home folder or a folder above: "cache=/home/me/x", "../mine/y"
PATH_IN_TEXT = re.compile(r"(?<![\w.])(?:~[\w.-]*|\.{1,2}|[A-Za-z]:)?[\\/][^\s'\",;]+")
SHORTEST_TOKEN = 8  # what is shorter is not a token, and would be found in every text

_given_tokens: set[str] = set()


def public_value(value: Any) -> Any:
    """A setting as it may stand in a report, nested or not: of paths only the last name, of objects their text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {public_value(str(key)): public_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [public_value(one) for one in value]
    text = str(value)
    if isinstance(value, Path) or _is_path_elsewhere(text):
        return last_name(text)
    return PATH_IN_TEXT.sub(lambda found: last_name(found[0]), text)


def public_name(name: str) -> str:
    """The name by which others know a checkpoint or dataset: its Hub name, or the last name of a folder's path."""
    return name if is_repo_id(name) and not Path(name).expanduser().exists() else last_name(name)


def last_name(path: str) -> str:
    """The last part of a path, also of "." and similar."""
    if "\\" in path:
        return PureWindowsPath(path).name
    return Path(os.path.abspath(os.path.expanduser(path))).name


def is_repo_id(name: str | None) -> bool:
    """Whether something can be the name of a repository, with its namespace in front or without."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(name)


def require_repo_ids(*names: str | None) -> None:
    """Raises InputError where one of the names that are given cannot be that of a repository."""
    for name in names:
        if name is not None and not is_repo_id(name):
            raise InputError(f"{name!r} cannot be the name of a repository, expected name or namespace/name")


def remember_token(token: str | None) -> None:
    """A token that was given to this process: from now on nothing that holds it is written for others or pushed.

    Raises:
        InputError: it is not text, as where a file of settings holds something else.
    """
    if token is None:
        return
    if not isinstance(token, str):
        raise InputError(f"A Hub token is a text that begins with hf_, found a {type(token).__name__}: check hub_token")
    _given_tokens.add(token)


def require_no_token(content: bytes | mmap, name: str) -> None:
    """The last look at a text before others see it.

    Args:
        content: bytes, or what can be searched like them.
        name: what the content is of, for the message.

    Raises:
        InputError: it holds a token that was given here, one that this machine is logged in with, or one that looks
            like the Hub's.
    """
    known = (token for token in {*_given_tokens, get_token() or ""} if len(token) >= SHORTEST_TOKEN)
    if any(content.find(token.encode()) >= 0 for token in known) or re.search(TOKEN_LIKE.encode(), content):
        raise InputError(
            f"{name} holds a Hugging Face token, which anyone who reads it could use: take it out of the setting or "
            "file "
            "that it comes from; a token that others may have seen is to be replaced by a new one on the Hub"
        )


def write_published(path: Path, text: str) -> None:
    """Writes a text that is to be published: the one way by which cards and reports are written.

    Raises:
        InputError: it holds a token.
    """
    require_no_token(text.encode(), str(path))
    write_atomically(path, text)


def _is_path_elsewhere(text: str) -> bool:
    """Whether a text as a whole is a path from a root, from a home folder, or through a folder above."""
    kinds = (PurePosixPath(text), PureWindowsPath(text))
    return text.startswith("~") or any(kind.is_absolute() or ".." in kind.parts for kind in kinds)

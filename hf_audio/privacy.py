"""Keeps private paths and tokens out of everything that is published."""

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

# A path within a text, starting at the root, the home folder or a parent folder: "cache=/home/me/x", "../mine/y"
PATH_IN_TEXT = re.compile(r"(?<![\w.])(?:~[\w.-]*|\.{1,2}|[A-Za-z]:)?[\\/][^\s'\",;]+")
MIN_TOKEN_CHARS = 8  # shorter texts are not tokens, and would be found everywhere

_given_tokens: set[str] = set()


def public_value(value: Any) -> Any:
    """A setting, nested or not, for a report: paths become their last part, objects their text."""
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
    """The public name of a checkpoint or dataset: its Hub name, or the last part of a folder's path."""
    return name if is_repo_id(name) and not Path(name).expanduser().exists() else last_name(name)


def last_name(path: str) -> str:
    """The last part of a path, also of "." and similar."""
    if "\\" in path:
        return PureWindowsPath(path).name
    return Path(os.path.abspath(os.path.expanduser(path))).name


def is_repo_id(name: str | None) -> bool:
    """Whether a text is a valid repository name, with or without a namespace."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(name)


def require_repo_ids(*names: str | None) -> None:
    """Raises InputError if one of the names is not a valid repository name."""
    for name in names:
        if name is not None and not is_repo_id(name):
            raise InputError(f"{name!r} is not a valid repository name, expected name or namespace/name")


def remember_token(token: str | None) -> None:
    """Remembers a token given to this process: from then on, texts that contain it are neither published nor pushed.

    Raises:
        InputError: it is not a string, which can happen with a settings file.
    """
    if token is None:
        return
    if not isinstance(token, str):
        raise InputError(
            f"A Hub token is a string that starts with hf_, found a {type(token).__name__}: check hub_token"
        )
    _given_tokens.add(token)


def require_no_token(content: bytes | mmap, name: str) -> None:
    """Checks a text for tokens before it is published.

    Args:
        content: bytes, or a mapped file.
        name: name of the content, for the message.

    Raises:
        InputError: it contains a token that was given to this process, the token of this machine's login, or a text
            that looks like a token of the Hub.
    """
    known = (token for token in {*_given_tokens, get_token() or ""} if len(token) >= MIN_TOKEN_CHARS)
    if any(content.find(token.encode()) >= 0 for token in known) or re.search(TOKEN_LIKE.encode(), content):
        raise InputError(
            f"{name} contains a Hugging Face token, which any reader could use: remove it from the setting or file "
            "that it comes from. If others may have seen the token, replace it on the Hub"
        )


def write_published(path: Path, text: str) -> None:
    """Writes a text to be published; all cards and reports are written this way.

    Raises:
        InputError: it contains a token.
    """
    require_no_token(text.encode(), str(path))
    write_atomically(path, text)


def _is_path_elsewhere(text: str) -> bool:
    """Whether a whole text is an absolute path, a path from a home folder, or one through a parent folder."""
    kinds = (PurePosixPath(text), PureWindowsPath(text))
    return text.startswith("~") or any(kind.is_absolute() or ".." in kind.parts for kind in kinds)

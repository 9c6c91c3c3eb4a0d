"""Recognizes finished work by the facts that it depends on, which are written down before it starts.

A result alone does not show which settings, recordings and weights it came from, so its name is not enough to reuse it.
The facts are a small object that can be compared; long facts are represented by a `digest`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError
from hf_audio.files import open_regular, read_json, write_json

DIGEST = re.compile(r"[0-9a-f]{16,64}")  # means nothing to readers, so messages give only its name
MAX_SHOWN_CHARS = 80  # per value
SHOWN_BEFORE = 32  # characters shown before a difference
MAX_NAMED = 4
OF_A_MODEL = re.compile(
    r"(config|preprocessor_config|adapter_config|manifest)\.json|.*\.(safetensors|skops|bin|parquet)"
)
BESIDE_A_MODEL = {"checkpoints", "tensorboard", "features", ".build"}  # folders in a run folder


def claim(path: Path, what: str, decides: Mapping[str, Any], otherwise: str) -> None:
    """Writes down the facts that some work depends on, before it starts. Existing facts must be the same.

    Args:
        path: the file of facts, in an existing folder.
        what: name of the work in messages: "the run of fold 1".
        decides: everything that the result depends on, by names that users know.
        otherwise: advice if the facts differ.

    Raises:
        InputError: the facts differ; the message names the differences.
    """
    if path.exists():
        require_same(what, read_json(path), decides, otherwise)
    else:
        write_json(path, as_facts(decides))


def require_same(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], otherwise: str) -> None:
    """Raises InputError if the facts of the found work differ from the wanted ones."""
    differing = differences(found, wanted)
    if differing:
        more = f" and {len(differing) - MAX_NAMED} more" if len(differing) > MAX_NAMED else ""
        raise InputError(f"{what} differs in: {', '.join(differing[:MAX_NAMED])}{more}; {otherwise}")


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> list[str]:
    """The differences between two sets of facts, in words. A missing fact equals None."""
    found, wanted = as_facts(found), as_facts(wanted)
    words = []
    for name in sorted(found.keys() | wanted.keys()):
        was, now = found.get(name), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            words += differences(was, now, f"{within}{name}.")
        elif was != now:
            is_digest = any(isinstance(one, str) and DIGEST.fullmatch(one) for one in (was, now))
            shown = name if is_digest else "{} was {} and is now {}".format(name, *_shown(was, now))
            words.append(within + shown)
    return words


def as_facts(decides: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON returns them: tuples become lists, other objects their text."""
    return json.loads(json.dumps(decides, default=str))


def digest(facts: Iterable[Any]) -> str:
    """A short hash of a sequence of JSON-serializable facts."""
    found = hashlib.sha256()
    for fact in facts:
        found.update(json.dumps(fact, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return found.hexdigest()


def digest_of_files(paths: Iterable[str | Path]) -> str:
    """A hash of the sizes and modification times of files; missing files count too."""
    return digest(_size_and_time(path) for path in paths)


def digest_of_folder(folder: Path) -> str:
    """A hash of the files of a model or a feature dataset, independent of their location and time.

    Weights and settings are compared by content, since a resumed run writes the same ones again. Shards, which a
    manifest describes, are compared only by size.
    """
    names = [path.relative_to(folder) for path in folder.rglob("*") if OF_A_MODEL.fullmatch(path.name)]
    parts = sorted(name for name in names if BESIDE_A_MODEL.isdisjoint(name.parts) and (folder / name).is_file())
    return digest([part.as_posix(), _content(folder / part)] for part in parts)


def _shown(was: Any, now: Any) -> tuple[str, str]:
    """Two differing values for a message; long ones start shortly before the first difference."""
    texts = repr(was), repr(now)
    first = next((place for place, (one, two) in enumerate(zip(*texts, strict=False)) if one != two), 0)
    is_long = max(map(len, texts)) > MAX_SHOWN_CHARS
    start = texts[0].rfind(" ", 0, max(0, first - SHOWN_BEFORE)) + 1 if is_long else 0  # at a whole word
    was_shown, now_shown = (
        ("... " if start else "")
        + text[start : start + MAX_SHOWN_CHARS]
        + (" ..." if len(text) > start + MAX_SHOWN_CHARS else "")
        for text in texts
    )
    return was_shown, now_shown


def _content(path: Path) -> int | str:
    if path.suffix == ".parquet":
        return path.stat().st_size
    found = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _size_and_time(path: str | Path) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]

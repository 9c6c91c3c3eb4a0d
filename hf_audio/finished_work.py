"""How finished work is recognized: by what decided it, written down before it began.

A result says nothing of the settings, recordings and weights that it came from, so that none is taken for finished work
because of its name alone. What decides is an object of named facts, small enough to compare: long ones are a `digest`.
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

DIGEST = re.compile(r"[0-9a-f]{16,64}")  # says nothing to people: only its name does
LONGEST_SHOWN = 80  # characters of a value
SHOWN_BEFORE = 32  # of them in front of a difference
MAX_NAMED = 4
OF_A_MODEL = re.compile(
    r"(config|preprocessor_config|adapter_config|manifest)\.json|.*\.(safetensors|skops|bin|parquet)"
)
BESIDE_A_MODEL = {"checkpoints", "tensorboard", "features", ".build"}  # folders in a run folder


def claim(path: Path, what: str, decides: Mapping[str, Any], otherwise: str) -> None:
    """Writes down what decides some work before it starts; where that is done already, it must be the same.

    Args:
        path: the file of facts; its folder is there.
        what: lies there, as the message calls it: "the run of fold 1".
        decides: everything that the result depends on, by names that people know.
        otherwise: what to do where it is not the same.

    Raises:
        InputError: other work lies there; the sentence names what differs.
    """
    if path.exists():
        require_same(what, read_json(path), decides, otherwise)
    else:
        write_json(path, as_facts(decides))


def require_same(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], otherwise: str) -> None:
    """Raises InputError where the facts of work that was found are not those that are wanted."""
    differing = differences(found, wanted)
    if differing:
        more = f" and {len(differing) - MAX_NAMED} more" if len(differing) > MAX_NAMED else ""
        raise InputError(f"{what} differs in: {', '.join(differing[:MAX_NAMED])}{more}; {otherwise}")


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> list[str]:
    """What two sets of facts disagree on, in words; a fact that is missing is as good as one that is None."""
    found, wanted = as_facts(found), as_facts(wanted)
    words = []
    for name in sorted(found.keys() | wanted.keys()):
        was, now = found.get(name), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            words += differences(was, now, f"{within}{name}.")
        elif was != now:
            is_digest = any(isinstance(one, str) and DIGEST.fullmatch(one) for one in (was, now))
            shown = name if is_digest else "{} was {} and now is {}".format(name, *_shown(was, now))
            words.append(within + shown)
    return words


def as_facts(decides: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they are read back from JSON: tuples are lists, other objects their text."""
    return json.loads(json.dumps(decides, default=str))


def digest(facts: Iterable[Any]) -> str:
    """One short text for many facts, each JSON-able, in their order."""
    found = hashlib.sha256()
    for fact in facts:
        found.update(json.dumps(fact, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return found.hexdigest()


def digest_of_files(paths: Iterable[str | Path]) -> str:
    """Of the sizes and times of files; one that is not there is a fact too."""
    return digest(_size_and_time(path) for path in paths)


def digest_of_folder(folder: Path) -> str:
    """Of what a model or a feature dataset consists of, wherever it lies and whenever it was written.

    Weights and settings count by their content: a run that is taken up again writes the same ones again. Of shards,
    which a manifest describes, the size has to do.
    """
    names = [path.relative_to(folder) for path in folder.rglob("*") if OF_A_MODEL.fullmatch(path.name)]
    parts = sorted(name for name in names if BESIDE_A_MODEL.isdisjoint(name.parts) and (folder / name).is_file())
    return digest([part.as_posix(), _content(folder / part)] for part in parts)


def _shown(was: Any, now: Any) -> tuple[str, str]:
    """Two values that differ, long ones from a little before the place where they begin to."""
    texts = repr(was), repr(now)
    alike = next((place for place, (one, two) in enumerate(zip(*texts, strict=False)) if one != two), 0)
    is_long = max(map(len, texts)) > LONGEST_SHOWN
    start = texts[0].rfind(" ", 0, max(0, alike - SHOWN_BEFORE)) + 1 if is_long else 0  # of a whole word
    was_shown, now_shown = (
        ("... " if start else "")
        + text[start : start + LONGEST_SHOWN]
        + (" ..." if len(text) > start + LONGEST_SHOWN else "")
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

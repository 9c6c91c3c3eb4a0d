"""Writes tags and embeddings to a file, a folder with one file per recording, or standard output.

    tags.csv.partial     during the run: the settings, then one line per finished recording
    tags.csv             at the end: all recordings, in their order

Files and folders can be resumed by running the same command again. Recordings that changed in the meantime are tagged
again. Different settings or a different model are an error, since a result must come from one of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from hf_audio.errors import InputError, one_line
from hf_audio.files import atomic_file, open_for_writing, open_regular, write_atomically
from hf_audio.finished_work import as_facts, require_same
from hf_audio.locks import locked
from hf_audio.tagging.formats import Format
from hf_audio.tagging.found_files import FoundFile
from hf_audio.tagging.tags import Tags

SUFFIX = ".partial"
OF_FOLDER = f".tags{SUFFIX}"
MAX_LINE_BYTES = 1 << 30


class Results(ABC):
    """Collects the tags of recordings in any order, as they become available."""

    @abstractmethod
    def open(self) -> contextlib.AbstractContextManager[list[int]]:
        """Starts or resumes; yields the indices of recordings that are already finished."""

    @abstractmethod
    def add(self, number: int, tags: Tags) -> None:
        """Adds the tags of the recording with this index."""

    @abstractmethod
    def skip(self, number: int) -> None:
        """Skips the recording with this index, which cannot be read."""

    @abstractmethod
    def finish(self) -> None:
        """Completes the result after all recordings were added or skipped."""


class OnStream(Results):
    """Writes to standard output, each recording as soon as all those before it are done."""

    def __init__(self, form: Format, stream: TextIO | None = None) -> None:
        self.form, self.stream = form, stream or sys.stdout
        if self.stream is None:
            raise InputError("Standard output is closed: use --output")
        self._waiting: dict[int, str | None] = {}
        self._next, self._has_begun = 0, False

    @contextlib.contextmanager
    def open(self) -> Iterator[list[int]]:
        self._write(self.form.begin)
        yield []

    def add(self, number: int, tags: Tags) -> None:
        self._take(number, self.form.text(tags))

    def skip(self, number: int) -> None:
        self._take(number, None)

    def finish(self) -> None:
        self._write(self.form.end)

    def _take(self, number: int, text: str | None) -> None:
        self._waiting[number] = text
        while self._next in self._waiting:
            ready = self._waiting.pop(self._next)
            self._next += 1
            if ready is not None:
                self._write((self.form.between if self._has_begun else "") + ready)
                self._has_begun = True

    def _write(self, text: str) -> None:
        """Writes UTF-8 with unchanged line endings, whatever the terminal's locale."""
        binary = getattr(self.stream, "buffer", None)
        if binary is None:
            self.stream.write(text)
        else:
            binary.write(text.encode("utf-8", "surrogateescape"))
        self.stream.flush()


class InPlace(Results):
    """What files and folders have in common: a partial result next to them.

    Args:
        output: path of the result.
        form: its format.
        files: the recordings.
        facts: everything that the result depends on, by names that users know.
    """

    def __init__(self, output: Path, form: Format, files: Sequence[FoundFile], facts: Mapping[str, Any]) -> None:
        self.output, self.form, self.files, self.facts = output, form, files, as_facts(facts)
        self._finished: dict[int, int] = {}  # offset of a recording's line

    @property
    @abstractmethod
    def partial(self) -> Path:
        """Path of the partial result."""

    @abstractmethod
    def stored(self, number: int, tags: Tags) -> str:
        """The text that the partial result stores for a recording."""

    @contextlib.contextmanager
    def open(self) -> Iterator[list[int]]:
        with locked(self.partial.with_suffix(".lock"), f"writing {self.output}", wait=False):
            self._check_free()
            self._stamps = [_stamp(one.path) for one in self.files]
            self._resume()
            with open_for_writing(self.partial, "ab") as self._file:
                yield sorted(self._finished)
        if not self.partial.exists():
            self.partial.with_suffix(".lock").unlink(missing_ok=True)

    def add(self, number: int, tags: Tags) -> None:
        line = {"file": self.files[number].path, "stamp": self._stamps[number], "text": self.stored(number, tags)}
        self._finished[number] = self._file.seek(0, io.SEEK_END)
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def skip(self, number: int) -> None:
        pass  # a second run tries it again

    def _check_free(self) -> None:
        """Raises InputError if the result would replace something."""

    def _resume(self) -> None:
        """Reads the partial result of an interrupted run, or starts a new one."""
        if not self.partial.exists():
            write_atomically(self.partial, json.dumps(self.facts) + "\n")
            return
        numbers = {one.path: number for number, one in enumerate(self.files)}
        with open_for_writing(self.partial, "r+b") as file:
            facts = self._parsed(file.readline(MAX_LINE_BYTES))
            advice = f"use the earlier ones, or remove {self.partial} to start over"
            require_same(f"The unfinished {self.output}", facts, self.facts, advice)
            at = file.tell()
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                if not line.endswith(b"\n"):
                    file.truncate(at)  # the incomplete line of a killed run
                    break
                found = self._parsed(line)
                if not all(isinstance(found.get(name), str) for name in ("file", "text")):
                    raise self._damaged("a line without file and text")
                number = numbers.get(found["file"])
                if number is not None and self._is_unchanged(number, found):
                    self._finished[number] = at
                at += len(line)

    def _is_unchanged(self, number: int, found: Mapping[str, Any]) -> bool:
        """Whether a recording is unchanged and its result exists."""
        stamp = self._stamps[number]
        return stamp is not None and found.get("stamp") == stamp and self._has_result(number)

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(one_line(error)) from error
        if not isinstance(found, dict):
            raise self._damaged("not an object")
        return found

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.partial} is not a list of finished recordings ({reason}): remove it to process all recordings again"
        )

    def _has_result(self, number: int) -> bool:
        return True

    def _texts(self) -> Iterator[str]:
        """The stored texts of all recordings, in their order."""
        with open_regular(self.partial) as file:
            for number in sorted(self._finished):
                file.seek(self._finished[number])
                yield self._parsed(file.readline(MAX_LINE_BYTES))["text"]


class InFile(InPlace):
    """One file with all recordings in their order."""

    @property
    def partial(self) -> Path:
        return self.output.with_name(self.output.name + SUFFIX)

    def stored(self, number: int, tags: Tags) -> str:
        return self.form.text(tags)

    def finish(self) -> None:
        with atomic_file(self.output) as file:
            file.write(self.form.begin.encode())
            for place, text in enumerate(self._texts()):
                file.write(((self.form.between if place else "") + text).encode("utf-8", "surrogateescape"))
            file.write(self.form.end.encode())
        self.partial.unlink()

    def _check_free(self) -> None:
        if self.output.is_dir():
            raise InputError(f"{self.output} is a folder: use a file in it as --output")
        if os.path.lexists(self.output):
            raise InputError(f"{self.output} already exists: remove it, or use another --output")


class InFolder(InPlace):
    """A folder with one file per recording, whose relative path is that of the recording in the given folder."""

    @property
    def partial(self) -> Path:
        return self.output / OF_FOLDER

    def target(self, number: int) -> Path:
        """The file of a recording."""
        return self.output / f"{self.files[number].name}{self.form.suffix}"

    @contextlib.contextmanager
    def open(self) -> Iterator[list[int]]:
        self._check_names()
        if os.path.lexists(self.output) and not self.output.is_dir():
            raise InputError(f"{self.output} is a file: use a folder as --output, for one file per recording")
        self.output.mkdir(parents=True, exist_ok=True)
        with super().open() as finished:
            yield finished

    def stored(self, number: int, tags: Tags) -> str:
        target = self.target(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, self.form.text(tags))
        return ""

    def finish(self) -> None:
        self.partial.unlink()

    def _has_result(self, number: int) -> bool:
        return self.target(number).is_file()

    def _check_free(self) -> None:
        if self.partial.exists():
            return
        for number in range(len(self.files)):
            if os.path.lexists(self.target(number)):
                raise InputError(f"{self.target(number)} already exists: remove it, or use another --output")

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for one in self.files:
            other = seen.setdefault(one.name, one.path)
            if other != one.path:
                raise InputError(
                    f"{other} and {one.path} would both be written to {one.name}{self.form.suffix} in {self.output}: "
                    "use their parent folder instead"
                )


def _stamp(path: str) -> list[int] | None:
    """Size and modification time of a file, to detect changed files."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]

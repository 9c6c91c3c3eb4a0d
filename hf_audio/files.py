"""Reads and writes files: files that are read completely are checked first, and all files are written atomically.

The files in a folder may be untrusted, or not what their names suggest: a pipe that never ends, a terabyte-sized table,
a link to somewhere else. So files that are read completely must be regular files of limited size.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from hf_audio.errors import InputError, one_line

# For configs and manifests. The largest known one, a manifest with the classes of AudioSet, has about 50 kB.
MAX_JSON_BYTES = 16 << 20
# For tables with a row per clip: an index of a million clips takes about 150 MB.
MAX_TABLE_BYTES = 4 << 30
# For lists of files and annotations of one recording, and for class names.
MAX_TEXT_BYTES = 64 << 20
MAX_LABELS_BYTES = 1 << 16
MAX_YAML_DEPTH = 10  # the annotations of MedleyDB have 6
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe would wait


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a regular file for reading, without waiting if the path is a pipe or device.

    Raises:
        InputError: it does not exist, is not a regular file, or cannot be read.
    """
    return open(path, "rb", opener=lambda *_: regular_descriptor(path))


def regular_descriptor(path: str | Path) -> int:
    """The descriptor of an open file, for reading a few bytes of many files: see `open_regular`."""
    try:
        descriptor = os.open(path, READ_FLAGS)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is not a regular file (it is a folder, pipe or device): remove or replace it")
    return descriptor


def read_whole(path: str | Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`; the call never waits for a pipe.

    Raises:
        InputError: it does not exist, is not a regular file, is larger, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = _read(file, max_bytes + 1) if size <= max_bytes else b""
    if max(size, len(content)) > max_bytes:
        raise InputError(
            f"{path} has {max(size, len(content)):,} bytes, but files of its kind have at most {max_bytes:,}: "
            "it is not what its name says"
        )
    return content


def read_start(path: str | Path, num_bytes: int) -> bytes:
    """The first bytes of a regular file, or fewer if it is shorter, to check it before a library reads it.

    Raises:
        InputError: it does not exist, is not a regular file, or cannot be read.
    """
    with open_regular(path) as file:
        return _read(file, num_bytes)


def read_text(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The text of a regular file, with or without a byte-order mark.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8.
    """
    try:
        return read_whole(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {one_line(error)}") from error


def read_json(
    path: str | Path, max_bytes: int = MAX_JSON_BYTES, object_hook: Callable[[dict], Any] | None = None
) -> dict[str, Any]:
    """The JSON object in a small regular file; all its numbers must be finite.

    Args:
        path: the file.
        max_bytes: maximum size of the file.
        object_hook: converts each object while it is read, to keep only a part of large ones.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8, not JSON, or not an object.
    """
    try:
        written = read_whole(path, max_bytes)
        content = json.loads(written, parse_float=_finite, parse_constant=_finite, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must contain a JSON object {{...}}, found a {type(content).__name__}")
    return content


def read_yaml(path: str | Path, max_bytes: int) -> dict[str, Any]:
    """The YAML mapping in a small regular file, in which each name may occur once; see `parse_yaml`.

    Raises:
        InputError: see `read_whole` and `parse_yaml`; or it is not UTF-8.
    """
    return parse_yaml(read_text(path, max_bytes), path, once=True)


def parse_yaml(text: str, name: str | Path, *, once: bool = False) -> dict[str, Any]:
    """A YAML mapping of plain values, without aliases and with limited depth.

    An alias repeats a whole branch: a dozen nested aliases can expand to more than fits into memory. Messages never
    quote the text, since it may contain a token.

    Args:
        text: YAML.
        name: name of its source, for messages.
        once: refuse duplicate names, of which YAML would use the last. Third-party cards may have duplicates.

    Raises:
        InputError: it is not YAML, has an alias, is nested too deep, or is not a mapping.
    """
    import yaml  # here, because most users of this module do not need it

    class PlainLoader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias (*name), expected the value itself")
            self.depth += 1
            if self.depth > MAX_YAML_DEPTH:
                raise yaml.YAMLError(f"its values are nested more than {MAX_YAML_DEPTH} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = set()
            for key, _ in node.value if once and isinstance(node, yaml.MappingNode) else ():
                if (own := (key.tag, str(key.value))) in names:
                    raise yaml.MarkedYAMLError(problem="a name is given twice", problem_mark=key.start_mark)
                names.add(own)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(text, PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name} is not YAML: {error.problem} in line {line}") from None
    except yaml.reader.ReaderError as error:
        raise InputError(f"{name} is not YAML: {error.reason} at character {error.position}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{name} cannot be used: {error}") from None
    except ValueError:
        raise InputError(f"{name} has an invalid date or number: put it in quotation marks") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{name} must contain lines of `name: value`, found {found}")
    return content


def open_for_writing(path: str | Path, mode: str) -> BinaryIO:
    """Opens a regular file for writing, without waiting for a pipe, and never through a link.

    Args:
        path: the file.
        mode: a binary mode of `open`: "xb" for a new file, "ab" to append, "r+b" to read and change.

    Raises:
        InputError: the path is a link or not a regular file.
        OSError: it already exists ("xb"), or cannot be opened.
    """
    extra = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        file: Any = open(path, mode, opener=lambda name, flags: os.open(name, flags | extra, 0o666))  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link, and files are not written through links: remove it") from error
        if error.errno not in (errno.EISDIR, errno.ENXIO):  # ENXIO: a pipe without a reader
            raise
    else:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    raise InputError(f"{path} is not a regular file (it is a folder, pipe or device): remove or replace it")


ABANDONED = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)  # the temporary names of `atomic_file`


@contextlib.contextmanager
def atomic_file(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """A new file for writing, renamed to `path` at the end: readers see all of it or nothing, even after a power cut.

    The temporary name is unpredictable, and an existing file or link of that name is never followed.

    Args:
        path: the final path.
        scratch: a folder on the same file system for the temporary file. Default: the folder of `path`.

    Raises:
        OSError: an error of the file system, after which neither file remains.
    """
    temporary = (scratch or path.parent) / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    file = open(temporary, "xb")  # noqa: SIM115 - outside of try, so that a file of others is not removed below
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomically(path: Path, content: bytes | memoryview | str, scratch: Path | None = None) -> None:
    """Writes a whole file at once, see `atomic_file`."""
    with atomic_file(path, scratch) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def results_in(folder: Path) -> Iterator[None]:
    """Creates the folder for a program's results, and turns write errors there into InputErrors.

    Raises:
        InputError: it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another --output_dir") from error


def delete_abandoned(folder: Path) -> None:
    """Removes temporary files of `atomic_file` that killed processes left in a folder; needs the folder's lock."""
    for path in folder.rglob(".*.tmp"):
        if ABANDONED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically, with sorted keys."""
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _read(file: BinaryIO, num_bytes: int) -> bytes:
    try:
        return file.read(num_bytes)
    except OSError as error:
        raise InputError(f"{file.name} cannot be read: {error.strerror or one_line(error)}") from error


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"{written} is not a finite number")
    return number

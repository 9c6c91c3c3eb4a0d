"""Reading and writing files: small ones are checked when they are read, all are written atomically.

What lies in a folder may be untrusted, or not what its name says: a pipe that never ends, a table of a terabyte, a
link to somewhere else. So whatever is read as a whole is first found to be a regular file of a limited size.
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

# Of configs and manifests. The largest that anyone has is a manifest with the classes of AudioSet: some 50 kB.
MAX_JSON_BYTES = 16 << 20
# Of tables with a line for each clip: an index of a million clips takes about 150 MB.
MAX_TABLE_BYTES = 4 << 30
# Of lists of files and of annotations of one recording; and of the names of its classes.
MAX_TEXT_BYTES = 64 << 20
MAX_LABELS_BYTES = 1 << 16
MAX_YAML_DEPTH = 10  # the annotations of MedleyDB have 6
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe would wait


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, open for reading; a pipe or device that has its name is never waited for.

    Raises:
        InputError: it is not there, not a regular file, or cannot be read.
    """
    return open(path, "rb", opener=lambda *_: regular_descriptor(path))


def regular_descriptor(path: str | Path) -> int:
    """What the system calls an open file by, for those who read many and of each a few bytes: see `open_regular`."""
    try:
        descriptor = os.open(path, READ_FLAGS)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is not a regular file but a folder, pipe or device: remove or replace it")
    return descriptor


def read_whole(path: str | Path, most_bytes: int) -> bytes:
    """All of a regular file, which is never waited for and never read beyond `most_bytes`.

    Raises:
        InputError: it is not there, not a regular file, larger, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = _read(file, most_bytes + 1) if size <= most_bytes else b""
    if max(size, len(content)) > most_bytes:
        raise InputError(
            f"{path} has {max(size, len(content)):,} bytes and a file of its kind has at most {most_bytes:,}: "
            "it is not what its name says"
        )
    return content


def read_start(path: str | Path, num_bytes: int) -> bytes:
    """The first bytes of a regular file, as many as there are, for what a library will then read by itself.

    Raises:
        InputError: it is not there, not a regular file, or cannot be read.
    """
    with open_regular(path) as file:
        return _read(file, num_bytes)


def read_text(path: str | Path, most_bytes: int = MAX_TEXT_BYTES) -> str:
    """The text of a regular file, with a byte-order mark or without.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8.
    """
    try:
        return read_whole(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {one_line(error)}") from error


def read_json(
    path: str | Path, most_bytes: int = MAX_JSON_BYTES, object_hook: Callable[[dict], Any] | None = None
) -> dict[str, Any]:
    """A JSON object of a small regular file; numbers in it are finite.

    Args:
        object_hook: makes of each object in it what is kept of it, where a large one is not needed whole.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8, not JSON, or not an object.
    """
    try:
        written = read_whole(path, most_bytes)
        content = json.loads(written, parse_float=_finite, parse_constant=_finite, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object {{...}} and holds a {type(content).__name__}")
    return content


def read_yaml(path: str | Path, most_bytes: int) -> dict[str, Any]:
    """The YAML mapping of a small regular file that gives each name once, see `parse_yaml`.

    Raises:
        InputError: see `read_whole` and `parse_yaml`; or it is not UTF-8.
    """
    return parse_yaml(read_text(path, most_bytes), path, once=True)


def parse_yaml(text: str, name: str | Path, *, once: bool = False) -> dict[str, Any]:
    """A YAML mapping of plain values, without aliases and without depth that no settings have.

    An alias is a few bytes that stand for a whole branch: a dozen of them, nested, stand for more than any memory has.
    What the text says is never quoted in a complaint: a token may stand in it.

    Args:
        text: YAML.
        name: of where it stands, for complaints.
        once: refuse a name that stands twice, of which YAML takes the last; untrusted cards may have such.

    Raises:
        InputError: it is not YAML, has an alias, is nested deep, or is not a mapping.
    """
    import yaml  # here, for most of those who read files need none

    class PlainLoader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias (*name), for which the value itself should stand")
            self.depth += 1
            if self.depth > MAX_YAML_DEPTH:
                raise yaml.YAMLError(f"its values are nested more than {MAX_YAML_DEPTH} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = set()
            for key, _ in node.value if once and isinstance(node, yaml.MappingNode) else ():
                if (said := (key.tag, str(key.value))) in names:
                    raise yaml.MarkedYAMLError(problem="a name is given again", problem_mark=key.start_mark)
                names.add(said)
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
        raise InputError(f"{name} must hold lines of `name: value` and holds {found}")
    return content


def open_for_writing(path: str | Path, mode: str) -> BinaryIO:
    """A regular file to write to, opened without waiting as a pipe would, and never through a link.

    Args:
        mode: binary, as of `open`: "xb" for a new file, "ab" to go on, "r+b" to read and fix.

    Raises:
        InputError: there is something else of its name.
        OSError: it already exists ("xb"), or cannot be opened.
    """
    extra = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        file: Any = open(path, mode, opener=lambda name, flags: os.open(name, flags | extra, 0o666))  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link, and files are not written through links: remove it") from error
        if error.errno not in (errno.EISDIR, errno.ENXIO):  # what writing to a pipe without a reader is answered
            raise
    else:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    raise InputError(f"{path} is not a regular file but a folder, pipe or device: remove or replace it")


ABANDONED = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)  # the temporary names of `atomic_file`


@contextlib.contextmanager
def atomic_file(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """A new file to write to, renamed to `path` at the end: readers see all of it or nothing, after a power cut too.

    The temporary name is one that nobody can foresee, and is never followed where it leads elsewhere.

    Args:
        scratch: a folder of the same file system for the temporary file; by default the one of `path`.

    Raises:
        OSError: of the file system; nothing is left behind under either name.
    """
    temporary = (scratch or path.parent) / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    file = open(temporary, "xb")  # noqa: SIM115 - what someone else has put there is not removed below
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
    """Write a whole file at once, see `atomic_file`."""
    with atomic_file(path, scratch) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def results_in(folder: Path) -> Iterator[None]:
    """Makes the folder of a program's results, and is around what is written there.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another --output_dir") from error


def delete_abandoned(folder: Path) -> None:
    """Removes what `atomic_file` left anywhere below a folder where a process was killed; call it under its lock."""
    for path in folder.rglob(".*.tmp"):
        if ABANDONED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted."""
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

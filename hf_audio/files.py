"""Files in and out: small ones are read only when they are what they should be, all are written whole or not at all.

What lies in a folder may be a stranger's, or not what its name says: a pipe that never ends, a table of a terabyte, a
link to somewhere else. So whatever is read as a whole is first found to be a regular file of a limited size.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import logging
import math
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from hf_audio.errors import InputError, one_line, printable

# Of configs and manifests. The largest that anyone has is a manifest with the classes of AudioSet: some 50 kB.
MOST_JSON_BYTES = 16 << 20
# Of tables with a line for each clip: an index of a million clips takes about 150 MB.
MOST_TABLE_BYTES = 4 << 30
# Of lists of files and of annotations of one recording; and of the names of its classes.
MOST_TEXT_BYTES = 64 << 20
MOST_LABELS_BYTES = 1 << 16
REMINDER_S = 60.0  # how often it is said whom a lock is waited for
# What systems answer where a file system has no locks: one process at a time is then the user's own concern.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

logger = logging.getLogger(__name__)


def open_regular(path: str | Path, mode: str = "rb") -> BinaryIO:
    """A regular file, opened without waiting as a pipe would, and never for writing through a link.

    Args:
        mode: binary, as of `open`.

    Raises:
        InputError: it is a folder, pipe or device, or a link that would be written through.
        OSError: it is not there, or cannot be opened.
    """
    extra = getattr(os, "O_NONBLOCK", 0) | (0 if mode == "rb" else getattr(os, "O_NOFOLLOW", 0))
    try:
        file = open(path, mode, opener=lambda name, flags: os.open(name, flags | extra, 0o666))  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link, through which nothing is written: remove it") from error
        if error.errno not in (errno.EISDIR, errno.ENXIO):  # what writing to a pipe without a reader is answered
            raise
    else:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    raise InputError(f"{path} is not a regular file but a folder, pipe or device: remove or replace it")


def read_whole(path: str | Path, most_bytes: int) -> bytes:
    """All of a regular file, which is never waited for and never read beyond `most_bytes`.

    Raises:
        InputError: it is not there, not a regular file, larger, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            content = file.read(most_bytes + 1) if status.st_size <= most_bytes else b""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    if max(status.st_size, len(content)) > most_bytes:
        raise InputError(
            f"{path} has {max(status.st_size, len(content)):,} bytes and a file of its kind has at most "
            f"{most_bytes:,}: it is not what its name says"
        )
    return content


def read_text(path: str | Path, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """The text of a regular file, with a byte-order mark or without.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8.
    """
    try:
        return read_whole(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {one_line(error)}") from error


def read_json(
    path: str | Path, most_bytes: int = MOST_JSON_BYTES, object_hook: Callable[[dict], Any] | None = None
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
        raise InputError(f"{path} is not JSON as it should be: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object {{...}} and holds a {type(content).__name__}")
    return content


def read_yaml(path: str | Path, most_bytes: int) -> dict[str, Any]:
    """A YAML mapping of a small regular file, of plain values and without aliases.

    An alias is a few bytes that stand for a whole branch: a dozen of them, nested, stand for more than any memory has.

    Raises:
        InputError: see `read_whole`; or it is not UTF-8, not YAML, has an alias, or is not a mapping.
    """
    import yaml  # here, for most of those who read files need none

    class PlainLoader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise InputError(f"{path} has an alias (*{self.peek_event().anchor}), as no file of its kind needs")
            return super().compose_node(parent, index)

    try:
        content = yaml.load(read_text(path, most_bytes), PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # impossible dates are ValueErrors
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not YAML as it should be: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold lines of `name: value` and holds a {type(content).__name__}")
    return content


def write_atomically(path: Path, content: bytes | memoryview | str, scratch: Path | None = None) -> None:
    """Write a whole file under a temporary name and rename it: readers see all of it or nothing, after a power cut too.

    The temporary name is one that nobody can foresee, and is never followed where it leads elsewhere.

    Args:
        scratch: a folder of the same file system for the temporary file; by default the one of `path`.

    Raises:
        OSError: of the file system; nothing is left behind under either name.
    """
    temporary = (scratch or path.parent) / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    file = open(temporary, "xb")  # noqa: SIM115 - what somebody else has put there is not removed below
    try:
        with file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted."""
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"{written} is not a finite number")
    return number


@contextlib.contextmanager
def locked(path: Path, task: str, *, wait: bool = True) -> Iterator[None]:
    """Keeps other processes out; the system gives the lock back even when this process is killed.

    Who holds it stands beside it in NAME.holder: it is told to those who wait, at once and then every minute.

    Args:
        path: the lock; its folder is there.
        task: what its holder is doing, as messages say it: "downloading to /data".
        wait: until it is free; else it is an error that it is not.

    Raises:
        InputError: it is not free and not waited for; or it is a link, or another user's and cannot be taken.
        OSError: of the file system, e.g. where nothing can be written.
    """
    lock, note = FileLock(path), path.with_name(f"{path.name}.holder")
    _acquire(lock, path, task, wait)
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
        with open(note, "x", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} of {_user()} on {socket.gethostname()}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _acquire(lock: FileLock, path: Path, task: str, wait: bool) -> None:
    wait_s = 0.0
    while True:
        try:
            lock.acquire(timeout=wait_s)
            return
        except Timeout as error:
            who = _holder(path)
            if not wait:
                raise InputError(f"Another process is {task} ({who}); wait for it, or choose another folder") from error
            logger.warning("%s", printable(f"Another process is {task} ({who}); waiting until it has finished"))
            wait_s = REMINDER_S
        except NotImplementedError:
            return
        except OSError as error:
            if error.errno in NO_LOCKS:
                return
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP) or not os.path.lexists(path):
                raise
            raise InputError(
                f"{path}, by which one process at a time is {task}, cannot be taken ({error.strerror}): it is "
                f"{'a link' if path.is_symlink() else _owner(path)}; remove it, or choose another folder"
            ) from error


def _holder(path: Path) -> str:
    """Who has a lock, as far as it is known."""
    with contextlib.suppress(InputError):
        return read_text(path.with_name(f"{path.name}.holder"), 1000)
    return f"its lock {path} is {_owner(path)}"


def _owner(path: Path) -> str:
    try:
        return f"{path.owner()}'s"
    except (OSError, KeyError, NotImplementedError):
        return "an unknown user's"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as containers have
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "an unknown user"

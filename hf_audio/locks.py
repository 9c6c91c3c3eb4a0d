"""Locks between processes: waiting processes log who holds the lock; an unusable lock is an error."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from hf_audio.errors import InputError
from hf_audio.files import read_text
from hf_audio.terminal import named_logger

REMINDER_S = 60.0  # how often a waiting process logs who holds the lock
# Errors on file systems without locks, where users must make sure to run only one process at a time
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
NOT_OURS = {errno.EACCES, errno.EPERM, errno.ELOOP}
MAX_NOTE_BYTES = 1_000

logger = named_logger(__name__)


@contextlib.contextmanager
def locked(path: Path, task: str, *, wait: bool = True) -> Iterator[None]:
    """Keeps other processes out. The system releases the lock even if this process is killed.

    The holder of the lock is written to NAME.holder beside it. Waiting processes log it at once and then every minute.

    Args:
        path: the lock file, in an existing folder.
        task: the task of its holder, for messages: "downloading to /data".
        wait: wait until the lock is free; if False, a lock that is held is an error.

    Raises:
        InputError: the lock is held and `wait` is False; or it is a link, or belongs to another user.
        OSError: an error of the file system, e.g. if nothing can be written.
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
            _check_owner(path)
            lock.acquire(timeout=wait_s)
            return
        except Timeout as error:
            who = _holder(path)
            if not wait:
                raise InputError(f"Another process is {task} ({who}); wait for it, or choose another folder") from error
            logger.warning("Another process is %s (%s); waiting for it to finish", task, who)
            wait_s = REMINDER_S
        except NotImplementedError:
            return
        except OSError as error:
            if error.errno in NO_LOCKS:
                return
            if error.errno not in NOT_OURS or not os.path.lexists(path):
                raise
            raise InputError(
                f"The lock {path} for {task} cannot be used ({error.strerror}), because it is "
                f"{'a link' if path.is_symlink() else _owner(path)}: remove it, or choose another folder"
            ) from error


def _check_owner(path: Path) -> None:
    """Refuses a lock whose owner could replace it while it is held; as root, filelock before 4.2.1 would accept it."""
    with contextlib.suppress(FileNotFoundError):
        found, folder = path.lstat(), path.parent.stat()
        trusted = (os.geteuid(), folder.st_uid) if hasattr(os, "geteuid") else (found.st_uid,)
        if folder.st_mode & stat.S_ISVTX and found.st_uid not in trusted:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _holder(path: Path) -> str:
    """The holder of a lock, as far as it is known."""
    with contextlib.suppress(InputError):
        return read_text(path.with_name(f"{path.name}.holder"), MAX_NOTE_BYTES)
    return f"its lock {path} is {_owner(path)}"


def _owner(path: Path) -> str:
    try:
        return f"{path.owner()}'s"
    except (OSError, KeyError, NotImplementedError):
        return "an unknown user's"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user ID without a name, as in containers
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "an unknown user"

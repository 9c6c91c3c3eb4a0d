"""librosa, imported by one process at a time: `librosa` of this file is the library.

At its first import on a machine numba compiles functions of librosa, some 20 s, and keeps them on disk. Two processes
that do so at once can leave a pair there that does not fit, and from then on every use ends in a segmentation fault,
until librosa's __pycache__ is removed (github.com/numba/numba/issues/10128). So processes stand in line here. This file
is copied beside published models, so it imports nothing of hf_audio.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

LONGEST_WAIT_S = 600.0  # for some twenty processes that compile one after the other


def own_folder() -> Path:
    """A folder among the temporary files that is this user's alone: in it nobody else can plant a link, or hold a lock.

    Raises:
        RuntimeError: someone else has made it first.
    """
    user = getattr(os, "getuid", lambda: "user")()  # where there is none, temporary files are each user's own already
    folder = Path(tempfile.gettempdir()) / f"librosa-{user}.d"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and (user == "user" or (found.st_uid, found.st_mode & 0o022) == (user, 0))
    if not is_ours:
        raise RuntimeError(f"{folder} is not a folder of this user alone: remove it, or set TMPDIR to another folder")
    return folder


def next_in_line() -> AcquireReturnProxy:
    """Waits until no other process of this user imports librosa; the caller then may, within `with`.

    Raises:
        RuntimeError: it takes longer than LONGEST_WAIT_S, or see `own_folder`.
    """
    lock = FileLock(own_folder() / "import.lock")
    try:
        return lock.acquire(timeout=LONGEST_WAIT_S)
    except Timeout:
        raise RuntimeError(
            f"Another process has been importing librosa for {LONGEST_WAIT_S:g} s and holds {lock.lock_file}: end it "
            "and try again"
        ) from None


with next_in_line():
    import librosa
    import librosa.beat  # librosa loads its modules when they are used; this one brings all that are compiled

__all__ = ["librosa"]

"""librosa, imported by one process at a time: import `librosa` from this file.

At the first import on a machine, numba compiles functions of librosa for about 20 s and stores them on disk. Two
processes that do this at once can leave files that do not match, and then every use causes a segmentation fault until
librosa's __pycache__ is removed (github.com/numba/numba/issues/10128). Therefore, processes wait for each other here.
This file is copied to published models, so it does not import hf_audio.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

LONGEST_WAIT_S = 600.0  # for about twenty processes that compile one after another


def own_folder() -> Path:
    """A temporary folder that only this user can write to, so that no one else can create links or hold locks in it.

    Raises:
        RuntimeError: it already belongs to another user.
    """
    user = getattr(os, "getuid", lambda: "user")()  # systems without it have a temporary folder per user
    folder = Path(tempfile.gettempdir()) / f"librosa-{user}.d"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and (user == "user" or (found.st_uid, found.st_mode & 0o022) == (user, 0))
    if not is_ours:
        raise RuntimeError(f"{folder} is not owned by this user alone: remove it, or set TMPDIR to another folder")
    return folder


def next_in_line() -> AcquireReturnProxy:
    """Waits until no other process of this user imports librosa. Import it within `with` on the result.

    Raises:
        RuntimeError: the wait exceeds LONGEST_WAIT_S, or see `own_folder`.
    """
    lock = FileLock(own_folder() / "import.lock")
    try:
        return lock.acquire(timeout=LONGEST_WAIT_S)
    except Timeout:
        raise RuntimeError(
            f"Another process has been importing librosa for {LONGEST_WAIT_S:g} s and holds {lock.lock_file}: stop it "
            "and try again"
        ) from None


with next_in_line():
    import librosa
    import librosa.beat  # librosa loads modules lazily; this one loads all compiled ones

__all__ = ["librosa"]

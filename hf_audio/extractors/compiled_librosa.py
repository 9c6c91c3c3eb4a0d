"""librosa, imported by one process at a time:

    from hf_audio.extractors.compiled_librosa import librosa

At its first import on a machine numba compiles functions of librosa, some 20 s, and keeps them on disk. Two processes
that do so at once can leave a pair there that does not fit, and from then on every use ends in a segmentation fault,
until librosa's __pycache__ is removed (github.com/numba/numba/issues/10128). So processes stand in line here. This file
is copied beside published models, so it imports nothing of hf_audio.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from filelock import FileLock

user = getattr(os, "getuid", getpass.getuser)()  # a file of its own for each user of the machine
with FileLock(Path(tempfile.gettempdir()) / f"librosa-{user}.lock"):
    import librosa
    import librosa.beat  # librosa loads its modules when they are used; this one brings all that are compiled

__all__ = ["librosa"]

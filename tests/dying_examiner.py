"""An examination that a file ends, as a broken one may do in a C library: what workers of an audit import to do it.

It is no part of test_audit.py, which takes a worker 4 s to import.
"""

from __future__ import annotations

import os
import signal

from hf_audio.audit import workers

DEADLY = {"3.wav", "25.wav"}
examine = workers._examine


def examine_or_die(task, **options):
    """The facts of the task's clips, or the process's end."""
    if DEADLY & {*task.clips["clip_id"].to_pylist()}:
        os.kill(os.getpid(), signal.SIGKILL)
    return examine(task, **options)

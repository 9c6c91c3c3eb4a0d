"""An examination that dies at a certain file, as a C library may do at a broken one; workers of an audit import it.

It is not in test_audit.py because a worker would need 4 s to import that.
"""

from __future__ import annotations

import os
import signal

from hf_audio.audit import workers

DEADLY = {"3.wav", "25.wav"}
examine = workers._examine


def examine_or_die(task, **options):
    """The facts of the task's clips, unless the process dies."""
    if DEADLY & {*task.clips["clip_id"].to_pylist()}:
        os.kill(os.getpid(), signal.SIGKILL)
    return examine(task, **options)

"""The lock around librosa's import is where no other user can plant a link or hold it forever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = f"librosa-{os.getuid()}.d" if hasattr(os, "getuid") else "librosa-user.d"
IMPORT = """
import importlib.util, sys, types
for name in ("librosa", "librosa.beat"):  # only the lock before this import is tested
    sys.modules[name] = types.ModuleType(name)
spec = importlib.util.spec_from_file_location("compiled_librosa", sys.argv[1])
module = importlib.util.module_from_spec(spec)
source = open(sys.argv[1]).read().replace("LONGEST_WAIT_S = 600.0", "LONGEST_WAIT_S = 0.2")
exec(compile(source, sys.argv[1], "exec"), vars(module))
"""


def imported(temporary: Path) -> subprocess.CompletedProcess:
    """Runs a process that imports compiled_librosa.py with this temporary folder and a short timeout."""
    path = ROOT / "hf_audio" / "extractors" / "compiled_librosa.py"
    command = [sys.executable, "-c", IMPORT, str(path)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_lock_is_in_a_folder_that_only_the_user_can_open(tmp_path):
    assert imported(tmp_path).returncode == 0
    assert imported(tmp_path).returncode == 0, "a second import works too"
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", ["link to a folder", "link to nowhere", "file", "open to all"])
def test_a_planted_folder_is_not_used(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.mkdir()
    if planted.startswith("link"):
        (tmp_path / FOLDER).symlink_to(victim if planted == "link to a folder" else tmp_path / "nowhere")
    elif planted == "file":
        (tmp_path / FOLDER).touch()
    else:
        (tmp_path / FOLDER).mkdir()
        (tmp_path / FOLDER).chmod(0o777)
    done = imported(tmp_path)
    assert done.returncode == 1 and "is not owned by this user alone: remove it, or set TMPDIR" in done.stderr
    assert list(victim.iterdir()) == [] and not (tmp_path / "nowhere").exists()


def test_a_lock_held_forever_ends_in_one_sentence(tmp_path):
    from filelock import FileLock

    (tmp_path / FOLDER).mkdir(mode=0o700)
    with FileLock(tmp_path / FOLDER / "import.lock"):
        done = imported(tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("RuntimeError: Another process has been importing librosa")

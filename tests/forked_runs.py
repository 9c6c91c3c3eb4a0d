"""Runs a script that starts several runs; these are forks of it, so that none imports torch again: see forks.py.

tests/forked_runs.py SCRIPT.py ARGUMENTS

A trial of a search fails if it reads the test split.
"""

from __future__ import annotations

import dataclasses
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from hf_audio import recipe_features, repeated_runs
from hf_audio.analysis import evaluation
from hf_audio.searching import trial_process

ROOT = Path(__file__).parents[1]


class Unseen(dict):
    """Splits, of which "test" must not be read."""

    def __getitem__(self, split):
        assert split != "test", "a trial has read the test split"
        return super().__getitem__(split)


class ForkedRecipe:
    """A recipe in a fork, with the used part of the interface of subprocess.Popen."""

    def __init__(self, command, stdin=None, stdout=None, stderr=None, env=None, start_new_session=False) -> None:
        recipe = next(word for word in command if word.endswith(".py"))
        argv = command[command.index(recipe) :]
        theirs, mine = os.pipe()
        sys.stdout.flush()
        self.returncode, self.pid = None, os.fork()
        if not self.pid:
            os.close(mine)
            if start_new_session:
                os.setsid()
            os.dup2(theirs, 0)
            if stdout is not None:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stdout.fileno(), 2)
            os.environ.update(env or {})
            os._exit(run(argv))
        os.close(theirs)
        self.stdin = os.fdopen(mine, "wb")

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=None):
        if timeout is not None and self.poll() is None:
            signal.sigtimedwait([signal.SIGCHLD], timeout)
            if self.poll() is None:
                raise subprocess.TimeoutExpired("recipe", timeout)
        elif self.poll() is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def run(argv: list[str]) -> int:
    """Runs a recipe and returns its exit code."""
    sys.argv = argv
    sys.stdin = os.fdopen(0, "r")
    if "--trial" in argv:
        load = recipe_features.load_features

        def unseen(folder):
            features = load(folder)
            return dataclasses.replace(features, splits=Unseen(features.splits))

        recipe_features.load_features = unseen
    try:
        runpy.run_path(argv[0], run_name="__main__")
        return 0
    except SystemExit as error:
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def launched(command, check, **options):
    """Replaces accelerate's launcher, which starts one process; tests/test_recipes.py tests the real one."""
    assert command[:6] == [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_processes", "1"]
    assert command[6:12] == [*repeated_runs.LAUNCHER_DEFAULTS], "else the launcher warns of what it was not told"
    return subprocess.CompletedProcess(command, ForkedRecipe(command, **options).wait())


if __name__ == "__main__":
    evaluation.write_plots = lambda *_, **__: []  # tests/test_recipes.py tests plots
    trial_process.subprocess = type("Forking", (), {**vars(subprocess), "Popen": ForkedRecipe})
    repeated_runs.subprocess = type("Forking", (), {**vars(subprocess), "run": staticmethod(launched)})
    sys.argv[:2] = [str(ROOT / "scripts" / sys.argv[1])]
    runpy.run_path(sys.argv[0], run_name="__main__")

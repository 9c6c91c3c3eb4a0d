"""Which files of trials that are not the best are kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

KEPT = {"report.json", "trial.jsonl"}


def thin_out(folder: Path) -> None:
    """Removes weights, checkpoints and everything else except reports, scores, logs and settings of a trial."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        elif not (path.name in KEPT or path.suffix == ".log" or (path.parent == folder and path.suffix == ".json")):
            path.unlink(missing_ok=True)

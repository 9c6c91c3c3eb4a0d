"""Finds the complete checkpoints of a run, and checks whether the run in a folder has the same settings.

checkpoints/
  run.json             the settings of this run
  checkpoint-N/        as transformers' Trainer writes it
    stream.json        for a streamed run: the number of processes and workers, and the batch size
    complete.json      names and sizes of its files, written last: without it, the checkpoint is incomplete
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from hf_audio.errors import InputError
from hf_audio.files import write_json
from hf_audio.finished_work import require_same
from hf_audio.ranks import from_first_process
from hf_audio.terminal import named_logger

MARKER = "complete.json"
RUN_FILE = "run.json"
STATE_FILE = "trainer_state.json"
STREAM_FILE = "stream.json"

logger = named_logger(__name__)


class CheckpointMarker(TrainerCallback):
    """Marks each checkpoint as complete once all processes have written their part, and sets the best checkpoint.

    In Trainer, each process looks for the best checkpoint itself. On a network disk, some could see it later than
    others and load different weights at the end.

    Args:
        division: how a streamed run divides its stream, see `StreamOrder`; None for a local split.
    """

    def __init__(self, division: dict[str, int] | None = None) -> None:
        self.division = division

    def on_save(self, args, state, control, **kwargs):
        PartialState().wait_for_everyone()
        if args.should_save:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if self.division:
                write_json(checkpoint / STREAM_FILE, self.division)
            mark_complete(checkpoint)
        if state.best_global_step == state.global_step:
            state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_begin(self, args, state, control, **kwargs):
        """Finds the best checkpoint again if the run folder was moved: the state has its old path."""
        if state.best_global_step:
            best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best) if from_first_process(best.is_dir) else None


def warn_of_another_order(checkpoint: Path, division: dict[str, int], steps_per_epoch: int) -> None:
    """Warns if a streamed epoch resumes with a different division, and so does not read exactly the remaining
    windows."""
    before = json.loads((checkpoint / STREAM_FILE).read_text(encoding="utf-8"))
    step = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))["global_step"]
    if before != division and step % steps_per_epoch:
        words = "{processes} process(es) with {workers} worker(s) each and batches of {batch_size}"
        logger.warning(
            "This epoch was started by %s and resumes with %s, which read a stream in another order: it will repeat "
            "some windows and skip others. Later epochs are complete. Resume with the same numbers to avoid this.",
            words.format(**before),
            words.format(**division),
        )


def mark_complete(checkpoint: Path) -> None:
    """Writes the marker of a checkpoint whose files are all written."""
    sizes = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != MARKER
    }
    write_json(checkpoint / MARKER, sizes)


def is_complete(checkpoint: Path) -> bool:
    """Whether all files named in the marker exist with their full size.

    Sizes are compared, too, since a run may also be killed while it deletes a checkpoint.
    """
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def checkpoints_of(folder: Path) -> list[Path]:
    """All checkpoints of a run, complete or not, oldest first."""
    steps = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in folder.glob("checkpoint-*")}
    return sorted((path for path, step in steps.items() if step), key=lambda path: int(steps[path][1]))


def wait_until_seen(checkpoint: Path, timeout_s: float = 60.0) -> None:
    """Waits until this process sees a complete checkpoint that the first process has found.

    Raises:
        InputError: the checkpoint does not appear, because the machines of the run do not share a disk.
    """
    give_up_s = time.monotonic() + timeout_s
    while not is_complete(checkpoint):
        if time.monotonic() > give_up_s:
            raise InputError(
                f"The first process resumes from {checkpoint.name}, but this one cannot see it: use an --output_dir "
                "on a disk that all machines of the run share"
            )
        time.sleep(1)


def delete_incomplete(folder: Path) -> None:
    """Deletes incomplete checkpoints, so that Trainer does not count them or resume from them."""
    for checkpoint in checkpoints_of(folder):
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint)


def newest_complete(folder: Path) -> Path | None:
    """The checkpoint to resume from."""
    complete = [checkpoint for checkpoint in checkpoints_of(folder) if is_complete(checkpoint)]
    return complete[-1] if complete else None


def is_finished(checkpoint: Path) -> bool:
    """Whether training had finished, by its last step or early stopping, when this checkpoint was written."""
    state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))


def check_same_run(folder: Path, settings: dict[str, Any]) -> None:
    """Raises InputError if the folder holds checkpoints of a run with different settings."""
    if newest_complete(folder) is None:
        return  # no checkpoint to resume from
    try:
        found = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    require_same(
        f"{folder.parent} holds a run with other settings, which",
        found,
        settings,
        "use another --output_dir, or --overwrite_run true to start from the beginning",
    )


def require_writable(folder: Path) -> Path:
    """The folder, created if missing. Raises InputError if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise InputError(f"Cannot write to {folder} ({error.strerror}): use another --output_dir") from None

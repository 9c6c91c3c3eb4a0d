"""Synchronizes processes, even if one of them works for hours.

A barrier of the training process group times out after 10 minutes (GPUs) or 30 (CPUs), which is right between two
training steps. But one process may take longer to download a corpus, read a million headers, build or publish.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from accelerate import PartialState

from hf_audio.errors import InputError

Found = TypeVar("Found")
MAX_WAIT = timedelta(days=30)

_patient: dict[Any, Any] = {}  # by the process group for training: the one for waiting


def process_state() -> PartialState:
    """The rank of this process, and the number of processes."""
    # By default, accelerate treats a multi-process launch on a machine without an accelerator as single processes.
    return PartialState(cpu=not torch.accelerator.is_available())


def wait_for_everyone() -> None:
    """Waits until all processes arrive, however long one of them works. If one dies, raises an error at once."""
    group = _patient_group()
    if group is None:
        PartialState().wait_for_everyone()
    else:
        torch.distributed.barrier(group)


def told_by_main(find_out: Callable[[], Found]) -> Found:
    """Returns in all processes what the main process finds; each on its own might find something else."""
    state = process_state()
    if state.num_processes == 1:
        return find_out()
    told = [find_out() if state.is_main_process else None]
    torch.distributed.broadcast_object_list(told, src=0, group=_patient_group())
    return told[0]


@contextlib.contextmanager
def main_process_first(state: PartialState) -> Iterator[None]:
    """Runs the block in one process per machine first, then in the machine's other processes."""
    _patient_group()  # created while all processes are idle, since its creation has the timeout of a training step
    if not state.is_local_main_process:
        wait_for_everyone()
    try:
        yield
    finally:
        if state.is_local_main_process:
            wait_for_everyone()


def from_first_process(look: Callable[[], Found]) -> Found:
    """Returns in all processes what the first one finds; on a network disk, the others may see an older state.

    Raises:
        InputError: the error of `look`, in every process.
    """
    if PartialState().num_processes == 1:
        return look()
    found: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            found[0] = look()
        except InputError as error:
            found[1] = str(error)
    torch.distributed.broadcast_object_list(found, src=0, group=_patient_group())
    if found[1] is not None:
        raise InputError(found[1])
    return found[0]


def _patient_group() -> Any:
    """A Gloo group of all processes with a long timeout; None for a single process or without Gloo."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.is_gloo_available()):
        return None
    whole = distributed.group.WORLD
    if whole not in _patient:
        _patient[whole] = distributed.new_group(backend="gloo", timeout=MAX_WAIT)
    return _patient[whole]

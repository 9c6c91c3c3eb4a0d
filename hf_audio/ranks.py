"""Processes that wait for each other, even if one of them works for hours.

A barrier of the process group that trains gives up after 10 minutes (GPUs) or 30 (CPUs), as it should between two steps
of training. Downloading a corpus, reading a million headers, building, or publishing take longer in one process.
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
LONGEST_WAIT = timedelta(days=30)

_patient: dict[Any, Any] = {}  # by the process group that trains: the one that waits


def process_state() -> PartialState:
    """Which process of how many this one is."""
    # Left alone, accelerate makes single processes of a multi-process launch on a machine without an accelerator.
    return PartialState(cpu=not torch.accelerator.is_available())


def wait_for_everyone() -> None:
    """Returns once all processes are here, however long one of them works; at once where one dies, by an error."""
    group = _patient_group()
    if group is None:
        PartialState().wait_for_everyone()
    else:
        torch.distributed.barrier(group)


def told_by_main(find_out: Callable[[], Found]) -> Found:
    """What one process finds out and tells all others, where each might find something else."""
    state = process_state()
    if state.num_processes == 1:
        return find_out()
    told = [find_out() if state.is_main_process else None]
    torch.distributed.broadcast_object_list(told, src=0, group=_patient_group())
    return told[0]


@contextlib.contextmanager
def main_process_first(state: PartialState) -> Iterator[None]:
    """One process of each machine goes ahead, the others of it follow when it is through."""
    _patient_group()  # made now, while no process is at work: making it is waited for as a step of training is
    if not state.is_local_main_process:
        wait_for_everyone()
    try:
        yield
    finally:
        if state.is_local_main_process:
            wait_for_everyone()


def from_first_process(look: Callable[[], Found]) -> Found:
    """What the first process finds, in all processes: what others see of a disk over a network may be older.

    Raises:
        InputError: as `look` does, in every process.
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
    """A group of all processes that talk over the network cards; None where there is one process, or no such group."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.is_gloo_available()):
        return None
    whole = distributed.group.WORLD
    if whole not in _patient:
        _patient[whole] = distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
    return _patient[whole]

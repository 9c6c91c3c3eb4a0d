"""transformers without what its losses for pictures import: scipy's solvers and torchvision, half a second of a start.

Its `modeling_utils` imports the losses of all tasks, and those that find objects in pictures import functions of these
libraries. Here they are given functions that import them when they are called, so that nothing is missing, only later.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

IMPORTED_LATER = ("scipy.optimize", "transformers.image_transforms")


def import_losses() -> None:
    """Imports the losses, and nothing else."""
    importlib.import_module("accelerate.utils")  # they need it too, and it must find everything as it is
    with _called_later(), contextlib.suppress(ImportError):  # another release may have them elsewhere
        importlib.import_module("transformers.loss.loss_utils")


@contextlib.contextmanager
def _called_later() -> Iterator[None]:
    """Puts modules whose functions import the true ones into the place of those that are not imported yet."""
    absent = [name for name in IMPORTED_LATER if name not in sys.modules]
    for name in absent:
        stand_in: Any = ModuleType(name)
        stand_in.__getattr__ = partial(_later, name)
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _later(module: str, function: str) -> Callable:
    if function.startswith("__"):
        raise AttributeError(function)  # what Python itself asks of a module

    def called(*given: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*given, **named)

    return called

"""Imports parts of transformers without scikit-learn, scipy's solvers and torchvision, which saves a second.

transformers' `modeling_utils` imports the losses of all tasks, and those of object detection import functions of these
libraries. Before 5.21, the newest for Python 3.10, it imports scikit-learn for generating text, too. Here they are
replaced by stand-ins that import the real functions on the first call.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

IMPORTED_LATER = ("scipy.optimize", "sklearn.metrics", "transformers.image_transforms")


def import_losses() -> None:
    """Imports the losses and the module that may import scikit-learn, and nothing else."""
    importlib.import_module("accelerate.utils")  # the losses import it too, and it needs the real modules
    with _lazy_modules(), contextlib.suppress(ImportError):  # other releases may have the losses elsewhere
        importlib.import_module("transformers.loss.loss_utils")
        importlib.import_module("transformers.generation.candidate_generator")


@contextlib.contextmanager
def _lazy_modules() -> Iterator[None]:
    """Replaces modules that are not yet imported with stand-ins whose functions import the real ones when called."""
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
        raise AttributeError(function)  # attributes that Python itself looks up in a module

    def called(*given: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*given, **named)

    return called

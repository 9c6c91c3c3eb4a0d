"""The machine and its installation: number of cores, and checks that replace obscure stack traces."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from hf_audio.errors import InputError, one_line


def require_working_torchaudio() -> None:
    """Raises InputError if torch and torchaudio are incompatible.

    torchaudio's last release, 2.11.1, is built for CUDA and calls functions that are new in torch 2.13: with a
    CPU-only or older torch, its import fails on a missing library or symbol, and transformers then fails to import any
    audio feature extractor. 2.11.0 fails with torch 2.15.
    """
    try:
        import torch  # noqa: F401
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"torch {_version('torch')} and torchaudio {_version('torchaudio')} are incompatible "
            f'({one_line(error)}): use a compatible pair, pip install "torch>=2.13,<2.16" "torchaudio>=2.11.1,<2.12"'
        ) from None


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_computes_in_bfloat16() -> bool:
    """Whether this machine's CPU has bfloat16 instructions (AVX-512 BF16 or AMX). Other CPUs emulate bfloat16, which is
    slower than float32."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Disables Python's garbage collection of cycles: during the import of torch and transformers it repeatedly scans
    their objects, frees almost nothing, and takes a fifth of the import time (docs/benchmarks.md, tagging)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # otherwise, the caller wants to keep the objects frozen
                gc.freeze()
                gc.unfreeze()  # both together move the imported objects to the oldest generation, unscanned
            gc.enable()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"

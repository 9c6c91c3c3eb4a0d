"""The machine and its installation: number of cores, and checks that replace obscure stack traces."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from hf_audio.errors import InputError, one_line


def require_working_torchaudio() -> None:
    """Raises InputError when torch and torchaudio do not fit each other.

    torchaudio's last release, 2.11.1, is built for CUDA: beside a CPU-only torch its import fails on a missing library,
    and transformers then fails on import of any audio feature extractor. 2.11.0 fails beside torch 2.15 too.
    """
    try:
        import torch  # noqa: F401
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"torch {_version('torch')} and torchaudio {_version('torchaudio')} do not work together "
            f'({one_line(error)}); install a pair that does: pip install "torch>=2.11,<2.16" "torchaudio>=2.11.1,<2.12"'
        ) from None


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_computes_in_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for products in bfloat16 (AVX-512 BF16 or AMX). Others emulate them,
    and are slower than in float32."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Rests Python's collector of cycles: while torch and transformers are imported it goes through their objects again
    and again, finds next to nothing to free, and takes a fifth of the time (docs/benchmarks.md, tagging)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # else someone wants to keep what is frozen so
                gc.freeze()
                gc.unfreeze()  # together: what was imported counts as old, and is not gone through now
            gc.enable()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"

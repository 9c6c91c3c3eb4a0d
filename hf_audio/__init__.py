"""hf_audio: from recordings to a published audio classifier with the Hugging Face stack.

    corpus files → index → leak-free split → windows → log-mel features → Arrow shards → model → report → Hub

The public names, listed in `__init__.pyi`, load on first use, so that `import hf_audio` costs nothing.
"""

from __future__ import annotations

import contextlib
from typing import Any

import lazy_loader

__version__ = "0.1.0"

_public, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
# a process that only reports errors does not need a working torchaudio
_WITHOUT_TORCHAUDIO = ("InputError", "clear_errors")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hf_audio' has no attribute {name!r}")
    from hf_audio.environment import quick_imports

    with quick_imports():
        if name not in _WITHOUT_TORCHAUDIO:
            _require_working_torchaudio(name)
        return _public(name)


def _require_working_torchaudio(name: str) -> None:
    from hf_audio.environment import require_working_torchaudio
    from hf_audio.errors import clear_errors

    # A recipe uses only its workflow, whose import already needs torchaudio.
    with clear_errors() if name.startswith("run_") else contextlib.nullcontext():
        require_working_torchaudio()


def __dir__() -> list[str]:
    return [*globals(), *__all__]

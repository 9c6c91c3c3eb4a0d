"""Corpora: each module in this folder reads one, and is found by its name without a registry to edit.

A corpus module has

    CARD: CorpusCard                      its licence, citation and protocol
    index(root: Path) -> list[Clip]       every clip, from the layout on disk, whole or partial
    obtain(root: Path) -> None            optional: downloads or renders it, resumable

Modules whose name starts with an underscore serve a corpus and are none themselves.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from hf_audio.errors import unknown_name


def corpus_names() -> list[str]:
    """Names of all corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find_corpus(name: str) -> ModuleType:
    """The corpus module called `name`; an unknown name is an InputError that names the nearest."""
    if name not in corpus_names():
        raise unknown_name("corpus", name, corpus_names())
    return importlib.import_module(f"{__name__}.{name}")

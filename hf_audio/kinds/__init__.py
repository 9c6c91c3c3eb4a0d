"""Kinds of features: each module in this folder is a kind and is found by its name, so there is no registry to edit.

A module defines KIND, a `Kind`: its settings, how windows are computed, stored, checked and read back, batches for
models, images, and texts for cards. No other code depends on the names of kinds.

Modules whose names start with an underscore only serve the kinds. A third-party kind adds itself to KINDS when its
module is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from transformers import FeatureExtractionMixin

from hf_audio.errors import unknown_name
from hf_audio.kinds._kind import Axes, CardText, Form, Kind, Scale, WindowExtractor, normalized
from hf_audio.kinds._of_sound import STORED_SOUND, OfSound

__all__ = [
    "KINDS",
    "STORED_SOUND",
    "Axes",
    "CardText",
    "Form",
    "Kind",
    "OfSound",
    "Scale",
    "WindowExtractor",
    "kind_named",
    "kind_of",
    "kind_of_extractor",
    "names_of",
    "normalized",
]

KINDS: dict[str, Kind] = {
    module.name: importlib.import_module(f"{__name__}.{module.name}").KIND
    for module in pkgutil.iter_modules(__path__)
    if not module.name.startswith("_")
}


def kind_named(name: str) -> Kind:
    """The kind with this name.

    Raises:
        InputError: there is none; suggests the nearest name.
    """
    if name not in KINDS:
        raise unknown_name("kind of features", name, KINDS)
    return KINDS[name]


def kind_of(parameters: Mapping[str, Any]) -> Kind:
    """The kind of an extractor with these `parameters`.

    Raises:
        InputError: the kind is unknown.
    """
    return kind_named(parameters["kind"])


def kind_of_extractor(extractor: FeatureExtractionMixin) -> Kind:
    """The kind of a published extractor; waveform if it belongs to no other kind."""
    name = type(extractor).__name__
    kinds = (kind for kind in KINDS.values() if name in [one.__name__ for one in kind.published])
    return next(kinds, KINDS["waveform"])


def names_of(form: Form) -> str:
    """The names of the kinds of a form: "fbank or spectrogram"."""
    return " or ".join(name for name, kind in KINDS.items() if kind.form is form)

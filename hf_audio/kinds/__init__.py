"""Kinds of features: each module in this folder is one, and is found by its name without a registry to edit.

A module has KIND, a `Kind`: its settings and what makes its windows, how they are stored, checked and read back,
batches for models, images, and what cards say. Nothing else in the package tells kinds apart by their names.

Modules whose name starts with an underscore serve the kinds and are none themselves. A kind from elsewhere is put into
KINDS by its name, when its module is imported.
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
    """The kind of this name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in KINDS:
        raise unknown_name("kind of features", name, KINDS)
    return KINDS[name]


def kind_of(parameters: Mapping[str, Any]) -> Kind:
    """The kind that an extractor with these `parameters` makes.

    Raises:
        InputError: it is not known here.
    """
    return kind_named(parameters["kind"])


def kind_of_extractor(extractor: FeatureExtractionMixin) -> Kind:
    """The kind that a published extractor makes; those of no kind of their own read waveforms."""
    name = type(extractor).__name__
    kinds = (kind for kind in KINDS.values() if name in [one.__name__ for one in kind.published])
    return next(kinds, KINDS["waveform"])


def names_of(form: Form) -> str:
    """The kinds of one form, in words: "fbank or spectrogram"."""
    return " or ".join(name for name, kind in KINDS.items() if kind.form is form)

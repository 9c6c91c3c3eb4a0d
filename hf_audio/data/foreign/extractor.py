"""Reads the settings of feature extractors, which may be untrusted; no other module reads them.

transformers keeps every field of a preprocessor_config.json as an attribute and writes it again with the next model: an
`auto_map` to third-party code would be published as ours. It also accepts any number. So only fields that the class
declares are read here, and only with the right type and a plausible size.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import FeatureExtractionMixin, SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from hf_audio.errors import InputError, unknown_name
from hf_audio.files import read_json
from hf_audio.kinds import KINDS, kind_of_extractor
from hf_audio.limits import FIELDS, MAX_VALUES

OF_WAVEFORMS = (WhisperFeatureExtractor, SeamlessM4TFeatureExtractor)  # of models, in addition to those of the kinds
OF_ALL = {"padding_side": "right", "return_attention_mask": True}  # which the base class reads without declaring them


def extractor_from_file(extractor_class: type[FeatureExtractionMixin], path: str | Path) -> FeatureExtractionMixin:
    """An extractor of a known class, with the settings of an untrusted preprocessor_config.json.

    Raises:
        InputError: not a small regular file with a JSON object, or a setting with a wrong type or an implausible size.
    """
    return extractor_from_settings(extractor_class, read_json(path), str(path))


def extractor_from_settings(
    extractor_class: type[FeatureExtractionMixin], settings: Mapping[str, Any], source: str
) -> FeatureExtractionMixin:
    """The same from settings that are already read; fields that the class does not declare are left out.

    Args:
        extractor_class: the class.
        settings: the settings of the extractor.
        source: where they come from, for the message.

    Raises:
        InputError: see `extractor_from_file`.
    """
    defaults = declared(extractor_class)
    taken = {name: value for name, value in settings.items() if name in defaults}
    for name, value in taken.items():
        if not (FIELDS[name].holds(value) or (value is None and defaults[name] is None)):
            raise InputError(f"{source} has {name} {_shown(value)}, expected {FIELDS[name].described}")
    largest = _largest_array({**defaults, **taken})
    if largest > MAX_VALUES:
        raise InputError(
            f"{source} requests windows or filters of {largest:,} values, expected at most {MAX_VALUES:,}: correct "
            "its sizes"
        )
    try:
        extractor = extractor_class(**taken)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source} is not valid for {extractor_class.__name__}: {error}") from error
    _check_statistics(extractor, source)
    return extractor


def extractor_class_of(name: Any, source: str) -> type[FeatureExtractionMixin]:
    """The class of a `feature_extractor_type`, from the list of those that this package can use.

    Raises:
        InputError: a name that is not in the list.
    """
    known = known_extractors()
    if not isinstance(name, str) or name not in known:
        raise unknown_name(f"feature extractor of {source}", _shown(name), known)
    return known[name]


def known_extractors() -> dict[str, type[FeatureExtractionMixin]]:
    """The classes that this package can use, by name: those of the kinds of features, and those of models."""
    of_kinds = [one for kind in KINDS.values() for one in kind.published]
    return {one.__name__: one for one in (*of_kinds, *OF_WAVEFORMS)}


def own_extractors() -> set[str]:
    """Names of the extractor classes that are defined in this package, whose files are published with models."""
    return {one.__name__ for kind in KINDS.values() for one in kind.published if one._auto_class is not None}


def declared(extractor_class: type[FeatureExtractionMixin]) -> dict[str, Any]:
    """The settings that a class declares, with their defaults; settings without a limit in FIELDS are ignored."""
    parameters = {name: one.default for name, one in inspect.signature(extractor_class.__init__).parameters.items()}
    return {name: default for name, default in {**OF_ALL, **parameters}.items() if name in FIELDS}


def _largest_array(settings: Mapping[str, Any]) -> int:
    """The size of the largest array that these settings create."""
    of = settings.get
    bins = of("num_mel_bins") or of("feature_size")
    sound_samples = (of("chunk_length") or 0) * settings["sampling_rate"]
    frames = max(of("max_length") or 1, of("num_steps") or 1, sound_samples // (of("hop_length") or 1))
    entropies = round((of("step_s") or 0) / (of("entropy_frame_s") or math.inf))
    window = frames * (bins + entropies) * len(of("channels") or (1,))
    return max(window, sound_samples, (of("n_fft") or 1) * bins)


def _check_statistics(extractor: FeatureExtractionMixin, source: str) -> None:
    """Raises InputError if mean or std are lists of a wrong length, which would be broadcast."""
    count = getattr(extractor, "num_channels", extractor.feature_size)
    may_be_lists = kind_of_extractor(extractor).statistics_axis is not None
    for name in ("mean", "std"):
        values = getattr(extractor, name, None)
        if isinstance(values, list) and (len(values) not in (1, count) or not may_be_lists):
            raise InputError(f"{source} has {len(values)} values of {name}, expected 1 or {count}: correct it")


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]} ..."

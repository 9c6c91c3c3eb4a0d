"""The one door through which a feature extractor's settings come in, for they may be a stranger's.

transformers keeps whatever stands in a preprocessor_config.json as attributes and writes it out again with the next
model: an `auto_map` to somebody's code would be published as ours. It also believes every number. So here only the
fields that the class itself declares are taken, of the right kind and of a size that some sound could need.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import (
    ASTFeatureExtractor,
    FeatureExtractionMixin,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.files import read_json

OWN_EXTRACTORS = (ClassicalFeatureExtractor, SpectrogramFeatureExtractor)
EXTRACTORS: dict[str, type[FeatureExtractionMixin]] = {
    one.__name__: one
    for one in (
        *OWN_EXTRACTORS,
        *(ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor, SeamlessM4TFeatureExtractor),
    )
}
# Numbers of the largest array that an extractor may make before it has heard anything, or of one window that it pads:
# an hour in hundredths of a second by 128 bins is 46 million.
MOST_VALUES = 1 << 26
MOST_STATISTICS = 1 << 16  # of a feature each


class Field(NamedTuple):
    """What a setting may be."""

    described: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int) -> Field:
    """An integer from `low` to `high`."""
    return Field(f"a whole number from {low:,} to {high:,}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Field:
    """An integer or float from `low` to `high`; bool is none."""
    return Field(f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def one_of(*names: Any) -> Field:
    """One of these values, and of their type."""
    return Field(
        f"one of {', '.join(map(str, names))}",
        lambda value: any(type(value) is type(name) and value == name for name in names),
    )


STATISTICS = Field(
    f"a number or a list of up to {MOST_STATISTICS:,}",
    lambda value: (
        _is_number(value)
        or (isinstance(value, list) and 0 < len(value) <= MOST_STATISTICS and all(map(_is_number, value)))
    ),
)
NAMES = Field(
    "a list of up to 16 names",
    lambda value: isinstance(value, list) and 0 < len(value) <= 16 and all(isinstance(name, str) for name in value),
)
SWITCH = one_of(False, True)
FIELDS: dict[str, Field] = {
    "sampling_rate": whole(1, 1_000_000),
    "feature_size": whole(1, 1 << 16),
    "num_mel_bins": whole(1, 1 << 12),
    "n_fft": whole(2, 1 << 17),
    "hop_samples": whole(1, 1 << 20),
    "hop_length": whole(1, 1 << 20),
    "max_length": whole(1, MOST_VALUES),
    "num_steps": whole(1, MOST_VALUES),
    "chunk_length": whole(1, 86_400),
    "stride": whole(1, 64),
    "step_s": number(1e-3, 86_400),
    "entropy_frame_s": number(1e-3, 86_400),
    "padding_value": number(-1e9, 1e9),
    "dither": number(0, 1),
    "mean": STATISTICS,
    "std": STATISTICS,
    "channels": NAMES,
    "normalisation": one_of("dataset", "clip", "none"),
    "padding_side": one_of("right", "left"),
    "do_normalize": SWITCH,
    "return_attention_mask": SWITCH,
}
OF_ALL = {"padding_side": "right", "return_attention_mask": True}  # what the base class reads without declaring it


def extractor_from_file(extractor_class: type[FeatureExtractionMixin], path: str | Path) -> FeatureExtractionMixin:
    """An extractor of a class that is known, with the settings of a preprocessor_config.json that is not.

    Raises:
        InputError: no JSON object of a small regular file, or a setting that is of another kind or beyond measure.
    """
    return extractor_from_settings(extractor_class, read_json(path), str(path))


def extractor_from_settings(
    extractor_class: type[FeatureExtractionMixin], settings: Mapping[str, Any], source: str
) -> FeatureExtractionMixin:
    """The same of settings that were read already; what the class does not declare is left out.

    Args:
        source: where they come from, for the message.

    Raises:
        InputError: see `extractor_from_file`.
    """
    defaults = declared(extractor_class)
    taken = {name: value for name, value in settings.items() if name in defaults}
    for name, value in taken.items():
        if not (FIELDS[name].holds(value) or (value is None and defaults[name] is None)):
            raise InputError(f"{source} has {name} {_shown(value)}, and it must be {FIELDS[name].described}")
    largest = _largest_array({**defaults, **taken})
    if largest > MOST_VALUES:
        raise InputError(
            f"{source} asks for windows or filters of {largest:,} numbers, more than the {MOST_VALUES:,} that any "
            "sound needs: correct its sizes"
        )
    try:
        extractor = extractor_class(**taken)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source} makes no {extractor_class.__name__}: {error}") from error
    _check_statistics(extractor, source)
    return extractor


def extractor_class_of(name: Any, source: str) -> type[FeatureExtractionMixin]:
    """The class of a `feature_extractor_type`, from a list of those that this package can use.

    Raises:
        InputError: a name that is not on it.
    """
    if not isinstance(name, str) or name not in EXTRACTORS:
        raise unknown_name(f"feature extractor of {source}", _shown(name), EXTRACTORS)
    return EXTRACTORS[name]


def declared(extractor_class: type[FeatureExtractionMixin]) -> dict[str, Any]:
    """The settings that a class has by its own words, with their defaults; those without a limit are none."""
    parameters = {name: one.default for name, one in inspect.signature(extractor_class.__init__).parameters.items()}
    return {name: default for name, default in {**OF_ALL, **parameters}.items() if name in FIELDS}


def _largest_array(settings: Mapping[str, Any]) -> int:
    """Numbers in the largest array that these settings alone make."""
    of = settings.get
    bins = of("num_mel_bins") or of("feature_size")
    sound_samples = (of("chunk_length") or 0) * settings["sampling_rate"]
    frames = max(of("max_length") or 1, of("num_steps") or 1, sound_samples // (of("hop_length") or 1))
    entropies = round((of("step_s") or 0) / (of("entropy_frame_s") or math.inf))
    window = frames * (bins + entropies) * len(of("channels") or (1,))
    return max(window, sound_samples, (of("n_fft") or 1) * bins)


def _check_statistics(extractor: FeatureExtractionMixin, source: str) -> None:
    """Raises InputError where mean or std are not one number, or one a channel or feature: they would be broadcast."""
    count = getattr(extractor, "num_channels", extractor.feature_size)
    for name in ("mean", "std"):
        values = getattr(extractor, name, None)
        if isinstance(values, list) and (len(values) not in (1, count) or not isinstance(extractor, OWN_EXTRACTORS)):
            raise InputError(f"{source} has {len(values)} numbers of {name}, expected 1 or {count}: correct it")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]} ..."

"""Limits for untrusted settings: their types, and the largest values that real audio could need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

# Maximum size of an array that an extractor allocates before it reads any sound, or of a padded window: an hour at 100
# frames per second with 128 bins has 46 million values.
MAX_VALUES = 1 << 26
MAX_STATISTICS = 1 << 16  # one per feature


class Field(NamedTuple):
    """The allowed values of a setting: their description, and the test for them."""

    described: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int) -> Field:
    """An integer from `low` to `high`."""
    return Field(f"a whole number from {low:,} to {high:,}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Field:
    """An integer or float from `low` to `high`, but not a bool."""
    return Field(f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def one_of(*names: Any) -> Field:
    """One of these values, with the same type."""
    return Field(
        f"one of {', '.join(map(str, names))}",
        lambda value: any(type(value) is type(name) and value == name for name in names),
    )


STATISTICS = Field(
    f"a number or a list of up to {MAX_STATISTICS:,}",
    lambda value: (
        _is_number(value)
        or (isinstance(value, list) and 0 < len(value) <= MAX_STATISTICS and all(map(_is_number, value)))
    ),
)
NAMES = Field(
    "a list of up to 16 names",
    lambda value: isinstance(value, list) and 0 < len(value) <= 16 and all(isinstance(name, str) for name in value),
)
SWITCH = one_of(False, True)
NONE = one_of(None)
FIELDS: dict[str, Field] = {
    "sampling_rate": whole(1, 1_000_000),
    "feature_size": whole(1, 1 << 16),
    "num_mel_bins": whole(1, 1 << 12),
    "n_fft": whole(2, 1 << 17),
    "hop_samples": whole(1, 1 << 20),
    "hop_length": whole(1, 1 << 20),
    "max_length": whole(1, MAX_VALUES),
    "num_steps": whole(1, MAX_VALUES),
    "chunk_length": whole(1, 86_400),
    "stride": whole(1, 64),
    "step_s": number(1e-3, 86_400),
    "entropy_frame_s": number(1e-3, 86_400),
    "padding_value": number(-1e9, 1e9),
    "dither": number(0, 1),
    "mean": STATISTICS,
    "std": STATISTICS,
    "channels": NAMES,
    "normalization": one_of("dataset", "clip", "none"),
    "padding_side": one_of("right", "left"),
    "do_normalize": SWITCH,
    "return_attention_mask": SWITCH,
}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300

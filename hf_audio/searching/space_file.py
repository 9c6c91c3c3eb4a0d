"""The search space as a YAML file: the flags of a recipe, each with its possible values.

learning_rate: {low: 1e-4, high: 1e-2, log: true}       a number from a range; with `step`, only multiples of it
per_device_train_batch_size: [16, 32]                   one of these values; a value can be a list itself
model_options:                                          the fields of a flag that contains JSON
  hidden_size: [64, 128, 256]
  num_layers: {low: 1, high: 5}                         an integer if both ends are integers
kind_of_loss:                                           any name: one of several sets of flags
  either:
    plain: {}
    focal: {loss: focal, focal_gamma: {low: 0.5, high: 4}}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError, nearest_name
from hf_audio.files import read_yaml
from hf_audio.searching.space import Choice, Dimension, Range, Space

MAX_YAML_BYTES = 1 << 18
MAX_STEPS = 100_000  # per range
RANGE_KEYS = ("low", "high", "log", "step")
OF_JSON = ("model_options",)  # flags whose fields are searched individually
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # numbers such as 1e-4, which YAML 1.1 reads as text
EXPECTED = "expected a list of values, {low: 1e-4, high: 1e-2, log: true}, or {either: {NAME: {FLAG: ...}}}"


def read_space(path: str | Path) -> Space:
    """Reads the space from a YAML file, see above.

    Raises:
        InputError: it cannot be read, is empty, or has an invalid entry.
    """
    entries = read_yaml(path, MAX_YAML_BYTES)
    try:
        dimensions = tuple(_read_all(entries))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not dimensions:
        raise InputError(f"{path} has no settings: {EXPECTED} after the name of a flag")
    twice = _set_twice(dimensions, set())
    if twice:
        raise InputError(f"{path} sets {twice} twice for the same trial: remove one")
    return Space(dimensions)


def _set_twice(dimensions: Sequence[Dimension], outside: set[str]) -> str | None:
    """A flag that one trial would get twice."""
    found = set(outside)
    for one in dimensions:
        if one.flag in found:
            return one.flag
        found.add(one.flag)
    alternatives = [inside for one in dimensions if isinstance(one, Choice) for inside in one.options]
    return next(filter(None, (_set_twice(inside, found) for inside in alternatives)), None)


def _read_all(entries: Mapping[Any, Any], within: str = "", may_be_fixed: bool = False) -> Iterator[Dimension]:
    for flag, entry in entries.items():
        if flag in OF_JSON and isinstance(entry, Mapping):
            for field, of_field in entry.items():
                yield _read_one(f"{flag}.{field}", of_field, within, may_be_fixed)
        else:
            yield _read_one(str(flag).removeprefix("--"), entry, within, may_be_fixed)


def _read_one(flag: str, entry: Any, within: str, may_be_fixed: bool) -> Dimension:
    name = within + flag
    if isinstance(entry, list):
        return _choice(name, flag, entry)
    if isinstance(entry, Mapping) and "either" in entry:
        return _either(name, flag, entry, nested=bool(within))
    if isinstance(entry, Mapping):
        return _range(name, flag, entry)
    if may_be_fixed and entry is not None:
        return _choice(name, flag, [entry])
    raise InputError(f"{flag} has {entry!r}: {EXPECTED}")


def _choice(name: str, flag: str, entry: Sequence[Any]) -> Choice:
    values = tuple(_number(value) for value in entry)
    keys = tuple(json.dumps(value) if isinstance(value, list | dict) else value for value in values)
    if not values or any(value is None for value in values):
        raise InputError(f"{flag} has no values or an empty one: give at least one value, and no empty ones")
    if len({(type(key), key) for key in keys}) < len(keys):
        raise InputError(f"{flag} has duplicate values: give each once")
    return Choice(name, flag, keys, values)


def _range(name: str, flag: str, entry: Mapping[str, Any]) -> Range:
    unknown = [str(key) for key in entry if key not in RANGE_KEYS]
    if unknown:
        guess = nearest_name(unknown[0], (*RANGE_KEYS, "either"))
        raise InputError(f"{flag} has {unknown[0]!r}, {f'did you mean {guess!r}?' if guess else EXPECTED}")
    low, high, step = (_number(entry.get(key)) for key in ("low", "high", "step"))
    log = entry.get("log", False)
    numbers = [one for one in (low, high, step) if one is not None]
    is_number = [isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in numbers]
    if low is None or high is None or not all(is_number) or not isinstance(log, bool):
        raise InputError(f"{flag} must have the numbers low and high, and may have log: true or step: {EXPECTED}")
    if not low < high or (log and low <= 0) or (step is not None and not 0 < step <= high - low):
        raise InputError(
            f"{flag} from {low:g} to {high:g} is not a valid range: low must be below high, above 0 with log, and the "
            "step at most their difference"
        )
    if log and step is not None:
        raise InputError(f"{flag} has log and step: give one of them, or the values as a list")
    is_whole = isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None)
    ends = (low, high) if is_whole else (float(low), float(high))
    found = Range(name, flag, ends[0], ends[1], log=log, step=step)
    if (high - low) / (step or 1) > MAX_STEPS and (is_whole or step):
        raise InputError(
            f"{flag} has more than {MAX_STEPS:,} steps: give a larger step, or a log range with ends such as 1.0"
        )
    last = found.ladder[-1] if step is not None else high
    if not math.isclose(last, high):
        raise InputError(f"{flag} from {low:g} in steps of {step:g} ends at {last:g}: write high: {last:g}")
    return found


def _either(name: str, flag: str, entry: Mapping[str, Any], nested: bool) -> Choice:
    options = entry["either"]
    is_mapping = isinstance(options, Mapping) and options and all(isinstance(one, Mapping) for one in options.values())
    if nested or len(entry) > 1 or not is_mapping:
        raise InputError(f"{flag} has an invalid `either`: {EXPECTED}, and not inside another `either`")
    names = tuple(map(str, options))
    inside = tuple(tuple(_read_all(one, f"{name}.{key}.", True)) for key, one in options.items())
    return Choice(name, name, names, names, inside)


def _number(value: Any) -> Any:
    """Converts texts such as 1e-4, which YAML 1.1 does not read as numbers."""
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value

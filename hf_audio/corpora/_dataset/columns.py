"""Finds the meaning of a dataset's columns: from the user's settings, their types, and common names."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Audio, ClassLabel, Features, LargeList, List, Value

from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import NONE, DatasetReading
from hf_audio.corpora.folder.column_names import LABELS, PATHS, SEVERAL_LABELS, plain
from hf_audio.corpora.folder.idle import nothing_to_leave_out
from hf_audio.errors import InputError, unknown_name

MASKS = ("mask", "labelmask", "labelsmask", "ymask", "known")


def audio_column(features: Features, reading: DatasetReading, place: Place) -> str:
    """The column with the audio.

    Raises:
        InputError: no audio column, several and none chosen, or the chosen one has no audio.
    """
    chosen = reading.audio_column_name
    if chosen:
        require_column(features, chosen, place)
        if not (isinstance(features[chosen], Audio) or _may_be_sound(features[chosen])):
            raise InputError(
                f"--audio_column_name {chosen}: this column of {place.name} is {told_type(features[chosen])} and has "
                f"no sound{_instead(features)}"
            )
        return chosen
    found = [name for name, feature in features.items() if isinstance(feature, Audio)]
    found = found or [name for name, one in features.items() if _may_be_sound(one) and _is_named_as_sound(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{place.name} has {len(found)} audio columns ({', '.join(found)}); choose one, e.g. "
            f"--audio_column_name {found[0]}"
        )
    raise InputError(
        f"{place.name} has no audio column (its columns are {_listed(features)}); give the dataset with the "
        "recordings, or choose the column with --audio_column_name"
    )


def small_columns(features: Features, audio: str, reading: DatasetReading) -> list[str]:
    """The columns to read: single values, and lists that may be labels or masks."""
    named = {*(reading.label_column_name or ()), reading.mask_column_name}
    return [
        name
        for name, feature in features.items()
        if name != audio
        and (
            isinstance(feature, ClassLabel)
            or (isinstance(feature, Value) and "binary" not in feature.dtype)
            or (is_list(feature) and (name in named or _may_be_labels(name, feature)))
        )
    ]


def label_candidates(features: Features, columns: Sequence[str]) -> list[str]:
    """The columns that could be the classes, the most likely first."""
    exact = [name for name in columns if name in ("label", "labels")]
    exact = exact or [name for name in columns if plain(name) in ("label", "labels")]
    if exact:
        return exact
    named = [name for name in columns if plain(name) in (*LABELS, *SEVERAL_LABELS, "cls")]
    typed = [name for name in columns if isinstance(element(features[name]), ClassLabel)]
    return [name for name in named if name in typed] or named or typed or [name for name in columns if name == "txt"]


def mask_column(
    features: Features, columns: Sequence[str], several: bool, reading: DatasetReading, place: Place
) -> str | None:
    """The column with the label mask.

    Args:
        features: types of all columns.
        columns: the small columns.
        several: whether a row may have several classes; otherwise no mask is looked for.
        reading: the user's settings.
        place: the dataset.

    Raises:
        InputError: there is no such column, it has no lists, there are two candidates, or the setting is "none" without
            a candidate.
    """
    chosen = reading.mask_column_name
    if chosen and chosen != NONE:
        require_column(features, chosen, place)
        if not (chosen in columns and is_list(features[chosen])):
            raise InputError(
                f"--mask_column_name {chosen}: this column of {place.name} is {told_type(features[chosen])}; expected "
                "lists of 0 and 1, one for each class"
            )
        return chosen
    found = [name for name in columns if several and plain(name) in MASKS and is_list(features[name])]
    if chosen == NONE:
        if not found:
            raise nothing_to_leave_out("mask_column_name", "the mask", place.name)
        return None
    if len(found) > 1:
        raise InputError(
            f"{place.name} has two columns that could be the label mask, {found[0]} and {found[1]}; choose one, e.g. "
            f"--mask_column_name {found[0]}, or --mask_column_name {NONE}"
        )
    return next(iter(found), None)


def require_column(features: Features, name: str, place: Place) -> None:
    """Raises InputError if the dataset has no such column."""
    if name not in features:
        raise unknown_name(f"column of {place.name}", name, features)


def is_list(feature: object) -> bool:
    """Whether a column's type is any of the list types of `datasets`."""
    return isinstance(feature, List | LargeList | list)


def element(feature: object) -> object:
    """The type of a list's elements; any other type itself."""
    if isinstance(feature, list):
        return feature[0]
    return feature.feature if isinstance(feature, List | LargeList) else feature


def told_type(feature: object) -> str:
    """A column's type in a word or two."""
    if is_list(feature):
        return f"lists of {told_type(element(feature))}"
    if isinstance(feature, Value):
        return feature.dtype
    return type(feature).__name__ if not isinstance(feature, dict) else "a group of columns"


def _may_be_sound(feature: object) -> bool:
    """Whether a type other than Audio can contain sound: bytes, or bytes with a path."""
    if isinstance(feature, dict):
        return {"bytes"} <= set(feature) <= {"bytes", "path", "sampling_rate"}
    return isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")


def _is_named_as_sound(name: str) -> bool:
    return plain(name) in PATHS or "audio" in plain(name)


def _may_be_labels(name: str, feature: object) -> bool:
    inner = element(feature)
    if plain(name) in MASKS:
        return isinstance(inner, Value)
    if isinstance(inner, ClassLabel):
        return True
    return isinstance(inner, Value) and plain(name) in (*LABELS, *SEVERAL_LABELS)


def _instead(features: Features) -> str:
    found = [name for name, feature in features.items() if isinstance(feature, Audio)]
    return f"; give --audio_column_name {found[0]}" if found else ""


def _listed(features: Features) -> str:
    return ", ".join(list(features)[:12]) + (" ..." if len(features) > 12 else "")

"""The mapping between a model's classes and those of the data: by a label map, by name, or by AudioSet's synonyms.

    violin: Violin, fiddle            in a label map: a class of the data, and the model's class for it
    guitar:                           any of these counts as guitar
      - Acoustic guitar
      - Electric guitar
    noise: null                       left out
    MIT/ast-finetuned-audioset:       lines for one of several models, by its name
      voice: Singing

Without a label map, two names match if they differ only in case, spaces, hyphens or Unicode form, or if one of them is
a comma-separated list of synonyms, as in AudioSet's ontology ("Violin, fiddle"), and the other is one of these.
Ambiguous names are not guessed: they are left out, with a note.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError, nearest_name
from hf_audio.files import read_yaml
from hf_audio.preparation.label_map import MAX_MAP_BYTES

MAX_LOG_ODDS = 30.0
SHOWN = 12
JOIN = " / "  # between the names of classes that are merged

GivenMap = dict[str, list[str] | None]  # a class of the data: the model's classes for it, None to leave it out


@dataclass(frozen=True)
class ClassMapping:
    """The classes that a model is evaluated on.

    Attributes:
        labels: the mapped classes of the data, with the data's kind of task; classes that the label map merges are one
            class here, "violin / viola".
        of_data: for each, the positions of the data's classes.
        of_model: for each, the positions of the model's classes.
        told: notes for readers, one sentence each.
    """

    labels: LabelSpace
    of_data: tuple[tuple[int, ...], ...]
    of_model: tuple[tuple[int, ...], ...]
    told: tuple[str, ...]

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """float32 `[clips, data's classes]` → `[clips, classes]`. A merged class is present if any of its parts is, and
        NaN if no part is known to be present and some part is unknown."""
        columns = [targets[:, list(places)] for places in self.of_data]
        found = [np.where((one > 0.5).any(axis=1), 1.0, one.sum(axis=1) * 0.0) for one in columns]
        return np.stack(found, axis=1).astype(np.float32)

    def as_names(self, model_labels: LabelSpace) -> dict[str, list[str]]:
        """The names of the model's classes for each class."""
        its = ([model_labels.names[place] for place in places] for places in self.of_model)
        return dict(zip(self.labels.names, its, strict=True))

    def logits(self, logits: np.ndarray, model_labels: LabelSpace) -> np.ndarray:
        """A model's float32 `[windows, model's classes]` → `[windows, classes]`, for the data's kind of task.

        For single-label data, the softmax of these is the model's softmax restricted to the evaluated classes. A
        single-label model on multi-label data gives the log-odds of its own softmax. For merged classes, a single-label
        model's probabilities are added, and a multi-label model's largest logit counts.
        """
        logits = np.where(np.isfinite(logits), logits, np.nan).astype(np.float64)  # JudgedClips refuses NaN
        if self.labels.is_multi_label and not model_labels.is_multi_label:
            probabilities = model_labels.probabilities(logits)
            found = [_log_odds(probabilities[:, list(places)].sum(axis=1)) for places in self.of_model]
        elif model_labels.is_multi_label:
            found = [logits[:, list(places)].max(axis=1) for places in self.of_model]
        else:
            with np.errstate(invalid="ignore"):
                found = [np.logaddexp.reduce(logits[:, list(places)], axis=1) for places in self.of_model]
        return np.stack(found, axis=1).astype(np.float32)


def map_classes(
    model_labels: LabelSpace, data_labels: LabelSpace, given: GivenMap | None = None, *, model: str, data: str
) -> ClassMapping:
    """Maps the classes of the data to those of a model.

    Args:
        given: the entries of a label map, see `read_given_map`; other classes are mapped by name.
        model, data: names for messages.

    Raises:
        InputError: no class is mapped, or only one for single-label data.
    """
    given = given or {}
    by_name = _by_name(model_labels.names, [name for name in data_labels.names if name not in given])
    found: dict[tuple[str, ...], list[str]] = {}
    for name in data_labels.names:
        its = given[name] if name in given else by_name.names.get(name)
        if its:
            found.setdefault(tuple(its), []).append(name)
    data_ids, model_ids = data_labels.label2id, model_labels.label2id
    if len(found) < (1 if data_labels.is_multi_label else 2):
        raise _nothing_shared(model_labels, data_labels, len(found), model, data)
    _check_apart(found, model)
    labels = LabelSpace(tuple(JOIN.join(names) for names in found.values()), data_labels.problem_type)
    return ClassMapping(
        labels,
        tuple(tuple(data_ids[name] for name in names) for names in found.values()),
        tuple(tuple(model_ids[name] for name in names) for names in found),
        tuple(_told(found, given, by_name.unclear, model_labels, data_labels, model)),
    )


def read_given_map(path: str | Path, data_labels: LabelSpace, models: Mapping[str, LabelSpace]) -> dict[str, GivenMap]:
    """The entries of a label map that apply to each model.

    Args:
        path: the YAML file.
        data_labels: the classes of the data, the keys of the map.
        models: the classes of each model, by its name.

    Raises:
        InputError: the file cannot be read, or names an unknown class or model.
    """
    content = read_yaml(path, MAX_MAP_BYTES)
    own = {name: part for name, part in content.items() if isinstance(part, Mapping)}
    for name in own:
        if name not in models:
            raise _not_there(path, "model that is evaluated", name, models)
    shared = {name: part for name, part in content.items() if name not in own}
    return {
        model: _checked(path, shared | dict(own.get(model, {})), data_labels, labels, model)
        for model, labels in models.items()
    }


def plain(name: str) -> str:
    """A class name in lower case, with runs of spaces, hyphens and underscores as one space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\s_-]+", " ", folded).strip()


def spellings(name: str) -> set[str]:
    """The plain names of a class: the whole name, and each of its comma-separated synonyms."""
    return {plain(one) for one in (name, *name.split(","))}


@dataclass(frozen=True)
class _ByName:
    """For the classes of the data: the model's class of the same name, or the candidates if that is ambiguous."""

    names: dict[str, tuple[str]]
    unclear: dict[str, list[str]]


def _by_name(model_names: Sequence[str], data_names: Iterable[str]) -> _ByName:
    exact = {name: [name] for name in model_names}
    spelled, synonyms = defaultdict(list), defaultdict(list)
    for name in model_names:
        spelled[plain(name)].append(name)
        for part in dict.fromkeys(map(plain, name.split(","))):
            synonyms[part].append(name)
    found, unclear = {}, {}
    for name in data_names:
        parts = [one for part in name.split(",") for one in synonyms.get(plain(part), ())]
        choices = exact.get(name) or spelled.get(plain(name)) or list(dict.fromkeys(parts))
        if len(choices) == 1:
            found[name] = (choices[0],)
        elif choices:
            unclear[name] = choices
    users = defaultdict(list)
    for name, (its,) in found.items():
        users[its].append(name)
    for its, names in users.items():
        if len(names) > 1:  # whether these are one class is for the user to decide
            best = [name for name in names if name == its]
            unclear |= {name: [its] for name in names if name not in best}
    return _ByName({name: its for name, its in found.items() if name not in unclear}, unclear)


def _check_apart(found: Mapping[tuple[str, ...], Sequence[str]], model: str) -> None:
    """Refuses a class of the model that is mapped to two classes of the data."""
    user_of: dict[str, str] = {}
    for its, names in found.items():
        for one in its:
            if user_of.setdefault(one, names[0]) != names[0]:
                raise InputError(
                    f"{one!r} of {model} is mapped to both {user_of[one]!r} and {names[0]!r}: give both the same "
                    "lines in --label_map, which merges them into one class, or map it to only one of them"
                )


def _told(
    found: Mapping[tuple[str, ...], Sequence[str]],
    given: GivenMap,
    unclear: Mapping[str, Sequence[str]],
    model_labels: LabelSpace,
    data_labels: LabelSpace,
    model: str,
) -> Iterable[str]:
    """Notes on a mapping for readers, one sentence each; none if all classes have the same names."""
    mapped = {name for names in found.values() for name in names}
    others = [
        f"{' and '.join(map(repr, names))} to {' or '.join(map(repr, its))}"
        for its, names in found.items()
        if list(its) != list(names)
    ]
    if others:
        yield f"Classes mapped to those of {model}: {_some(others)}."
    left_out = [name for name in data_labels.names if name in given and given[name] is None]
    if left_out:
        yield f"The label map leaves out {_some(map(repr, left_out))}."
    for name, choices in unclear.items():
        yield (
            f"{name!r} is left out as ambiguous: it could be {_some(map(repr, choices))} of {model}"
            f"{', as could other classes' if len(choices) == 1 else ''}; map it with --label_map."
        )
    missing = [name for name in data_labels.names if name not in mapped and name not in unclear and name not in given]
    if missing:
        yield (
            f"Left out, because {model} has no class with that name: {_some(map(repr, missing))}; use --label_map if "
            "it has another name."
        )
    used = {name for its in found for name in its}
    unused = len(model_labels) - len(used)
    if unused:
        yield f"{unused} of the {len(model_labels)} classes of {model} do not occur in the data and are ignored."
    yield from _told_of_tasks(model_labels, data_labels, model)


def _told_of_tasks(model_labels: LabelSpace, data_labels: LabelSpace, model: str) -> Iterable[str]:
    if model_labels.problem_type == data_labels.problem_type:
        return
    if data_labels.problem_type == SINGLE_LABEL:
        yield f"{model} scores each class separately, but these clips have one class each: the highest score is taken."
    elif data_labels.problem_type == MULTI_LABEL:
        yield (
            f"{model} predicts one class per clip, but these clips may have several: its scores are a softmax, in "
            "which classes that sound together compete."
        )


def _nothing_shared(
    model_labels: LabelSpace, data_labels: LabelSpace, num_found: int, model: str, data: str
) -> InputError:
    shared = "no class" if not num_found else "only one class"
    example = f"{data_labels.names[0]}: {model_labels.names[0]}"
    return InputError(
        f"{model} ({_some(model_labels.names, 5)}) and {data} ({_some(data_labels.names, 5)}) share {shared} by name: "
        f"give --label_map FILE.yaml with a line for each class of the data, such as `{example}`"
    )


def _checked(
    path: str | Path, lines: Mapping[Any, Any], data_labels: LabelSpace, model_labels: LabelSpace, model: str
) -> GivenMap:
    found: GivenMap = {}
    for name, value in lines.items():
        names = [value] if isinstance(value, str) else value
        is_list = isinstance(names, list) and names and all(isinstance(one, str) for one in names)
        if not isinstance(name, str) or not (value is None or is_list):
            raise InputError(
                f"{path} maps {name!r} to {value!r}, expected a class of the model, a list of them, or null: quote "
                'names that YAML reads as something else (yes, no, on, 1), such as "no"'
            )
        if name not in data_labels.names:
            raise _not_there(path, "class of the data", name, data_labels.names)
        for one in names or ():
            if one not in model_labels.names:
                raise _not_there(path, f"class of {model}", one, model_labels.names)
        found[name] = None if value is None else list(dict.fromkeys(names))
    return found


def _not_there(path: str | Path, what: str, name: object, names: Iterable[str]) -> InputError:
    names = sorted(names)
    guess = nearest_name(str(name), names)
    hint = f"did you mean {guess!r}?" if guess else f"expected one of: {_some(names, 20)}"
    return InputError(f"{path} names {name!r}, which is not a {what}: {hint}")


def _some(names: Iterable[str], max_shown: int = SHOWN) -> str:
    names = list(names)
    more = f" and {len(names) - max_shown} more" if len(names) > max_shown else ""
    return ", ".join(names[:max_shown]) + more


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        found = np.log(probabilities) - np.log1p(-np.minimum(probabilities, 1.0))
    return np.clip(found, -MAX_LOG_ODDS, MAX_LOG_ODDS)

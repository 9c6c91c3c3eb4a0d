"""The mapping of a model's classes to the data's: by a label map, by name, or by AudioSet's synonyms.

    violin: Violin, fiddle            in a label map: the data's class, and the model's that is it
    guitar:                           any of these is it
      - Acoustic guitar
      - Electric guitar
    noise: null                       is left out
    MIT/ast-finetuned-audioset:       lines for one of several models, by its name
      voice: Singing

Names are the same by themselves where they differ in case, spaces, hyphens or Unicode form alone, or where one of them
lists synonyms between commas, as AudioSet's ontology does ("Violin, fiddle"), and one of these is the other. What is
not told apart by that is not guessed: it is left out, and said.
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
JOIN = " / "  # between the names of classes that are one

GivenMap = dict[str, list[str] | None]  # the data's class: the model's that are it, None for what is left out


@dataclass(frozen=True)
class ClassMapping:
    """The classes that a model is judged by.

    Attributes:
        labels: those of the data that are mapped, with the data's kind of task; data classes that the map brought
            together are one, "violin / viola".
        of_data: of each the data's classes.
        of_model: of each the model's.
        told: what was done, a sentence each.
    """

    labels: LabelSpace
    of_data: tuple[tuple[int, ...], ...]
    of_model: tuple[tuple[int, ...], ...]
    told: tuple[str, ...]

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """float32 `[clips, data's classes]` → `[clips, classes]`: of classes that are one, any that is there counts,
        and NaN where none is known to be there and something is unknown."""
        columns = [targets[:, list(places)] for places in self.of_data]
        found = [np.where((one > 0.5).any(axis=1), 1.0, one.sum(axis=1) * 0.0) for one in columns]
        return np.stack(found, axis=1).astype(np.float32)

    def as_names(self, model_labels: LabelSpace) -> dict[str, list[str]]:
        """Of each class the model's that are it."""
        its = ([model_labels.names[place] for place in places] for places in self.of_model)
        return dict(zip(self.labels.names, its, strict=True))

    def logits(self, logits: np.ndarray, model_labels: LabelSpace) -> np.ndarray:
        """A model's float32 `[windows, model's classes]` → `[windows, classes]`, for the data's kind of task.

        Where each clip has one class, the softmax of these is the model's own among the classes that are judged. A
        model with one class at a time that is asked for several gives the log-odds of its own softmax. Of several
        classes that are one, probabilities of one at a time are added, and of several at a time the highest counts.
        """
        logits = np.where(np.isfinite(logits), logits, np.nan).astype(np.float64)  # JudgedClips says it
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
    """Maps the classes of data to a model's.

    Args:
        given: of a label map, see `read_given_map`; other classes are mapped by their names.
        model, data: names, for messages.

    Raises:
        InputError: no class is mapped, or one alone where each clip has one class.
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
    """The lines of a label map that hold for each model.

    Args:
        path: of the YAML file.
        data_labels: classes of the data, which its lines begin with.
        models: the classes of each, by its name.

    Raises:
        InputError: it cannot be read, or names a class or a model that is not there.
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
    """A class's name without case, and with one space where there are spaces, hyphens or underlines."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\s_-]+", " ", folded).strip()


def spellings(name: str) -> set[str]:
    """The plain names that a class goes by: its own and, of synonyms between commas, each."""
    return {plain(one) for one in (name, *name.split(","))}


@dataclass(frozen=True)
class _ByName:
    """Of the data's classes the model's of the same name, and of those that were not clear what they may be."""

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
        if len(names) > 1:  # they cannot be told apart, and whether they are one is not for us to say
            best = [name for name in names if name == its]
            unclear |= {name: [its] for name in names if name not in best}
    return _ByName({name: its for name, its in found.items() if name not in unclear}, unclear)


def _check_apart(found: Mapping[tuple[str, ...], Sequence[str]], model: str) -> None:
    """Refuses a class of the model that is a part of two classes of the data."""
    user_of: dict[str, str] = {}
    for its, names in found.items():
        for one in its:
            if user_of.setdefault(one, names[0]) != names[0]:
                raise InputError(
                    f"{one!r} of {model} is said to be {user_of[one]!r} and {names[0]!r}: give both of these the same "
                    "lines in --label_map, which makes one class of them, or give it to one alone"
                )


def _told(
    found: Mapping[tuple[str, ...], Sequence[str]],
    given: GivenMap,
    unclear: Mapping[str, Sequence[str]],
    model_labels: LabelSpace,
    data_labels: LabelSpace,
    model: str,
) -> Iterable[str]:
    """What readers must know of a mapping, a sentence each; nothing where all classes are the same."""
    mapped = {name for names in found.values() for name in names}
    others = [
        f"{' and '.join(map(repr, names))} as {' or '.join(map(repr, its))}"
        for its, names in found.items()
        if list(its) != list(names)
    ]
    if others:
        yield f"{model} is asked for {_some(others)}."
    left_out = [name for name in data_labels.names if name in given and given[name] is None]
    if left_out:
        yield f"The label map leaves out {_some(map(repr, left_out))}."
    for name, choices in unclear.items():
        yield (
            f"{name!r} could be {_some(map(repr, choices))} of {model}"
            f"{' as other classes are' if len(choices) == 1 else ''}, and is left out: --label_map says what it is."
        )
    missing = [name for name in data_labels.names if name not in mapped and name not in unclear and name not in given]
    if missing:
        yield (
            f"{model} has no class like {_some(map(repr, missing))}: left out; --label_map maps what has another name."
        )
    used = {name for its in found for name in its}
    unused = len(model_labels) - len(used)
    if unused:
        yield f"{unused} of the {len(model_labels)} classes of {model} are none of the data's and are not asked for."
    yield from _told_of_tasks(model_labels, data_labels, model)


def _told_of_tasks(model_labels: LabelSpace, data_labels: LabelSpace, model: str) -> Iterable[str]:
    if model_labels.problem_type == data_labels.problem_type:
        return
    if data_labels.problem_type == SINGLE_LABEL:
        yield f"{model} judges each class by itself, and each clip here has one: the highest is taken."
    elif data_labels.problem_type == MULTI_LABEL:
        yield (
            f"{model} has one class at a time, and clips here may have several: its softmax is each class's score, so "
            "classes that sound together share it."
        )


def _nothing_shared(
    model_labels: LabelSpace, data_labels: LabelSpace, num_found: int, model: str, data: str
) -> InputError:
    shared = "no class" if not num_found else "one class only"
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
                f"{path} maps {name!r} to {value!r}, expected a class of the model, a list of them, or null: put names "
                'that YAML reads as something else (yes, no, on, 1) in quotation marks, "no"'
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
    hint = f"did you mean {guess!r}?" if guess else f"there are: {_some(names, 20)}"
    return InputError(f"{path} names {name!r}, which is no {what}: {hint}")


def _some(names: Iterable[str], most: int = SHOWN) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        found = np.log(probabilities) - np.log1p(-np.minimum(probabilities, 1.0))
    return np.clip(found, -MAX_LOG_ODDS, MAX_LOG_ODDS)

"""Renames classes according to a YAML file, so that several corpora use the same classes.

    violin: strings        in all corpora with violin
    cello: strings         merges several classes
    speech: null           leaves the class out
    irmas:                 for one corpus only, takes precedence over lines for all corpora
      voi: voice

Classes that are not listed keep their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import with_values
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, nearest_name
from hf_audio.files import read_yaml

MAX_MAP_BYTES = 1 << 20

Names = dict[str, str | None]  # original name: new name, or None to leave the class out


def read_label_map(path: str | Path, classes: Mapping[str, Sequence[str]]) -> dict[str, Names]:
    """The new names of each corpus's classes.

    Args:
        path: of the file.
        classes: of each corpus, by name of the corpus.

    Raises:
        InputError: the file cannot be read, names a class or corpus that does not exist, or has an empty name.
    """
    content = read_yaml(path, MAX_MAP_BYTES)
    own = {name: part for name, part in content.items() if isinstance(part, Mapping)}
    shared = {name: part for name, part in content.items() if not isinstance(part, Mapping)}
    for name in own:
        if name not in classes:
            raise _not_there(path, "corpus", name, classes)
    everywhere = {name for names in classes.values() for name in names}
    _check(path, shared, everywhere, "any of the corpora" if len(classes) > 1 else "the corpus")
    for corpus, names in own.items():
        _check(path, names, classes[corpus], corpus)
    return {
        corpus: {name: (shared | dict(own.get(corpus, {}))).get(name, name) for name in names}
        for corpus, names in classes.items()
    }


def with_names(clips: pa.Table, labels: LabelSpace, names: Names) -> tuple[pa.Table, LabelSpace, str]:
    """Clips and classes with new names, and a sentence about the changes, "" if there are none.

    A clip whose classes are all left out is removed in a single-label task; in a multi-label task, it stays without
    classes.

    Raises:
        InputError: no classes or clips are left.
    """
    changed = {name: ours for name, ours in names.items() if ours != name}
    if not changed:
        return clips, labels, ""
    given = [_named(one, names) for one in clips["labels"].to_pylist()]
    # a merged class is known if one of its original classes applies
    unknown = [
        [name for name in _named(one, names) if name not in its]
        for one, its in zip(clips["unknown"].to_pylist(), given, strict=True)
    ]
    renamed = with_values(with_values(clips, "labels", given), "unknown", unknown)
    if not labels.is_multi_label:
        renamed = renamed.filter(pc.greater(pc.list_value_length(renamed["labels"]), 0))
    ours = tuple(dict.fromkeys(name for old in labels.names if (name := names[old]) is not None))
    if not ours or not len(renamed):
        raise InputError("The label map leaves out all classes: give at least one a name, or leave the corpus out")
    told = [f"{old!r} as {new!r}" for old, new in changed.items() if new is not None]
    left_out = [repr(old) for old, new in changed.items() if new is None]
    said = [f"renamed classes {', '.join(told)}"] if told else []
    if left_out:
        said.append(f"left out {', '.join(left_out)} ({len(clips) - len(renamed):,} clips)")
    return renamed, LabelSpace(ours, labels.problem_type), "; ".join(said)


def _named(labels: Iterable[str], names: Names) -> list[str]:
    return list(dict.fromkeys(name for label in labels if (name := names.get(label, label)) is not None))


def _check(path: str | Path, names: Mapping[Any, Any], classes: Iterable[str], where: str) -> None:
    """Refuses unknown classes and invalid names."""
    classes = list(classes)
    for name, ours in names.items():
        if not isinstance(name, str) or not (ours is None or isinstance(ours, str)):
            raise InputError(
                f"{path} maps {name!r} to {ours!r}, expected class names or null: put names that YAML reads as other "
                'values (yes, no, on, 1) in quotation marks, "no"'
            )
        if name not in classes:
            raise _not_there(path, f"class of {where}", name, classes)
        if ours is not None and not ours.strip():
            raise InputError(f"{path} gives {name!r} an empty name: write null to leave the class out")


def _not_there(path: str | Path, what: str, name: object, names: Iterable[str]) -> InputError:
    names = sorted(names)
    guess = nearest_name(str(name), names)
    hint = f"did you mean {guess!r}?" if guess else f"expected one of: {', '.join(names[:20])}"
    return InputError(f"{path} names {name!r}, which is not a {what}: {hint}")

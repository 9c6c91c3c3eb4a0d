"""Class folders: which folder names are classes, which are splits, and which are groups.

violin/a.wav                    class; every file its own group
violin/ann/a.wav                class, group: the first folder below the class; deeper folders do not matter
train/violin/ann/a.wav          split (or fold1 ...), class, group
violin/train/ann/a.wav          class, split, group
train/train/violin/a.wav        a folder within itself: the same as train/violin/a.wav
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.corpora.folder.column_names import is_named_like_a_group
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES, Contents, why_unreadable
from hf_audio.corpora.folder.reading import NO_GROUPS, NO_SPLITS, Read
from hf_audio.corpora.folder.split_names import is_fold, split_called, split_within
from hf_audio.data.index.table import Clip
from hf_audio.data.index.understanding import counted, some
from hf_audio.errors import InputError

Parts = tuple[str, ...]
MIN_OF_A_CLASS = 3  # files of unknown kind in a folder that may be a class: two may be LICENSE and README


class Place(NamedTuple):
    """The meaning of a recording's folders: its class, the folders below the class, and its split if any."""

    label: str
    below: Parts
    split: str | None = None


class Layout(NamedTuple):
    """Recordings in class folders, loose ones above the class folders, those in other folders, and a description."""

    placed: dict[Parts, Place]
    loose: list[Parts]
    outside: list[Parts]
    how: str


def read_class_folders(contents: Contents) -> Read:
    """The recordings of class folders.

    Raises:
        InputError: there are no recordings, none in a class folder, splits without classes, or classes a level deeper.
    """
    root, files = contents.root, {path: path.relative_to(contents.root).parts for path in contents.audio}
    if not files:
        raise InputError(
            f"{root} has no audio files; expected class folders such as {root.name}/violin/a.wav, or a labels.csv"
        )
    _check_depth(contents, list(files.values()))
    layout = _layout(contents, list(files.values()))
    if len(layout.loose) >= len(layout.placed):
        _refuse_loose(contents, layout.loose)
    _refuse_vanished(contents, layout)
    placed, wrapper = _unwrapped(layout.placed)
    shared = _shared_groups(placed.values())
    clips = [
        Clip(str(path), (place.label,), _group(place, parts, shared), "/".join(parts), split=place.split)
        for path, parts in files.items()
        if (place := placed.get(parts))
    ]
    how = layout.how + (f", skipping the folder {'/'.join(wrapper)} in each" if wrapper else "")
    without_group = sum(not place.below for place in placed.values())
    read = Read(how, clips, _told_groups(placed, shared, without_group), _told_splits(placed), without_group)
    _name_the_rest(read, contents, layout)
    _name_classes_like_splits(read)
    return read


def _layout(contents: Contents, files: Sequence[Parts]) -> Layout:
    splits = _split_folders(files)
    if splits:
        return _below_splits(contents, files, splits)
    if _has_splits_below_classes(files):
        placed = {parts: Place(parts[0], parts[2:-1], _split(parts[1])) for parts in files if len(parts) > 2}
        how = "class folders with a folder for each split in them"
    else:
        _refuse_classes_below(contents, files)
        placed = {parts: Place(parts[0], parts[1:-1]) for parts in files if len(parts) > 1}
        how = "class folders"
    return Layout(placed, [parts for parts in files if parts not in placed], [], how)


def _check_depth(contents: Contents, files: Sequence[Parts]) -> None:
    """Refuses a folder whose only folder contains the classes or splits."""
    folders = [parts[:-1] for parts in files if len(parts) > 1]
    levels = [set(names) for names in zip(*folders, strict=False)]  # only to the depth that all of them share
    prefix = [next(iter(names)) for names in itertools.takewhile(lambda names: len(names) == 1, levels)]
    deeper = sorted({parts[len(prefix)] for parts in folders if len(parts) > len(prefix)})
    if prefix and len(deeper) > 1 and not all(split_called(name) for name in prefix):
        raise InputError(
            f"{contents.root} has only one folder of recordings, {prefix[0]}, which would be the only class, but the "
            f"classes seem to be in it ({some(deeper)}); give --data_dir {contents.root.joinpath(*prefix)}"
        )


def _split_folders(files: Sequence[Parts]) -> set[str]:
    """Top folders that are splits or folds: all of them, or at least two splits among others; else none."""
    tops = {parts[0] for parts in files if len(parts) > 1}
    if len(tops) > 1 and all(map(is_fold, tops)):
        return tops
    spoken_of = {split_within(name) for name in tops}
    if None not in spoken_of and "train" in spoken_of and len(spoken_of) > 1:
        return tops  # my-train and my-test
    named = {name for name in tops if split_called(name)}
    return named if named == tops or len({split_called(name) for name in named}) > 1 else set()


def _split(folder: str) -> str:
    return folder if is_fold(folder) else split_within(folder) or folder


def _refuse_classes_below(contents: Contents, files: Sequence[Parts]) -> None:
    """Refuses top folders named like splits or groups if all contain the same folders: those are the classes.

    Raises:
        InputError: train/violin and holdout/violin, or speaker_1/violin and speaker_2/violin.
    """
    inner: dict[str, set[str]] = defaultdict(set)
    for parts in (parts for parts in files if len(parts) > 2):
        inner[parts[0]].add(parts[1])
    times = Counter(itertools.chain.from_iterable(inner.values()))
    classes = sorted(name for name, number in times.items() if number > 1)
    if len(inner) < 2 or len(classes) < 2:
        return
    same = f"several of them have the same folders ({some(classes)}), which seem to be the classes"
    like = sorted(top for top in inner if split_called(top))
    if like and len(inner) == 2 and len(classes) == len(times):
        other = next(top for top in sorted(inner) if top not in like)
        raise InputError(
            f"{contents.root} has the folders {like[0]}, named like a split, and {other}, and {same}: rename {other} "
            "to test or validation, or, if these are two classes, list the recordings in a labels.csv with path and "
            "label"
        )
    if all(map(is_named_like_a_group, inner)) and not any(map(is_named_like_a_group, classes)):
        raise InputError(
            f"The folders {some(sorted(inner))} in {contents.root} are named like groups, and {same}: list the "
            "recordings in a labels.csv with path, label and group, or swap the folders, as in "
            f"{classes[0]}/{sorted(inner)[0]}"
        )


def _has_splits_below_classes(files: Sequence[Parts]) -> bool:
    """Whether all folders in the classes are splits; recordings outside them have no split."""
    seconds = {split_called(parts[1]) for parts in files if len(parts) > 2}
    return None not in seconds and "train" in seconds and len(seconds) > 1


def _below_splits(contents: Contents, files: Sequence[Parts], splits: set[str]) -> Layout:
    """Places below split folders; recordings without a class folder are loose, those in other folders outside."""
    doubled = {split for split in splits if _is_doubled(split, files)}
    placed: dict[Parts, Place] = {}
    for parts in files:
        inner = parts[1:] if parts[0] in doubled and len(parts) > 2 else parts
        if parts[0] in splits and len(inner) > 2:
            placed[parts] = Place(inner[1], inner[2:-1], _split(parts[0]))
    found = ", ".join(sorted(splits))
    if not placed:
        raise InputError(
            f"{contents.root} has folders named like splits, {found}, but no class folders in them; expected e.g. "
            f"{sorted(splits)[0]}/violin/a.wav, or a table with columns path, label and split"
        )
    _check_depth_below_splits(contents, list(placed.values()), found)
    twice = f" ({', '.join(sorted(doubled))} is in a folder with the same name, which is skipped)" if doubled else ""
    stray = [parts for parts in files if parts not in placed]
    outside = [parts for parts in stray if len(parts) > 1 and parts[0] not in splits]
    loose = [parts for parts in stray if len(parts) == 1 or parts[0] in splits]
    return Layout(placed, loose, outside, f"class folders below the folders {found}{twice}")


def _is_doubled(split: str, files: Iterable[Parts]) -> bool:
    """Whether a split's folder has only one folder, with the name of the same split."""
    seconds = {parts[1] for parts in files if parts[0] == split and len(parts) > 2}
    return len(seconds) == 1 and split_called(next(iter(seconds))) == split_called(split) is not None


def _check_depth_below_splits(contents: Contents, places: Sequence[Place], found: str) -> None:
    labels = {place.label for place in places}
    deeper = sorted({place.below[0] for place in places if place.below})
    if len(labels) == 1 and len(deeper) > 1:
        label = next(iter(labels))
        raise InputError(
            f"The folders {found} in {contents.root} have only one folder each, {label}, which would be the only "
            f"class, but the classes seem to be in it ({some(deeper)}); move them up, so that e.g. "
            f"{found.split(', ')[0]}/{deeper[0]} has recordings"
        )


def _unwrapped(placed: dict[Parts, Place]) -> tuple[dict[Parts, Place], Parts]:
    """Places without a folder that is the only one in each class, or one of a format: violin/wav, piano/mp3."""
    wrapper: Parts = ()
    while len({place.label for place in placed.values()}) > 1:
        firsts = {place.below[:1] for place in placed.values()}
        names = sorted(name for first in firsts for name in first)
        are_formats = all(f".{name.casefold()}" in AUDIO_SUFFIXES for name in names)
        if () in firsts or (len(names) > 1 and not are_formats):
            break
        wrapper += (" or ".join(names),)
        placed = {parts: place._replace(below=place.below[1:]) for parts, place in placed.items()}
    return placed, wrapper


def _shared_groups(places: Iterable[Place]) -> set[str]:
    """Names of folders below several classes: ann is the same person in yes/ann and in no/ann."""
    labels: dict[str, set[str]] = defaultdict(set)
    for place in places:
        if place.below:
            labels[place.below[0]].add(place.label)
    return {name for name, found in labels.items() if len(found) > 1}


def _group(place: Place, parts: Parts, shared: set[str]) -> str:
    if not place.below:
        return "/".join(parts)
    return place.below[0] if place.below[0] in shared else f"{place.label}/{place.below[0]}"


def _told_groups(placed: dict[Parts, Place], shared: set[str], without_group: int) -> str:
    if without_group == len(placed):
        return NO_GROUPS
    names = {place.below[0] for place in placed.values() if place.below}
    told = f"the {len(names):,} folders below the classes ({some(sorted(names))})"
    if shared:
        told += f", of which {len(shared):,} are below several classes and are one group each"
    if without_group:
        told += f"; {without_group:,} files have no known group and are groups of their own"
    return told


def _told_splits(placed: dict[Parts, Place]) -> str:
    found = sorted({place.split for place in placed.values() if place.split})
    return f"from folders ({', '.join(found)})" if found else NO_SPLITS


def _refuse_loose(contents: Contents, loose: Sequence[Parts]) -> None:
    first = "/".join(loose[0])
    raise InputError(
        f"{len(loose):,} of {len(contents.audio):,} recordings are not in a class folder and have no label, such as "
        f"{first} in {contents.root if len(loose[0]) == 1 else '/'.join(loose[0][:-1])}; move each into a folder named "
        "after its class, or list them in a labels.csv with columns path and label"
    )


def _refuse_vanished(contents: Contents, layout: Layout) -> None:
    """Refuses a folder next to the classes whose files cannot be decoded but may be recordings.

    Raises:
        InputError: a class would be missing.
    """
    of_classes = {parts[: parts.index(place.label) + 1] for parts, place in layout.placed.items()}
    parents = {parts[:-1] for parts in of_classes}
    for folder, paths in _by_folder(contents.unreadable).items():
        parts = folder.relative_to(contents.root).parts
        if parts[:-1] in parents and parts not in of_classes and len(paths) >= MIN_OF_A_CLASS:
            raise InputError(
                f"The folder {contents.name(folder)} is next to class folders, but its {len(paths):,} files cannot be "
                f"read as recordings ({paths[0].name}: {why_unreadable(paths[0])}); convert them, e.g. to FLAC, or "
                "move the folder elsewhere if it is not a class"
            )


def _by_folder(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    return {folder: list(found) for folder, found in itertools.groupby(paths, key=lambda path: path.parent)}


def _name_the_rest(read: Read, contents: Contents, layout: Layout) -> None:
    """Adds everything in the folder that is not used to the reading."""
    if layout.loose:
        names = sorted("/".join(parts) for parts in layout.loose)
        read.left_out.append(counted(names, "recording outside class folders", "recordings outside class folders"))
    for top, number in sorted(Counter(parts[0] for parts in layout.outside).items()):
        read.not_used.append(f"the folder {top}, which is not a split, with {number:,} recordings")
    if contents.unreadable:
        told = [f"{contents.name(path)}: {why_unreadable(path)}" for path in contents.unreadable[:1]]
        told += contents.names(contents.unreadable[1:])
        read.left_out.append(
            counted(told, "file that is not a readable recording", "files that are not readable recordings")
        )
    sound = contents.folders_with_audio
    silent = [folder for folder in contents.folders if folder not in sound and folder.parent in sound]
    if silent:
        read.not_used.append(counted(contents.names(silent), "folder without recordings", "folders without recordings"))


def _name_classes_like_splits(read: Read) -> None:
    labels = {label for clip in read.clips for label in clip.labels}
    like = sorted(label for label in labels if split_called(label) or is_fold(label))
    if like and len(labels) > 1:
        read.remarks.append(f"class {', '.join(like)} is named like a split")

"""Audio files in class folders, as rows; classes and groups are found by the same rules as for local folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
from datasets import ClassLabel, Features, Value

from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.rows import FileRows, Rows, file_places
from hf_audio.corpora.folder.class_folders import read_class_folders
from hf_audio.corpora.folder.contents import Contents
from hf_audio.corpora.folder.split_names import is_fold, split_called
from hf_audio.data.index.columns import in_order
from hf_audio.errors import InputError

Folders = Mapping[str, tuple[str, ...]]  # for each file, its folders except those of splits and those common to all
INNERMOST = "folder"


def class_folder_rows(place: Place, files: Mapping[str, Sequence[str]], reading: DatasetReading) -> FileRows:
    """The rows of the files of each split.

    Columns are `label`, the class, and, if there are such folders, `group`, `fold` and `split`. `folder` is the
    innermost folder, which `datasets` uses as the class; it is present if the user chose a label column.

    Raises:
        InputError: files outside folders, fewer than two folders, or group folders that may contain classes.
    """
    folders = _folders(place, files)
    classes = {part for parts in folders.values() for part in parts if not (is_fold(part) or split_called(part))}
    if len(classes) < 2 or not all(folders.values()):
        raise _unlabeled(place, [of_split[0] for of_split in files.values()])
    remarks: Sequence[str]
    if reading.label_column_name:
        columns, how, remarks = _outer_and_inner(folders), "class folders", ()
    else:
        columns, how, remarks = _decided(place, folders)
    features = Features({name: Value("string") for name in columns})
    rows = {}
    for split, of_split in files.items():
        values = {name: pa.array([its[file] for file in of_split], pa.string()) for name, its in columns.items()}
        for name in {"label", INNERMOST} & values.keys():
            names = in_order(set(columns[name].values()))
            features[name] = ClassLabel(names=names)
            values[name] = pa.array([names.index(text) for text in values[name].to_pylist()], pa.int64())
        rows[split] = Rows(file_places(place, of_split), pa.table(values))
    return FileRows(rows, features, how=how, remarks=tuple(remarks))


def _unlabeled(place: Place, examples: Sequence[str]) -> InputError:
    shown = " and ".join(map(place.shown, examples[:2]))
    return InputError(
        f"{place.name} has audio files without labels (such as {shown}); expected a metadata.csv with file_name and "
        "label next to them, or a folder for each class"
    )


def _folders(place: Place, files: Mapping[str, Sequence[str]]) -> Folders:
    found = {
        file: (split, PurePosixPath(place.shown(file)).parts[:-1])
        for split, of_split in files.items()
        for file in of_split
    }
    if len(files) > 1 or all(any(_is_of(part, split) for part in parts) for split, parts in found.values()):
        found = {
            file: (split, tuple(part for part in parts if not _is_of(part, split)))
            for file, (split, parts) in found.items()
        }
    while _are_apart({(split, parts[:1]) for split, parts in found.values()}, len(files)):
        found = {file: (split, parts[1:]) for file, (split, parts) in found.items()}
    return {file: parts for file, (_, parts) in found.items()}


def _is_of(folder: str, split: str) -> bool:
    """Whether a folder belongs to a split."""
    return folder == split or split_called(folder) == (split_called(split) or split)


def _are_apart(firsts: set[tuple[str, tuple[str, ...]]], num_splits: int) -> bool:
    """Whether the top folders have no meaning: one for all files, or one per split."""
    names = {first for _, first in firsts}
    return () not in names and (len(names) == 1 or len(firsts) == len(names) == num_splits)


def _outer_and_inner(folders: Folders) -> dict[str, dict[str, str | None]]:
    """Columns for the outermost folder, the innermost folder, and the fold, if a folder is one."""
    columns: dict[str, dict[str, str | None]] = {"label": {}, INNERMOST: {}, "fold": {}}
    for file, parts in folders.items():
        others = [part for part in parts if not is_fold(part)] or list(parts)
        columns["label"][file], columns[INNERMOST][file] = others[0], others[-1]
        columns["fold"][file] = next((part for part in parts if is_fold(part)), None)
    return {name: its for name, its in columns.items() if name == "label" or any(its.values())}


def _decided(place: Place, folders: Folders) -> tuple[dict[str, dict[str, str | None]], str, Sequence[str]]:
    """Columns, how the folders were read, and remarks, from the code for folders on disk.

    That code receives the folders with numbers in place of file names, and only looks at names.
    """
    root, files = Path(place.name), list(folders)
    paths = tuple(root.joinpath(*folders[file], str(number)) for number, file in enumerate(files))
    try:
        read = read_class_folders(Contents(root, paths, (), (), (), (), ()))
    except InputError as error:
        raise InputError(
            f"{error}; or choose the classes: --label_column_name label for the outer folders, --label_column_name "
            f"{INNERMOST} for the inner ones; the others may be --group_column_name"
        ) from error
    if len(read.clips) < len(files):
        labeled = {int(Path(clip.path).name) for clip in read.clips}
        raise _unlabeled(place, [file for number, file in enumerate(files) if number not in labeled])
    columns: dict[str, dict[str, str | None]] = {"label": {}, "group": {}, "split": {}}
    for clip in read.clips:
        file = files[int(Path(clip.path).name)]
        columns["label"][file] = clip.labels[0]
        columns["group"][file] = None if clip.is_group_of_its_file else clip.group
        columns["split"][file] = clip.split
    if any(is_fold(name) for name in columns["split"].values() if name):
        columns["fold"] = columns.pop("split")
    columns = {name: its for name, its in columns.items() if any(its.values())}
    groups = "; column group is the folder below the class" if "group" in columns else ""
    return columns, f"{read.layout}{groups}", read.remarks

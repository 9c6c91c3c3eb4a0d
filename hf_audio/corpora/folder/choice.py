"""Whether a folder is one of class folders or of recordings with a table, which table, and what is then not used."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.corpora.folder.class_folders import read_class_folders
from hf_audio.corpora.folder.column_names import LABELS, PATHS, SEVERAL_LABELS, plain
from hf_audio.corpora.folder.contents import SPREADSHEET_SUFFIXES, Contents, contents_of
from hf_audio.corpora.folder.locating import Places, unique_names
from hf_audio.corpora.folder.reading import Read, Reading, UndecidedError
from hf_audio.corpora.folder.split_names import is_fold, split_called
from hf_audio.corpora.folder.table_clips import Meaning, meaning_of, read_table_clips
from hf_audio.corpora.folder.table_files import Table, read_any_table
from hf_audio.data.understanding import counted
from hf_audio.errors import InputError

MAYBE_TABLES = frozenset((".txt", ".json"))
MOST_TABLES_OPENED = 50
MOST_BASES = 200  # folders that paths of a table are tried to be relative to
FEWEST_NAMED = 0.5  # a table that names fewer of the recordings than this does not outweigh class folders


class Opened(NamedTuple):
    """A file that may be a table of the recordings, and what it is or why it is not."""

    path: Path
    table: Table | None
    meaning: Meaning | None
    error: InputError | None

    @property
    def share_found(self) -> float:
        return self.meaning.share_found if self.meaning else 0.0

    @property
    def why_not(self) -> str:
        """In a few words, for the list of what is not used."""
        if self.meaning is None:
            return "not a table of recordings and classes" if self.table else "not readable as a table"
        if not self.table.rows:
            return "no rows"
        return "the files it names do not exist" if not self.share_found else "names files that do not exist"


def read_folder_or_table(root: Path, reading: Reading) -> Read:
    """Whatever --data_dir is.

    Raises:
        InputError: nothing there, nothing that can be read, or several ways to read it.
    """
    if not root.exists():
        raise InputError(f"--data_dir {root} does not exist; expected a folder with class folders or a labels.csv")
    if root.is_file():
        return _read_given_table(root, reading)
    contents = contents_of(root)
    _refuse_saved_dataset(contents)
    if reading.layout == "folders":
        return _with_tables_named(read_class_folders(contents), contents, contents.tables)
    opened = _opened(contents, reading)
    folders, problem = (None, _no_table(root, reading)) if reading.wants_table else _class_folders(contents)
    if folders is None and not any(one.share_found == 1 for one in opened):
        opened = [_open(one.path, contents, reading, by_name=True) if one.meaning else one for one in opened]
    fitting = [one for one in opened if one.share_found == 1 and one.table.rows]
    undecided = next((one.error for one in opened if isinstance(one.error, UndecidedError)), None)
    if undecided and not fitting:
        raise undecided
    _refuse_undecided(root, opened, fitting, folders)
    chosen = fitting or ([] if folders else _nearest(opened))
    if not chosen:
        if folders is None:
            folders = _only_class(contents, problem)
        return _with_tables_named(folders, contents, contents.tables, opened)
    read = _joined([_read(one, reading) for one in chosen], chosen, contents)
    named = {one.path for one in chosen}
    _name_unlisted(read, contents, folders)
    return _with_tables_named(read, contents, [path for path in contents.tables if path not in named], opened)


def _read_given_table(path: Path, reading: Reading) -> Read:
    if reading.layout == "folders":
        raise InputError(f"--data_dir {path} is a file, which --layout folders cannot read; give the folder")
    table = read_any_table(path)
    meaning = meaning_of(table, reading, Places([path.parent.parent]))
    if meaning.share_found < 1:  # only then is the folder looked through, which may be large
        meaning = meaning_of(table, reading, _places(contents_of(path.parent), path, by_name=True))
    return read_table_clips(table, meaning, reading)


def _no_table(root: Path, reading: Reading) -> InputError:
    flag = "--layout table" if reading.layout else f"--{reading.of_table[0]}"
    return InputError(f"{root} holds no table, which {flag} asks for; leave it out, or put a labels.csv there")


def _refuse_saved_dataset(contents: Contents) -> None:
    saved = [path for path in contents.others if path.suffix.lower() == ".arrow"]
    if saved and not contents.audio:
        raise InputError(
            f"{contents.root} holds a dataset saved by the library datasets ({contents.name(saved[0])}), whose "
            "recordings cannot be read yet; write them to class folders, or to files beside a table with columns path "
            "and label"
        )


def _opened(contents: Contents, reading: Reading) -> list[Opened]:
    """The tables of the folder itself, or, where none of them lists its recordings, those below it."""
    if reading.layout == "folders":
        return []
    top = [path for path in contents.tables if path.parent == contents.root]
    opened = [_open(path, contents, reading) for path in top[:MOST_TABLES_OPENED]]
    if not any(one.share_found for one in opened):
        below = [path for path in contents.tables if path.parent != contents.root]
        opened += [_open(path, contents, reading) for path in below[:MOST_TABLES_OPENED]]
    return opened


def _open(path: Path, contents: Contents, reading: Reading, *, by_name: bool = False) -> Opened:
    try:
        table = read_any_table(path)
    except InputError as error:
        return Opened(path, None, None, error)
    try:
        return Opened(path, table, meaning_of(table, reading, _places(contents, path, by_name=by_name)), None)
    except InputError as error:
        return Opened(path, table, None, error)


def _places(contents: Contents, table: Path, *, by_name: bool) -> Places:
    """Where files may lie that a table names."""
    holding = dict.fromkeys(folder for path in contents.audio for folder in path.parents)
    within = sorted(folder for folder in holding if contents.root in folder.parents)
    bases = [contents.root, table.parent.parent, contents.root.parent, *within[:MOST_BASES]]
    return Places(bases, unique_names(contents.audio) if by_name else {})


def _class_folders(contents: Contents) -> tuple[Read | None, InputError | None]:
    """The folder read as class folders, where it can be and there are two classes or more; else why it cannot."""
    try:
        read = read_class_folders(contents)
    except InputError as error:
        return None, error
    labels = {label for clip in read.clips for label in clip.labels}
    return (None, None) if len(labels) < 2 and contents.tables else (read, None)


def _only_class(contents: Contents, problem: InputError | None) -> Read:
    """Recordings of one class, where no table says more; an audit can do with them."""
    if problem:
        raise problem
    return read_class_folders(contents)


def _refuse_undecided(root: Path, opened: Sequence[Opened], fitting: Sequence[Opened], folders: Read | None) -> None:
    """Refuse what can be read in several ways, or what a table says and the folder does not have.

    Raises:
        InputError: several tables that are no splits, a table that names files in part, or too few of them.
    """
    several = fitting or [one for one in opened if one.meaning and not folders]
    if len(several) > 1 and not _are_splits(several, root):
        kind = "CSV files" if all(one.path.suffix == ".csv" for one in several) else "tables"
        raise InputError(
            f"{root} holds {len(several)} {kind} ({', '.join(one.path.name for one in several)}); pass the one to use, "
            f"e.g. --data_dir {several[0].path}"
        )
    if folders is None:
        return
    partly = next((one for one in opened if 0 < one.share_found < 1), None)
    if partly and not fitting:
        located = partly.meaning.located
        missing = located.files.index(None)
        raise InputError(
            f"{partly.path} names {located.files.count(None)} of {len(located.files)} files that do not exist, first "
            f"{partly.table.values(partly.meaning.path)[missing]!r}; mend it, or give --layout folders to read the "
            "class folders instead, or --layout table to look for the names in all folders"
        )
    listed = len({file for one in fitting for file in one.meaning.located.files})
    if fitting and listed < FEWEST_NAMED * len(folders.clips):
        raise InputError(
            f"{fitting[0].path.name} lists {listed:,} of the {len(folders.clips):,} recordings in class folders of "
            f"{root}; give --layout folders to read the class folders, or --layout table to read only what is listed"
        )


def _nearest(opened: Sequence[Opened]) -> list[Opened]:
    """The tables that come nearest to listing the recordings; raises the error of one that was meant to.

    A text or JSON without any column of a known name was not: README.txt, package.json.
    """
    with_meaning = [one for one in opened if one.meaning]
    meant = [one for one in opened if _is_meant(one)]
    if not with_meaning and meant:
        raise next((one for one in meant if one.table), meant[0]).error
    return with_meaning


def _is_meant(opened: Opened) -> bool:
    suffix, known = opened.path.suffix.lower(), {*PATHS, *LABELS, *SEVERAL_LABELS}
    if opened.table is None:
        return suffix != ".txt"
    columns = opened.table.columns
    has_known = any(plain(column) in known or {plain(word) for word in column.split()} <= known for column in columns)
    return has_known or suffix not in MAYBE_TABLES


def _read(opened: Opened, reading: Reading) -> Read:
    return read_table_clips(opened.table, opened.meaning, reading)


def _split_of_table(path: Path, root: Path) -> str | None:
    """The split that a table's name says, or that of a folder it lies in: train.csv, test/metadata.csv."""
    within = path.relative_to(root)
    names = (within.stem, *reversed(within.parts[:-1]))
    return next((split_called(name) or name for name in names if split_called(name) or is_fold(name)), None)


def _are_splits(tables: Sequence[Opened], root: Path) -> bool:
    splits = [_split_of_table(one.path, root) for one in tables]
    return None not in splits and len(set(splits)) == len(splits)


def _joined(reads: Sequence[Read], tables: Sequence[Opened], contents: Contents) -> Read:
    """Tables of one split each as one reading; a single table as it is."""
    if len(reads) == 1:
        return reads[0]
    clips, names = [], [contents.name(one.path) for one in tables]
    for read, one in zip(reads, tables, strict=True):
        split = _split_of_table(one.path, contents.root)
        folder = one.path.parent.relative_to(contents.root).as_posix()
        for clip in read.clips:
            name = clip.clip_id if folder == "." else f"{folder}/{clip.clip_id}"
            group = name if clip.group == clip.clip_id else clip.group
            clips.append(dataclasses.replace(clip, clip_id=name, group=group, split=clip.split or split))
    return Read(
        f"the tables {', '.join(names)}, each as {reads[0].layout}",
        clips,
        reads[0].groups,
        f"from the tables' names ({', '.join(dict.fromkeys(clip.split for clip in clips))})",
        sum(read.num_without_group for read in reads),
        *(
            list(dict.fromkeys(word for read in reads for word in getattr(read, name)))
            for name in ("not_used", "left_out", "remarks")
        ),
    )


def _name_unlisted(read: Read, contents: Contents, folders: Read | None) -> None:
    """Adds recordings that no row names to what a reading of a table does not use."""
    listed = {_identity(clip.path) for clip in read.clips}
    unlisted = [path for path in contents.audio if _identity(path) not in listed]
    if unlisted:
        read.not_used.append(
            counted(contents.names(unlisted), "recording that no row names", "recordings that no row names")
        )
    if folders is not None:
        read.remarks.append("there are class folders too: --layout folders reads them instead of the table")


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _with_tables_named(read: Read, contents: Contents, tables: Sequence[Path], opened: Sequence[Opened] = ()) -> Read:
    """A reading with all other files named: tables with the reason why they are not used, the rest, what is hidden."""
    why = {one.path: one.why_not for one in opened}
    told = [f"{contents.name(path)}: {why[path]}" if path in why else contents.name(path) for path in tables]
    if told:
        read.not_used.append(counted(told, "table"))
    sheets = [path for path in contents.others if path.suffix.lower() in SPREADSHEET_SUFFIXES]
    if sheets:
        read.not_used.append(counted(contents.names(sheets), "spreadsheet (save as CSV)", "spreadsheets (save as CSV)"))
    others = [path for path in contents.others if path not in set(sheets)]
    if others:
        read.not_used.append(counted(contents.names(others), "other file"))
    if contents.hidden:
        read.not_used.append(counted(contents.names(contents.hidden), "hidden file", "hidden files or folders"))
    return read

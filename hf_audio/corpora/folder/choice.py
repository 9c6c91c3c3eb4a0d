"""Decides whether a folder is read by class folders or by a table, chooses the table, and lists what is not used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.corpora.folder.class_folders import read_class_folders
from hf_audio.corpora.folder.column_names import LABELS, PATHS, SEVERAL_LABELS, plain
from hf_audio.corpora.folder.contents import Contents, contents_of
from hf_audio.corpora.folder.idle import IdleError, each_read
from hf_audio.corpora.folder.locating import Places, unique_names
from hf_audio.corpora.folder.reading import Read, Reading, UndecidedError
from hf_audio.corpora.folder.split_tables import are_splits, joined_splits
from hf_audio.corpora.folder.table_clips import Meaning, meaning_of, read_table_clips
from hf_audio.corpora.folder.table_files import Table, read_any_table
from hf_audio.corpora.folder.unused import name_other_files, name_unlisted
from hf_audio.errors import InputError

MAYBE_TABLES = frozenset((".txt", ".json"))
MAX_TABLES_OPENED = 50
MAX_BASES = 200  # folders that paths of a table may be relative to
MIN_NAMED = 0.5  # minimum share of recordings that a table must list to have priority over class folders


class Opened(NamedTuple):
    """A file that may be a table of the recordings, with its content or the reason why it is not."""

    path: Path
    table: Table | None
    meaning: Meaning | None
    error: InputError | None

    @property
    def share_found(self) -> float:
        return self.meaning.share_found if self.meaning else 0.0

    @property
    def why_not(self) -> str:
        """The reason in a few words, for the list of what is not used."""
        if self.meaning is None:
            return "not a table of recordings and classes" if self.table else "not readable as a table"
        if not self.table.rows:
            return "no rows"
        return "the files it names do not exist" if not self.share_found else "names files that do not exist"


def read_folder_or_table(root: Path, reading: Reading) -> Read:
    """Reads --data_dir: a table, or a folder of any layout.

    Raises:
        InputError: it does not exist, cannot be read, or can be read in several ways.
    """
    if not root.exists():
        raise InputError(f"--data_dir {root} does not exist; expected a folder with class folders or a labels.csv")
    if root.is_file():
        return _read_given_table(root, reading)
    contents = contents_of(root)
    _refuse_saved_dataset(contents)
    if reading.layout == "folders":
        return name_other_files(read_class_folders(contents), contents, contents.tables, {})
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
        return name_other_files(folders, contents, contents.tables, _why_not(opened))
    by_path = {one.path: one for one in chosen}
    reads = each_read(
        dict.fromkeys(by_path, reading),
        lambda path, own: read_table_clips(by_path[path].table, by_path[path].meaning, own),
    )
    read = joined_splits(reads, root) if len(reads) > 1 else reads[chosen[0].path]
    name_unlisted(read, contents)
    if folders is not None:
        read.remarks.append("there are also class folders: --layout folders reads them instead of the table")
    return name_other_files(read, contents, [path for path in contents.tables if path not in reads], _why_not(opened))


def _read_given_table(path: Path, reading: Reading) -> Read:
    if reading.layout == "folders":
        raise InputError(f"--data_dir {path} is a file, which --layout folders cannot read; give the folder")
    table = read_any_table(path)
    meaning = meaning_of(table, reading, Places([path.parent.parent]))
    if meaning.share_found < 1:  # list the folder only if necessary: it may be large
        meaning = meaning_of(table, reading, _places(contents_of(path.parent), path, by_name=True))
    return read_table_clips(table, meaning, reading)


def _no_table(root: Path, reading: Reading) -> InputError:
    if reading.layout:
        return InputError(f"{root} has no table for --layout table to read; leave it out, or put a labels.csv there")
    setting = reading.of_table[0]
    value = getattr(reading, setting)
    told = value if isinstance(value, str) else " ".join(value)
    return IdleError(setting, told, f"{root} has no table such as a labels.csv")


def _refuse_saved_dataset(contents: Contents) -> None:
    saved = [path for path in contents.others if path.suffix.lower() == ".arrow"]
    if saved and not contents.audio:
        raise InputError(
            f"{contents.root} has files of a dataset ({contents.name(saved[0])}) but is not a dataset itself; give the "
            "folder that save_to_disk wrote, with dataset_dict.json or state.json in it"
        )


def _opened(contents: Contents, reading: Reading) -> list[Opened]:
    """The tables in the folder itself; if none of them lists its recordings, also those below it."""
    if reading.layout == "folders":
        return []
    top = [path for path in contents.tables if path.parent == contents.root]
    opened = [_open(path, contents, reading) for path in top[:MAX_TABLES_OPENED]]
    if not any(one.share_found for one in opened):
        below = [path for path in contents.tables if path.parent != contents.root]
        opened += [_open(path, contents, reading) for path in below[:MAX_TABLES_OPENED]]
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
    """The folders where the files of a table may be."""
    within = sorted(folder for folder in contents.folders_with_audio if contents.root in folder.parents)
    bases = [contents.root, table.parent.parent, contents.root.parent, *within[:MAX_BASES]]
    return Places(bases, unique_names(contents.audio) if by_name else {})


def _class_folders(contents: Contents) -> tuple[Read | None, InputError | None]:
    """The folder, read as class folders if it has at least two classes; or the error if it cannot be read so."""
    try:
        read = read_class_folders(contents)
    except InputError as error:
        return None, error
    labels = {label for clip in read.clips for label in clip.labels}
    return (None, None) if len(labels) < 2 and (contents.tables or contents.spreadsheets) else (read, None)


def _only_class(contents: Contents, problem: InputError | None) -> Read:
    """Recordings of a single class, if there is no table; an audit can use these."""
    if contents.spreadsheets:
        without = problem or "the folders have only one class"
        raise InputError(
            f"{contents.spreadsheets[0]} is a spreadsheet, which cannot be read (save it as CSV in UTF-8, with columns "
            f"path and label), and without it: {without}"
        )
    if problem:
        raise problem
    return read_class_folders(contents)


def _refuse_undecided(root: Path, opened: Sequence[Opened], fitting: Sequence[Opened], folders: Read | None) -> None:
    """Refuses a folder that can be read in several ways, or whose table does not match its files.

    Raises:
        InputError: several tables that are not splits, a table with files that do not exist, or one that lists too few
            recordings.
    """
    several = fitting or [one for one in opened if one.meaning and not folders]
    if len(several) > 1 and not are_splits([one.path for one in several], root):
        kind = "CSV files" if all(one.path.suffix == ".csv" for one in several) else "tables"
        raise InputError(
            f"{root} has {len(several)} {kind} ({', '.join(one.path.name for one in several)}); choose one, e.g. "
            f"--data_dir {several[0].path}"
        )
    if folders is None:
        return
    partly = next((one for one in opened if 0 < one.share_found < 1), None)
    if partly and not fitting:
        located = partly.meaning.located
        missing = located.files.index(None)
        raise InputError(
            f"{partly.path}: {located.files.count(None)} of {len(located.files)} files do not exist, first "
            f"{partly.table.values(partly.meaning.path)[missing]!r}; fix it, or give --layout folders to read the "
            "class folders instead, or --layout table to look for the names in all folders"
        )
    listed = len({file for one in fitting for file in one.meaning.located.files})
    if fitting and listed < MIN_NAMED * len(folders.clips):
        raise InputError(
            f"{fitting[0].path.name} lists {listed:,} of the {len(folders.clips):,} recordings in class folders of "
            f"{root}; give --layout folders to read the class folders, or --layout table to read only what is listed"
        )


def _nearest(opened: Sequence[Opened]) -> list[Opened]:
    """The tables that come nearest to listing the recordings; raises the error of one that was clearly intended.

    A text or JSON file without any known column name was not intended: README.txt, package.json.
    """
    with_meaning = [one for one in opened if one.meaning]
    intended = [one for one in opened if _is_intended(one)]
    if not with_meaning and intended:
        raise next((one for one in intended if one.table), intended[0]).error
    return with_meaning


def _is_intended(opened: Opened) -> bool:
    suffix, known = opened.path.suffix.lower(), {*PATHS, *LABELS, *SEVERAL_LABELS}
    if opened.table is None:
        return suffix != ".txt"
    columns = opened.table.columns
    has_known = any(plain(column) in known or {plain(word) for word in column.split()} <= known for column in columns)
    return has_known or suffix not in MAYBE_TABLES


def _why_not(opened: Sequence[Opened]) -> dict[Path, str]:
    return {one.path: one.why_not for one in opened}

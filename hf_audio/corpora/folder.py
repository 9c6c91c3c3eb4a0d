"""Your own recordings: class folders, or a CSV.

    DIR/violin/a.wav                      label = folder, every file its own group
    DIR/violin/session1/a.wav             label = folder, group = the folder below it
    DIR/train/violin/a.wav                with official splits: train, validation (valid, val, dev), test
    DIR/labels.csv                        columns path, label (or labels: "violin;piano"),
                                          optional group, split, start_s, end_s; others become metadata

Paths in the CSV are relative to its folder. `split` holds train / validation / test, or names of folds.
"""

from __future__ import annotations

import os
from pathlib import Path

from hf_audio.corpora._files import files_below
from hf_audio.data.index import Clip, CorpusCard
from hf_audio.data.tables import Row, read_stretch, read_table
from hf_audio.errors import InputError, nearest_name

CARD = CorpusCard(
    name="Own recordings",
    licence="unknown",
    may_redistribute=True,  # the recordings are the user's; only the user can know
    protocol="Group-disjoint split; window scores averaged per clip.",
)

# What people call audio; what soundfile cannot read of it is reported file by file when features are built.
AUDIO_SUFFIXES = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .rf64 .m4a .aac .wma".split()  # noqa: SIM905
)
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
OWN_COLUMNS = ("path", "label", "labels", "group", "split", "start_s", "end_s")


def index(root: Path) -> list[Clip]:
    """Clips of a folder with a CSV or class folders, or of a CSV file itself.

    Raises:
        InputError: nothing there, no audio, two CSV files, missing columns, unknown paths, or bad numbers.
    """
    root = Path(root)
    if not root.exists():
        raise InputError(f"--data_dir {root} does not exist; expected a folder with class folders or a labels.csv")
    if root.is_file():
        return _index_csv(root)
    tables = sorted(root.glob("*.csv"))
    if len(tables) > 1:
        found = ", ".join(table.name for table in tables)
        raise InputError(
            f"{root} holds {len(tables)} CSV files ({found}); pass the one to use, e.g. --data_dir {tables[0]}"
        )
    return _index_csv(tables[0]) if tables else _index_class_folders(root)


def _index_class_folders(root: Path) -> list[Clip]:
    files = [path for path in files_below(root) if path.suffix.lower() in AUDIO_SUFFIXES]
    if not files:
        raise InputError(
            f"{root} holds no audio files; expected class folders such as {root.name}/violin/a.wav, or a labels.csv"
        )
    parts = [path.relative_to(root).parts for path in files]
    loose = next((path for path in parts if len(path) == 1), None)
    if loose:
        raise InputError(
            f"{loose[0]} lies in {root} itself, so it has no label; move it into a folder named after its class, "
            "or list it in a labels.csv with columns path and label"
        )
    official = all(path[0].lower() in SPLIT_NAMES and len(path) > 2 for path in parts)
    clips = []
    for path, relative in zip(files, parts, strict=True):
        split = SPLIT_NAMES[relative[0].lower()] if official else None
        label, *below = relative[1:] if official else relative
        group = "/".join((label, *below[:-1])) if len(below) > 1 else "/".join(relative)
        clips.append(Clip(path=path, labels=(label,), group=group, clip_id="/".join(relative), split=split))
    return clips


def _index_csv(table: Path) -> list[Clip]:
    columns, rows = read_table(table)
    _check_columns(table, columns)
    if not rows:
        raise InputError(f"{table} has a header but no rows; expected one row a clip")
    clips = [_clip_of_row(table, line, row) for line, row in rows]
    _check_paths(table, [line for line, _ in rows], clips)
    return clips


def _check_columns(table: Path, columns: list[str]) -> None:
    missing = [] if "path" in columns else ["path"]
    missing += [] if {"label", "labels"} & set(columns) else ["label (or labels)"]
    if missing:
        guesses = [(column, nearest_name(column, OWN_COLUMNS)) for column in columns if column not in OWN_COLUMNS]
        hint = "".join(f"; is {column!r} meant as {guess!r}?" for column, guess in guesses if guess)
        raise InputError(
            f"{table} has columns {', '.join(columns) or '(none)'} but needs {' and '.join(missing)}"
            f"{hint or '; optional are group, split, start_s, end_s'}"
        )


def _clip_of_row(table: Path, line: int, row: Row) -> Clip:
    labels = row["labels"].replace("|", ";").split(";") if "labels" in row else [row["label"]]
    start_s, end_s = read_stretch(table, line, row)
    segment = "" if start_s is None and end_s is None else f"#{row.get('start_s', '')}-{row.get('end_s', '')}"
    split = row.get("split") or None
    return Clip(
        path=table.parent / row["path"],
        labels=tuple(label.strip() for label in labels if label.strip()),
        group=row.get("group") or row["path"],
        clip_id=row["path"] + segment,
        start_s=start_s or 0.0,
        end_s=end_s,
        split=SPLIT_NAMES.get(split.lower(), split) if split else None,
        metadata={key: value for key, value in row.items() if key not in OWN_COLUMNS},
    )


def _check_paths(table: Path, lines: list[int], clips: list[Clip]) -> None:
    unknown = [(line, clip) for line, clip in zip(lines, clips, strict=True) if not os.path.isfile(clip.path)]
    if unknown:
        line, clip = unknown[0]
        raise InputError(
            f"{table} names {len(unknown)} of {len(clips)} files that do not exist, first {clip.clip_id!r} in line "
            f"{line}; paths are read relative to {table.parent}"
        )
    seen: dict[str, int] = {}
    for line, clip in zip(lines, clips, strict=True):
        first = seen.setdefault(clip.clip_id, line)
        if first != line:
            raise InputError(
                f"{table} lists {clip.clip_id!r} twice, in lines {first} and {line}; give several labels of one clip "
                "in one row of a column labels, separated by semicolons, or tell stretches apart by start_s and end_s"
            )

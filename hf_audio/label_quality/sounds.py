"""Finds the recordings of clips in a folder by the names of the clips, for pages that play them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError
from hf_audio.figures.addresses import sound_address

SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".m4a", ".mp4", ".webm"}


def sound_addresses(rows: Iterable[Mapping[str, Any]], data_dir: str | Path, folder: Path) -> dict[str, str]:
    """{clip_id: address} of the recordings that are found, with the start and end of the clip, for a page in `folder`.

    Args:
        rows: rows of the index: clip_id, start_s, end_s.
        data_dir: a folder of recordings, or a table in it.

    Raises:
        InputError: no such folder.
    """
    data_dir = Path(data_dir)
    if not data_dir.exists():
        raise InputError(f"--data_dir {data_dir} does not exist: name the folder of the recordings, or leave it out")
    data_dir = data_dir if data_dir.is_dir() else data_dir.parent
    by_name: dict[str, Path] | None = None
    found = {}
    for row in rows:
        clip_id = row["clip_id"]
        names = dict.fromkeys((clip_id, clip_id.rpartition("#")[0] or clip_id))  # a file name may contain "#" itself
        path = next((data_dir / name for name in names if (data_dir / name).is_file()), None)
        if path is None:  # some corpora do not name clips after their paths
            by_name = _by_stem(data_dir) if by_name is None else by_name
            stems = [stem for name in names for stem in (Path(name).name, Path(name).stem)]
            path = next((by_name[stem] for stem in stems if stem in by_name), None)
        if path is not None:
            found[clip_id] = sound_address(path, folder, row["start_s"], row["end_s"])
    return found


def _by_stem(data_dir: Path) -> dict[str, Path]:
    """Files by name without suffix. Names that occur twice are left out, since either file could be the wrong one."""
    files = [file for file in sorted(data_dir.rglob("*")) if file.suffix.lower() in SOUND_SUFFIXES]
    times = Counter(file.stem for file in files)
    return {file.stem: file for file in files if times[file.stem] == 1}

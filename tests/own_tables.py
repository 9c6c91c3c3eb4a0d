"""Small folders of recordings with a table next to them, for tests of how tables are understood."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_folder import touch

from hf_audio import InputError
from hf_audio.corpora.folder import Reading, understand
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.index.understanding import Understanding

NAMES = [f"{number}.wav" for number in range(6)]
HEARD = ["dog", "dog", "dog", "cat", "cat", "cat"]


def recordings(root: Path) -> Path:
    """A folder with six recordings in audio/."""
    touch(root / "data", *(f"audio/{name}" for name in NAMES))
    return root / "data"


def write(folder: Path, columns: dict[str, list], name: str = "labels.csv", separator: str = ",") -> Path:
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def rows(**columns: list) -> dict[str, list]:
    """Columns of a plain table of the six recordings, and further columns."""
    return {"path": [f"audio/{name}" for name in NAMES], "label": HEARD, **columns}


def read(root: Path, **reading) -> tuple[list[Clip], Understanding]:
    clips, understanding = understand(root, Reading(**reading))
    return list(rows_of(clips)), understanding


def refused(root: Path, sentence: str, **reading) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read(root, **reading)
    assert "\n" not in str(caught.value)

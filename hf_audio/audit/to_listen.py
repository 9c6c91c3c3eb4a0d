"""Recordings extracted from containers and repositories, so that a page can play them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import is_file, is_one_of
from hf_audio.data.recordings.audio import AudioError
from hf_audio.data.recordings.in_turn import reading_order, recordings_in_turn
from hf_audio.data.sharing.stored_sound import ENDINGS
from hf_audio.files import write_atomically

FOLDER = "recordings"  # in the folder of the page
MAX_TAKEN = 60  # each may require reading the row group that contains it
MAX_TAKEN_BYTES = 64 << 20  # of one recording


def playable(
    clips: pa.Table, wanted: Iterable[str], formats: Mapping[str, str], folder: Path, token: str | bool | None = None
) -> dict[str, Path]:
    """A playable file for each of the wanted clips, if there is one.

    Local files stay where they are. Of the other recordings, the first MAX_TAKEN are written below `folder`.

    Args:
        clips: the index.
        wanted: clip_ids, the most important first.
        formats: the formats of decodable clips by clip_id, in libsndfile's names.
        folder: the folder of the page.
        token: for repositories that are not public.

    Raises:
        InputError: a container is damaged or cannot be reached.
    """
    wanted = list(dict.fromkeys(wanted))
    here = pa.array(is_file(clips))
    files = clips.filter(here)
    files = files.filter(is_one_of(files["clip_id"], wanted))
    found = dict(zip(files["clip_id"].to_pylist(), map(Path, files["audio"].to_pylist()), strict=True))
    taken = [name for name in wanted if name not in found and name in formats][:MAX_TAKEN]
    others = clips.filter(pa.array(~np.asarray(here)))
    others = others.filter(is_one_of(others["clip_id"], taken))
    source: Any
    for its, source in recordings_in_turn(others.take(pa.array(reading_order(others))), token) if len(others) else ():
        if isinstance(source, AudioError):
            continue
        source.seek(0)
        content = source.read(MAX_TAKEN_BYTES + 1)
        if len(content) <= MAX_TAKEN_BYTES:
            ending = ENDINGS.get(formats[its[0].clip_id], "")
            path = folder / FOLDER / f"{taken.index(its[0].clip_id):03d}{ending}"
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, content)
            found |= {clip.clip_id: path for clip in its}
    return found

"""The measurements of an audit, written immediately, so that an interrupted audit can be resumed."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from hf_audio.audit.clip_facts import ClipFacts, fact_names
from hf_audio.audit.workers import examine_clips
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError, one_line
from hf_audio.files import open_for_writing, open_regular
from hf_audio.terminal import progress

VERSION = 2  # of the measurements: clips with facts of other versions are measured again
MAX_LINE_BYTES, MAX_PLOT_BYTES = 4 << 20, 1 << 20  # both a hundred times the usual size


class FactStore:
    """A file with the facts of one clip per line. Plots are only read on demand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: list[ClipFacts] = []  # without their plots
        self._lines: list[int] = []

    def examine(
        self, clips: pa.Table, num_workers: int | None = None, token: str | bool | None = None
    ) -> list[ClipFacts]:
        """Measures the clips of an index that are not in the file, and returns all facts in the order of `clips`.

        Raises:
            InputError: the file holds something else, or an error of `examine_clips`.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        keys = [_key(clip) for clip in rows_of(clips)]
        lines = self._known()
        unknown = [row for row, key in enumerate(keys) if key not in lines]
        with (
            open_for_writing(self.path, "ab") as file,
            progress(total=len(keys), initial=len(keys) - len(unknown), desc="audit", unit=" clips") as bar,
        ):
            measured = clips.take(pa.array(unknown, pa.int64()))
            for place, facts in examine_clips(measured, num_workers or usable_cores(), token, self.path.parent):
                key = keys[unknown[place]]
                lines[key] = (file.tell(), facts)
                file.write(_line(key, facts))
                facts.image = facts.image[:0]
                bar.update()
        self.facts = [lines[key][1] for key in keys]
        self._lines = [lines[key][0] for key in keys]
        return self.facts

    def _known(self) -> dict[str, tuple[int, ClipFacts]]:
        """The offset and facts of each key's line. An unfinished line of a killed run is removed."""
        known: dict[str, tuple[int, ClipFacts]] = {}
        if not self.path.exists():
            return known
        with open_for_writing(self.path, "r+b") as file:
            at = 0
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                    file.truncate(at)
                    break
                try:
                    values = json.loads(line)
                    if json.loads(values["key"])[0] == VERSION:
                        known[values["key"]] = at, ClipFacts(**{name: values[name] for name in fact_names()})
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    raise InputError(
                        f"{self.path} is not a record of an audit ({one_line(error)}); delete it to measure all "
                        "recordings again"
                    ) from error
                at += len(line)
        return known

    def plot(self, number: int) -> np.ndarray:
        """The plot of a clip, uint8 `[frames, 32]`, read from disk; without frames if the clip cannot be used."""
        with open_regular(self.path) as file:
            file.seek(self._lines[number])
            packed = base64.b64decode(json.loads(file.readline(MAX_LINE_BYTES))["image"])
        image = zlib.decompressobj().decompress(packed, MAX_PLOT_BYTES)
        return np.frombuffer(image, np.uint8).reshape(-1, 32)


def _key(clip: Clip) -> str:
    """Everything that determines the facts, so that a changed file or another part of it is measured again.

    An address on the Hub has a commit, which never changes.
    """
    try:
        stat = os.stat(clip.path)
        file = [stat.st_size, stat.st_mtime_ns]
    except (OSError, ValueError):
        file = []
    place = [] if clip.audio_row is None else [clip.audio_field, clip.audio_row]
    return json.dumps([VERSION, clip.clip_id, clip.path, clip.start_s, clip.end_s, *file, *place])


def _line(key: str, facts: ClipFacts) -> bytes:
    image = base64.b64encode(zlib.compress(facts.image.tobytes(), 1)).decode()
    values = {"key": key, **{name: getattr(facts, name) for name in fact_names()}, "image": image}
    return json.dumps(values).encode() + b"\n"

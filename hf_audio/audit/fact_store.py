"""Examining many clips in worker processes: what was measured is on disk at once, so that a second run goes on."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from hf_audio.audit.clip_facts import ClipFacts, examine_clip, fact_names
from hf_audio.data.index.table import Clip
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError, one_line
from hf_audio.files import open_for_writing, open_regular
from hf_audio.terminal import progress

VERSION = 2  # of what is measured: facts of another one are measured anew
CLIPS_AT_A_TIME = 16
MOST_LINE_BYTES, MOST_PICTURE_BYTES = 4 << 20, 1 << 20  # both a hundred times what one takes
CRASHED = "unreadable: the decoder crashes on it"


class FactStore:
    """A file with the facts of one clip a line; pictures stay there until they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: list[ClipFacts] = []  # without their pictures
        self._lines: list[int] = []

    def examine(self, clips: Sequence[Clip], num_workers: int | None = None) -> list[ClipFacts]:
        """Measure the clips that the file does not know yet, and order its facts like `clips`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        keys = [_key(clip) for clip in clips]
        lines = self._known()
        unknown = [(key, clip) for key, clip in zip(keys, clips, strict=True) if key not in lines]
        with (
            open_for_writing(self.path, "ab") as file,
            progress(total=len(clips), initial=len(clips) - len(unknown), desc="audit", unit=" clips") as bar,
        ):
            for key, facts in examine_clips(unknown, num_workers or usable_cores()):
                lines[key] = (file.tell(), facts)
                file.write(_line(key, facts))
                facts.image = facts.image[:0]
                bar.update()
        self.facts = [lines[key][1] for key in keys]
        self._lines = [lines[key][0] for key in keys]
        return self.facts

    def _known(self) -> dict[str, tuple[int, ClipFacts]]:
        """Where the line of each key begins, and its facts; a line that a killed run left unfinished is cut off."""
        known: dict[str, tuple[int, ClipFacts]] = {}
        if not self.path.exists():
            return known
        with open_for_writing(self.path, "r+b") as file:
            at = 0
            for line in iter(lambda: file.readline(MOST_LINE_BYTES), b""):
                if not line.endswith(b"\n") and len(line) < MOST_LINE_BYTES:
                    file.truncate(at)
                    break
                try:
                    values = json.loads(line)
                    if json.loads(values["key"])[0] == VERSION:
                        known[values["key"]] = at, ClipFacts(**{name: values[name] for name in fact_names()})
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    raise InputError(
                        f"{self.path} holds something else than what an audit noted ({one_line(error)}); delete it, "
                        "and all recordings are measured again"
                    ) from error
                at += len(line)
        return known

    def picture(self, number: int) -> np.ndarray:
        """Of a clip, uint8 `[frames, 32]`, read from disk; without frames where it cannot be used."""
        with open_regular(self.path) as file:
            file.seek(self._lines[number])
            packed = base64.b64decode(json.loads(file.readline(MOST_LINE_BYTES))["image"])
        image = zlib.decompressobj().decompress(packed, MOST_PICTURE_BYTES)
        return np.frombuffer(image, np.uint8).reshape(-1, 32)


def examine_clips(clips: Sequence[tuple[str, Clip]], num_workers: int) -> Iterator[tuple[str, ClipFacts]]:
    """The facts of clips as they get ready, each with the key that came with it.

    Files are decoded in worker processes even where there is one worker only: a file that crashes the decoder then
    costs its worker, and is found by examining the clips that were in work one by one.
    """
    if clips:
        _check_workers_start()
    rest = [list(clips[at : at + CLIPS_AT_A_TIME]) for at in range(0, len(clips), CLIPS_AT_A_TIME)]
    while rest:
        undone = dict(enumerate(rest))
        try:
            with _workers(min(num_workers, len(rest))) as workers:
                number_of = {workers.submit(_examine, chunk): number for number, chunk in undone.items()}
                for done in as_completed(list(number_of)):
                    facts = done.result()
                    yield from zip((key for key, _ in undone.pop(number_of.pop(done))), facts, strict=True)
        except BrokenProcessPool:
            pass
        # what was in work, and what waited for a worker that would be free next, comes first
        rest = [undone[number] for number in sorted(undone)]
        suspects, rest = rest[: 3 * num_workers], rest[3 * num_workers :]
        yield from _examine_apart([clip for chunk in suspects for clip in chunk])


def _examine_apart(clips: Sequence[tuple[str, Clip]]) -> Iterator[tuple[str, ClipFacts]]:
    clips = list(clips)
    while clips:
        try:
            with _workers(1) as workers:
                while clips:
                    (facts,) = workers.submit(_examine, clips[:1]).result()
                    yield clips.pop(0)[0], facts
        except BrokenProcessPool:
            key, clip = clips.pop(0)
            yield key, ClipFacts(clip.clip_id, error=CRASHED)


def _workers(number: int) -> ProcessPoolExecutor:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # imported once, by the server, instead of by every worker
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(number, context, _follow_parent)


def _check_workers_start() -> None:
    try:
        with _workers(1) as workers:
            workers.submit(_examine, []).result()
    except BrokenProcessPool as error:
        raise InputError(
            "Worker processes cannot start, perhaps for lack of memory; a script of your own must guard its main "
            'program by `if __name__ == "__main__":`'
        ) from error


def _follow_parent() -> None:
    def wait() -> None:  # an audit killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _examine(clips: Sequence[tuple[str, Clip]]) -> list[ClipFacts]:
    return [examine_clip(clip) for _, clip in clips]


def _key(clip: Clip) -> str:
    """What decides the facts: another file of the same name, or another stretch of it, is measured anew."""
    try:
        stat = os.stat(clip.path)
        file = [stat.st_size, stat.st_mtime_ns]
    except (OSError, ValueError):
        file = []
    return json.dumps([VERSION, clip.clip_id, clip.path, clip.start_s, clip.end_s, *file])


def _line(key: str, facts: ClipFacts) -> bytes:
    image = base64.b64encode(zlib.compress(facts.image.tobytes(), 1)).decode()
    values = {"key": key, **{name: getattr(facts, name) for name in fact_names()}, "image": image}
    return json.dumps(values).encode() + b"\n"

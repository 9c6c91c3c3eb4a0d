"""Players for the clips on a page: they play the files in place or, in a self-contained page, embedded excerpts."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from markupsafe import Markup

from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.figures.page import lines, player
from hf_audio.html_parts import html_player

MAX_EXCERPTS = 80  # of 10 s, about 60 kB each, and a third more in base64
EXCERPT_S = 10.0
SAMPLE_RATE = 22_050  # a rate at which any browser plays MP3


class Recording(NamedTuple):
    """The file of a clip, and the start and end of the clip in it."""

    path: str | Path
    start_s: float = 0.0
    end_s: float | None = None


class Sounds:
    """Players for a page.

    Args:
        recordings: by clip_id; clips without one have no player.
        folder: the folder of the page.
        embed: embed the first EXCERPT_S seconds of the first MAX_EXCERPTS clips in the page; others have no player.
    """

    def __init__(self, recordings: Mapping[str, Recording], folder: Path, embed: bool) -> None:
        self.recordings, self.folder, self.embed = recordings, folder, embed
        self.excerpts: dict[str, str] = {}
        self.num_left_out = 0

    def players(self, clip_ids: Sequence[str]) -> Markup:
        """The clips' names, each with its player, on separate lines."""
        return lines(*(part for clip_id in clip_ids for part in (clip_id, self._player(clip_id)) if part))

    def _player(self, clip_id: str) -> str:
        recording = self.recordings.get(clip_id)
        if recording is None:
            return ""
        if not self.embed:
            return player(recording.path, self.folder, recording.start_s, recording.end_s)
        if clip_id not in self.excerpts:
            if len(self.excerpts) == MAX_EXCERPTS:
                self.num_left_out += 1
                return ""
            self.excerpts[clip_id] = _excerpt(recording)
        return self.excerpts[clip_id]

    def words(self) -> str:
        """A note on what can be played; empty if all clips can."""
        if not self.recordings:
            return "Clips cannot be played here, because this page was created without their recordings."
        if self.num_left_out:
            return f"This page contains excerpts of {MAX_EXCERPTS} clips, each up to {EXCERPT_S:g} s long."
        return ""


def _excerpt(recording: Recording) -> str:
    """A player with the beginning of a clip; an empty string if it cannot be decoded."""
    end_s = recording.start_s + EXCERPT_S
    end_s = end_s if recording.end_s is None else min(end_s, recording.end_s)
    try:
        samples = read_audio(recording.path, SAMPLE_RATE, recording.start_s, end_s)
    except AudioError:
        return ""
    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, format="MP3")
    return html_player(content.getvalue(), "audio/mpeg")

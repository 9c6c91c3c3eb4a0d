"""Tags as HTML for a notebook: a player, bars of the scores, and where each label occurs in the sound.

All text is escaped. The HTML contains the beginning of the sound and downloads nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile
from markupsafe import Markup

from hf_audio.data.recordings.audio import read_audio
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError, printable
from hf_audio.html_parts import html_lines, html_player
from hf_audio.predictions import checked_sound
from hf_audio.tagging.segments import Segment
from hf_audio.tagging.sounds import Recording, recording_of

PLAYED_S, PLAYED_HZ = 60.0, 22_050
MAX_BARS, MAX_SEGMENTS = 10, 500
_BAR = Markup(
    '<tr><td>{}</td><td style="width:16em"><div style="background:#4c78a8;height:.9em;width:{:.1f}%"></div></td>'
    "<td>{:.3f}</td></tr>"
)
_SEGMENT = Markup(
    '<div title="{}: {:.2f} to {:.2f} s, {:.3f}" style="position:absolute;background:#4c78a8;height:.9em;'
    'left:{:.3f}%;width:{:.3f}%"></div>'
)
_LANE = Markup(
    '<tr><td>{}</td><td style="width:36em"><div style="position:relative;background:#eee;height:.9em">{}</div></td>'
    "</tr>"
)


class Player:
    """A sound that a notebook shows as a player; see `player`."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def _repr_html_(self) -> str:
        return html_lines(os.path.basename(self.recording.name), _player(self.recording))


def player(sound: Any, sample_rate: int | None = None) -> Player:
    """A player for a notebook, which stores the first minute of the sound as MP3.

    Args:
        sound, sample_rate: as in `Tagger.__call__`.

    Raises:
        InputError: `sound` is not a sound.
    """
    return Player(recording_of(sound, sample_rate))


def image_of(recording: Recording, duration_s: float, scores: Mapping[str, float], segments: Sequence[Segment]) -> str:
    """HTML of a few kB, plus the sound of its player.

    Args:
        recording: the recording.
        duration_s: its duration.
        scores: label → score of the complete recording, the highest first.
        segments: where each label is present.
    """
    name = os.path.basename(recording.name)  # notebooks are shared, so they must not contain paths of this machine
    heading = Markup("<b>{}</b> {:.2f} s").format(printable(name), duration_s)
    bars = [_BAR.format(printable(label), 100 * score, score) for label, score in list(scores.items())[:MAX_BARS]]
    lanes = Markup("").join(_lanes(duration_s, segments))
    return str(
        Markup("<div>{}<br>{}<table>{}</table><table>{}</table></div>").format(
            heading, _player(recording), Markup("").join(bars), lanes
        )
    )


def _lanes(duration_s: float, segments: Sequence[Segment]) -> list[Markup]:
    """One line per label that has segments."""
    shown, length_s = segments[:MAX_SEGMENTS], max(duration_s, 1e-9)
    lanes = []
    for label in dict.fromkeys(one.label for one in shown):
        parts = [
            _SEGMENT.format(
                printable(label),
                one.start_s,
                one.end_s,
                one.score,
                100 * one.start_s / length_s,
                100 * (one.end_s - one.start_s) / length_s,
            )
            for one in shown
            if one.label == label
        ]
        lanes.append(_LANE.format(printable(label), Markup("").join(parts)))
    rest = len(segments) - len(shown)
    return [*lanes, Markup("<tr><td>and {} more</td></tr>").format(rest)] if rest else lanes


def _player(recording: Recording) -> Markup:
    """A player for the first minute, or a note if the file has been closed or moved."""
    try:
        sound = _beginning(recording)
    except (AudioError, InputError, ValueError):
        return Markup("<i>The sound is no longer available.</i>")
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound, -1, 1), PLAYED_HZ, format="MP3")  # stored in the notebook, 6 kB per second
    return html_player(file.getvalue(), "audio/mpeg")


def _beginning(recording: Recording) -> np.ndarray:
    """The first minute, float32 `[samples]` at PLAYED_HZ."""
    if recording.samples is None:
        return read_audio(recording.source, PLAYED_HZ, 0.0, PLAYED_S)
    import soxr

    sound = checked_sound(recording.samples, recording.sample_rate).mean(axis=0)
    return soxr.resample(sound[: round(PLAYED_S * recording.sample_rate)], recording.sample_rate, PLAYED_HZ)

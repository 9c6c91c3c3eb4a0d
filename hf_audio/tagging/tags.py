"""The tags of one sound: overall scores, a timeline and segments, as a table, as JSON, or in a notebook."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.tagging.segments import Segment, borders_s, median_width, segments_of
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording

if TYPE_CHECKING:
    import pandas


class Timeline(NamedTuple):
    """Scores per window.

    Attributes:
        starts_s, ends_s: float64 `[windows]`.
        scores: float64 `[windows, classes]`, in the order of `labels`.
        labels: names of the classes.
    """

    starts_s: np.ndarray
    ends_s: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Tags:
    """The result of tagging one sound.

    Attributes:
        recording: the sound.
        labels: the model's classes.
        settings: how it was tagged.
        starts_s: float64 `[windows]`.
        window_s: length of the windows; the last one may end after the sound if the sound is shorter.
        logits: float32 `[windows, classes]`.
        duration_s: duration of the sound.
    """

    recording: Recording = field(repr=False)
    labels: LabelSpace = field(repr=False)
    settings: TagSettings
    starts_s: np.ndarray = field(repr=False)
    window_s: float = field(repr=False)
    logits: np.ndarray = field(repr=False)
    duration_s: float = 0.0

    @property
    def name(self) -> str:
        """Name of the file, as given; "" if there is none."""
        return self.recording.name

    @cached_property
    def scores(self) -> dict[str, float]:
        """Label → score of the complete sound, the highest first: softmax or sigmoid of the windows' mean logits, as in
        reports."""
        found = self.labels.probabilities(self.logits.astype(np.float64).mean(axis=0))
        order = np.argsort(-found, kind="stable")[: self.settings.top_k]
        return {self.labels.names[index]: float(found[index]) for index in order}

    @cached_property
    def timeline(self) -> Timeline:
        """Scores of all classes in each window."""
        ends_s = np.minimum(self.starts_s + self.window_s, self.duration_s)
        return Timeline(self.starts_s, ends_s, self.labels.probabilities(self.logits), self.labels.names)

    @cached_property
    def segments(self) -> list[Segment]:
        """(label, start_s, end_s, score) of each segment, sorted by start; see `segments_of`."""
        timeline, settings = self.timeline, self.settings
        return segments_of(
            timeline.scores,
            borders_s(timeline.starts_s, timeline.ends_s, self.duration_s),
            self.labels.names,
            threshold=settings.threshold,
            is_multi_label=self.labels.is_multi_label,
            width=median_width(settings.smooth_s, settings.hop_s),
            min_s=settings.smooth_s / 2,
        )

    def highest(self, window: int) -> list[tuple[str, float]]:
        """(label, score) of one window, the highest first, at most `top_k`."""
        scores = self.timeline.scores[window]
        order = np.argsort(-scores, kind="stable")[: self.settings.top_k]
        return [(self.labels.names[index], float(scores[index])) for index in order]

    def as_dict(self, *, timeline: bool = True) -> dict[str, Any]:
        """All results, as in JSON.

        Args:
            timeline: whether to include the windows.
        """
        found: dict[str, Any] = {
            "file": self.name,
            "duration_s": round(self.duration_s, 3),
            "scores": [_scored(label, score) for label, score in self.scores.items()],
            "segments": [
                {"label": one.label, **_times(one.start_s, one.end_s), "score": round(one.score, 6)}
                for one in self.segments
            ],
        }
        if timeline:
            windows = zip(self.timeline.starts_s, self.timeline.ends_s, strict=True)
            found["timeline"] = [
                {**_times(*times), "scores": [_scored(*one) for one in self.highest(number)]}
                for number, times in enumerate(windows)
            ]
        return found

    def to_json(self, *, timeline: bool = True) -> str:
        """One line of JSON, see `as_dict`. Bytes of a name that are not UTF-8 are escaped as in Python, so that
        `os.fsencode` of the loaded name restores it."""
        text = json.dumps(self.as_dict(timeline=timeline), ensure_ascii=False, allow_nan=False)
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

    def to_pandas(self) -> pandas.DataFrame:
        """The timeline: one row per window, with start_s, end_s and a column per class."""
        import pandas

        starts_s, ends_s, scores, names = self.timeline
        columns = [("start_s", starts_s), ("end_s", ends_s), *zip(names, scores.T, strict=True)]
        return pandas.concat([pandas.Series(values, name=name) for name, values in columns], axis=1)

    def _repr_html_(self) -> str:
        from hf_audio.tagging.notebook import image_of

        return image_of(self.recording, self.duration_s, self.scores, self.segments)


_SURROGATE = re.compile(r"[\ud800-\udfff]")  # in a JSON string; UTF-8 cannot encode them


def _scored(label: str, score: float) -> dict[str, Any]:
    return {"label": label, "score": round(score, 6)}


def _times(start_s: float, end_s: float) -> dict[str, float]:
    return {"start_s": round(float(start_s), 3), "end_s": round(float(end_s), 3)}

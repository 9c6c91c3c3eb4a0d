"""A map of clips as one HTML file: points colored by class, correctness, group or split, which play when clicked.

Points are drawn on a canvas, so that MAX_POINTS of them can be moved and zoomed. Everything is in the file except the
recordings, which are played from their original location.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hf_audio.errors import printable
from hf_audio.figures.projections import Projection
from hf_audio.figures.scripted_page import scripted_page, shown_name

MAX_POINTS = 20_000
MAX_LISTED = 200  # rows per list
MAX_TEXT = 600
SIDE = 10_000  # positions are integers from 0 to this
TITLES = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}
NOT_SCORED, RIGHT, PARTLY, WRONG = STATES = ("not scored", "right", "partly right", "wrong")


@dataclass(frozen=True)
class MapPoints:
    """The clips that are points of the map.

    Attributes:
        clip_ids, groups, splits: of each clip.
        labels, unknown: names of the classes of each clip, and of its unknown classes.
        sounds: address of each recording; "" if it was not found.
        decided: names of the classes that a model predicted; None if the clip has no scores.
        neighbors: int64 `[points, neighbors]`, rows of the nearest points, -1 if there are fewer.
    """

    clip_ids: Sequence[str]
    groups: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[Sequence[str]]
    unknown: Sequence[Sequence[str]]
    sounds: Sequence[str]
    decided: Sequence[Sequence[str] | None]
    neighbors: np.ndarray


@dataclass(frozen=True)
class Listed:
    """A list next to the map.

    Attributes:
        title, explanation: what the list shows.
        rows: for each entry, the rows of its points, the one in question first, and a sentence.
        num_named: how many of the points are named before the sentence.
    """

    title: str
    explanation: str
    rows: Sequence[tuple[Sequence[int], str]]
    num_named: int = 1


def map_page(
    title: str, notes: Sequence[str], points: MapPoints, projections: Sequence[Projection], lists: Sequence[Listed]
) -> str:
    """The HTML of a map.

    Args:
        notes: paragraphs under the title.
        projections: projections of the points; the page switches between them.
    """
    classes = _Names(name for names in (*points.labels, *filter(None, points.decided)) for name in names)
    groups, splits = _Names(points.groups), _Names(points.splits)
    data = {
        "notes": [printable(note) for note in notes],
        "side": SIDE,
        "classes": classes.shown,
        "groups": groups.shown,
        "splits": splits.shown,
        "states": STATES,
        "maps": [_map(one) for one in projections],
        "name": [shown_name(name) for name in points.clip_ids],
        "labels": [classes.places(names) for names in points.labels],
        "group": groups.places(points.groups),
        "split": splits.places(points.splits),
        "sound": list(points.sounds),
        "decided": [None if names is None else classes.places(names) for names in points.decided],
        "state": [
            STATES.index(correctness(*one)) for one in zip(points.labels, points.decided, points.unknown, strict=True)
        ],
        "neighbors": [row[row >= 0].tolist() for row in points.neighbors],
        "lists": [_list(one) for one in lists],
    }
    return scripted_page("embedding_map.html", title, ["embedding_map.js", "embedding_map_panel.js"], data)


def correctness(given: Sequence[str], decided: Sequence[str] | None, unknown: Sequence[str] = ()) -> str:
    """One of STATES: whether a model predicted the given classes; partly right if it found some of them.

    Predictions of unknown classes do not count.
    """
    if decided is None:
        return NOT_SCORED
    found = set(decided) - set(unknown)
    if found == set(given):
        return RIGHT
    return PARTLY if found & set(given) else WRONG


class _Names:
    """Unique names in alphabetical order, with their indices."""

    def __init__(self, names: Iterable[str]) -> None:
        self.all = sorted(set(names))
        self._place = {name: place for place, name in enumerate(self.all)}

    @property
    def shown(self) -> list[str]:
        return [shown_name(name) for name in self.all]

    def places(self, names: Sequence[str]) -> list[int]:
        return [self._place[name] for name in names]


def _map(projection: Projection) -> dict[str, object]:
    """Both axes with the same scale, to preserve distances."""
    lowest, reach = projection.points.min(axis=0), np.ptp(projection.points, axis=0).max() or 1.0
    places = np.round((projection.points - lowest) / reach * SIDE).astype(int)
    x, y = places.T.tolist()
    return {"title": TITLES[projection.method], "caption": projection.caption, "x": x, "y": y}


def _list(listed: Listed) -> dict[str, object]:
    rows = [{"points": list(points), "text": printable(text)[:MAX_TEXT]} for points, text in listed.rows[:MAX_LISTED]]
    return {
        "title": listed.title,
        "explanation": listed.explanation,
        "rows": rows,
        "total": len(listed.rows),
        "named": listed.num_named,
    }

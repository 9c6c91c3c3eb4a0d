"""The index: what a corpus is to everything that comes after it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SPLITS = ("train", "validation", "test")
# of a feature dataset's index.csv; what follows them there is metadata
INDEX_COLUMNS = ("clip_id", "group", "split", "labels", "unknown", "start_s", "end_s")
# beside them where there are mixtures: what each is made of, as JSON
MIXTURE_COLUMN = "mixture_of"
MIXTURE_GROUP = "mix:"


@dataclass(frozen=True)
class MixPart:
    """A clip as it sounds in a mixture; see `hf_audio.data.mixing_audio` for how they are put together.

    Attributes:
        clip_id, path, start_s, end_s: of the clip.
        gain_db: its level in the mixture, beside the others'.
        late: it begins so late, as a share of a window, or of a mixture shorter than a window.
        skip: where in a longer clip the stretch lies that is heard, from 0 (its beginning) to 1 (its end).
    """

    clip_id: str
    path: str
    start_s: float = 0.0
    end_s: float | None = None
    gain_db: float = 0.0
    late: float = 0.0
    skip: float = 0.0


@dataclass(frozen=True, slots=True)  # slots: there may be millions
class Clip:
    """One labelled stretch of a recording.

    Attributes:
        path: the audio file. Any path is taken and kept as a string, in a third of the memory: there may be millions.
        labels: names of its classes; none at all is a valid multi-label answer.
        group: song, recording or speaker: what must never be in two splits.
        start_s, end_s: the stretch of the file in seconds; `end_s` None reads to its end.
        split: "train", "validation" or "test" where the corpus has an official one, else None.
        clip_id: name that is unique in the corpus and the same on every machine (a path relative to the corpus root).
        metadata: free facts that travel to the feature dataset's index.csv (genre, drums ...).
        unknown: names of classes about which nothing is known for this clip, where labels are partial (multi-label
            only): neither present nor absent. A class in neither `labels` nor `unknown` is known to be absent.
        parts: what a mixture is made of. It has no file of its own: its path is "", and its `group` stands for those of
            all its parts, see `groups_in`.
        match: what the parts of a mixture are brought to agree in: "none", "tempo" or "pitch".
    """

    path: str
    labels: tuple[str, ...]
    group: str
    clip_id: str
    start_s: float = 0.0
    end_s: float | None = None
    split: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    parts: tuple[MixPart, ...] = ()
    match: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))

    @property
    def is_group_of_its_file(self) -> bool:
        """Whether the group is but the name of the clip's own file, where none is known."""
        return self.clip_id == self.group or self.clip_id.startswith(f"{self.group}#")


def with_shared_values(clips: Iterable[Clip]) -> list[Clip]:
    """The same clips, equal names, labels and metadata being one object each: there may be millions."""
    seen: dict[Any, Any] = {}
    seen_metadata: dict[tuple, dict[str, str]] = {}

    def shared(value: Any) -> Any:
        return seen.setdefault(value, value)

    return [
        dataclasses.replace(
            clip,
            clip_id=shared(clip.clip_id),  # where every file is a group of its own, their names are equal
            group=shared(clip.group),
            labels=shared(clip.labels),
            unknown=shared(clip.unknown),
            metadata=seen_metadata.setdefault(tuple(clip.metadata.items()), clip.metadata),
        )
        for clip in clips
    ]


def joined_group(groups: Iterable[str]) -> str:
    """The group of a mixture: one name that stands for all of `groups`."""
    return MIXTURE_GROUP + "+".join(group.replace("%", "%25").replace("+", "%2B") for group in groups)


def groups_in(group: str) -> tuple[str, ...]:
    """The groups that a clip's group stands for: those of a mixture's parts, else itself.

    Whoever keeps groups apart (splits, folds, shares of the training data) must keep all of these apart.
    """
    if not group.startswith(MIXTURE_GROUP):
        return (group,)
    names = group.removeprefix(MIXTURE_GROUP).split("+")
    return tuple(name.replace("%2B", "+").replace("%25", "%") for name in names)


@dataclass(frozen=True)
class CorpusCard:
    """What a reader must know of a corpus before using it.

    Attributes:
        name: title for people.
        licence: short licence name as its authors give it, e.g. "CC BY-NC-SA 3.0".
        may_redistribute: whether audio, or features made of it, may be published by anyone.
        citation: how its authors ask to be cited.
        homepage: where it is described and downloaded.
        protocol: how its users evaluate, in one sentence.
        problem_type: transformers' `problem_type`; None where the labels decide.
        label_names: its classes in their official order; None where the labels decide.
        others: further corpora that some of the clips come from, such as negatives, each under its own licence.
        groups_known: whether groups are known; where they are not, every file is one, and nothing keeps recordings of
            one singer, song or session out of two splits.
        understood: how a folder or table of one's own was read, in one paragraph.
    """

    name: str
    licence: str
    may_redistribute: bool
    citation: str = ""
    homepage: str = ""
    protocol: str = ""
    problem_type: str | None = None
    label_names: tuple[str, ...] | None = None
    others: tuple[CorpusCard, ...] = ()
    groups_known: bool = True
    understood: str = ""

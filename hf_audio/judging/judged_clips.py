"""The scores of one model for the windows of clips, with their labels and metadata.

All measurements and comparisons in this package use these scores, and do not run the model again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError


@dataclass(frozen=True)
class JudgedClips:
    """One model's logits per window, and the clips that the windows belong to.

    Attributes:
        name: name of the model in tables.
        labels: the classes, in the order of logits and targets.
        clips: a row per clip: clip_id, group, split and duration_s (null if unknown), then columns of metadata, such
            as device or genre.
        targets: float32 `[clips, classes]`, one-hot or multi-hot, NaN where unknown.
        window_logits: float32 `[windows, classes]`.
        clip_of_window: int64 `[windows]`, the row of the clip; ascending, and each clip has a window.
        window_starts_s: float64 `[windows]`, the start of each in its recording.
    """

    name: str
    labels: LabelSpace
    clips: pa.Table
    targets: np.ndarray
    window_logits: np.ndarray
    clip_of_window: np.ndarray
    window_starts_s: np.ndarray

    def __post_init__(self) -> None:
        """Raises InputError if a logit is not finite."""
        finite = np.isfinite(self.window_logits).all(axis=1)
        if not finite.all():
            clip_id = self.clips["clip_id"][int(self.clip_of_window[int(np.argmin(finite))])].as_py()
            raise InputError(
                f"{self.name} has no finite scores for {int((~finite).sum()):,} of {len(finite):,} windows, the first "
                f"in {clip_id}: its training diverged, or its precision is too low"
            )

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def groups(self) -> np.ndarray:
        """int64 `[clips]`: the number of each clip's group, from 0 in order of appearance."""
        return self.clips["group"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)

    @property
    def num_groups(self) -> int:
        """The number of groups."""
        return int(self.groups.max()) + 1 if len(self) else 0

    @property
    def groups_known(self) -> bool:
        """Whether any two clips share a group; otherwise intervals resample clips."""
        return self.num_groups < len(self)

    def of_split(self, split: str) -> JudgedClips:
        """The clips of one split."""
        return self.take(np.flatnonzero(np.array(self.clips["split"].to_pylist()) == split))

    def take(self, rows: np.ndarray) -> JudgedClips:
        """Some of the clips, given as ascending rows, with their windows."""
        place = np.full(len(self), -1)
        place[rows] = np.arange(len(rows))
        its = self.with_windows(place[self.clip_of_window] >= 0)
        return dataclasses.replace(
            its,
            clips=self.clips.take(pa.array(rows, type=pa.int64())),
            targets=self.targets[rows],
            clip_of_window=place[its.clip_of_window],
        )

    def with_windows(self, kept: np.ndarray) -> JudgedClips:
        """The clips with some of their windows, given as a mask or ascending rows."""
        return dataclasses.replace(
            self,
            window_logits=self.window_logits[kept],
            clip_of_window=self.clip_of_window[kept],
            window_starts_s=self.window_starts_s[kept],
        )

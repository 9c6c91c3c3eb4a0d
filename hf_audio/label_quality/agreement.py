"""Agreement of two label sets for the same clips: two people, before and after corrections, or model and truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_audio.data.index.columns import in_order
from hf_audio.data.index.label_overrides import ClipLabels
from hf_audio.data.loading.clip_labels import read_clip_labels
from hf_audio.errors import InputError, unknown_name
from hf_audio.markdown import table
from hf_audio.stored_scores import read_scores


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement on one class, over the clips for which both sets know it.

    Attributes:
        known: number of these clips.
        in_a, in_b, in_both: number of clips with the class in each set, and in both.
        precision, recall: of b measured against a; None if the denominator is 0.
        kappa: agreement beyond chance (Cohen 1960); None if the agreement expected by chance is 1.
    """

    known: int
    in_a: int
    in_b: int
    in_both: int
    precision: float | None
    recall: float | None
    kappa: float | None


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of two label sets a and b.

    Attributes:
        num_clips: clips in both sets with at least one class that both know.
        num_only_a, num_only_b: clips in only one set; they do not count.
        any_right: share of clips with a common class, or with no class in either set.
        all_right: share of clips with exactly the same classes.
        hamming_distance: share of clip-class pairs that differ.
        per_class: by class name.
    """

    num_clips: int
    num_only_a: int
    num_only_b: int
    any_right: float
    all_right: float
    hamming_distance: float
    per_class: dict[str, ClassAgreement]

    def as_text(self) -> str:
        """A summary and a Markdown table of the classes."""
        lines = [
            f"{self.num_clips:,} clips in both ({self.num_only_a:,} only in the first, {self.num_only_b:,} only in the "
            "second)",
            f"any right         {self.any_right:.3f}",
            f"all right         {self.all_right:.3f}",
            f"Hamming distance  {self.hamming_distance:.4f}",
            "",
        ]
        rows = [
            [name, one.known, one.in_a, one.in_b, one.in_both, *map(_share, (one.precision, one.recall, one.kappa))]
            for name, one in self.per_class.items()
        ]
        heads = ("class", "known", "first", "second", "both", "precision", "recall", "kappa")
        return "\n".join([*lines, table(heads, rows)])


LabelSet = Mapping[str, ClipLabels] | str | Path


def label_agreement(a: LabelSet, b: LabelSet) -> LabelAgreement:
    """Compares two label sets on their common clips; b is measured against a.

    A class that is unknown for a clip in either set does not count for this clip. Clips left out by either set do not
    count.

    Args:
        a, b: {clip_id: ClipLabels}, or a source for `read_labels`.

    Raises:
        InputError: an error of `read_labels`, or no common clip.
    """
    a, b = (_labels_of(one) for one in (a, b))
    common = [clip_id for clip_id in a if clip_id in b]
    if not common:
        raise InputError(
            f"The two label sets have no clip in common: {next(iter(a), 'nothing')!r} is in the first, "
            f"{next(iter(b), 'nothing')!r} in the second; clip_id must be the same in both"
        )
    names = in_order({name for one in (a, b) for clip_id in common for name in one[clip_id].labels})
    targets = [_targets([one[clip_id] for clip_id in common], names) for one in (a, b)]
    known = ~np.isnan(targets[0]) & ~np.isnan(targets[1])
    in_a, in_b = (target > 0.5 for target in targets)
    judged = known.any(axis=1) | (len(names) == 0)
    both, differs = in_a & in_b & known, (in_a != in_b) & known
    none = ~((in_a | in_b) & known).any(axis=1)
    return LabelAgreement(
        num_clips=int(judged.sum()),
        num_only_a=len(a) - len(common),
        num_only_b=len(b) - len(common),
        any_right=_mean((both.any(axis=1) | none)[judged]),
        all_right=_mean(~differs.any(axis=1)[judged]),
        hamming_distance=_mean(differs[known], 0.0),
        per_class={
            name: _class_agreement(in_a[rows, column], in_b[rows, column])
            for column, (name, rows) in enumerate(zip(names, known.T, strict=True))
        },
    )


def read_labels(source: str | Path, column: str | None = None) -> dict[str, ClipLabels]:
    """{clip_id: labels} from a CSV or a feature dataset, see `read_clip_labels`, or from scores/clips.parquet of a run.

    Args:
        column: in scores, "labels" for the truth or "decided" for the model's decisions.

    Raises:
        InputError: no such file, or one of another kind.
    """
    if Path(source).suffix != ".parquet":
        return read_clip_labels(source, column)
    stored = read_scores(source)
    columns = {"labels": stored.given, "decided": stored.decided}
    if column not in (None, *columns):
        raise unknown_name(f"column of labels in {source}", column, columns)
    names = columns[column or "labels"]
    return {
        clip_id: ClipLabels(tuple(found), tuple(unknown))
        for clip_id, found, unknown in zip(stored.clip_ids, names, stored.unknown, strict=True)
    }


def _labels_of(labels: LabelSet) -> dict[str, ClipLabels]:
    found = labels if isinstance(labels, Mapping) else read_labels(labels)
    return {clip_id: one for clip_id, one in found.items() if not one.is_left_out}


def _targets(clips: list[ClipLabels], names: list[str]) -> np.ndarray:
    """float32 `[clips, classes]`, NaN where unknown."""
    targets = np.zeros((len(clips), len(names)), dtype=np.float32)
    ids = {name: column for column, name in enumerate(names)}
    for row, clip in zip(targets, clips, strict=True):
        row[[ids[name] for name in clip.labels]] = 1.0
        row[[ids[name] for name in clip.unknown or () if name in ids]] = np.nan
    return targets


def _class_agreement(in_a: np.ndarray, in_b: np.ndarray) -> ClassAgreement:
    both, a, b, known = int((in_a & in_b).sum()), int(in_a.sum()), int(in_b.sum()), len(in_a)
    kappa = None
    if known:
        by_chance = (a * b + (known - a) * (known - b)) / known**2
        kappa = (float((in_a == in_b).mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else None
    return ClassAgreement(known, a, b, both, both / b if b else None, both / a if a else None, kappa)


def _mean(values: np.ndarray, of_none: float = 1.0) -> float:
    return float(values.mean()) if values.size else of_none


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

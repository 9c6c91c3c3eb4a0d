"""Plans mixtures: new training clips with several classes, mixed from clips with few.

Only the plan is made here, from metadata alone; `hf_audio.data.recordings.mixing` makes the sound when features are
built. The same clips and settings give the same plan on every machine.
"""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import MixingConfig
from hf_audio.data.index.columns import check_disjoint, groups_and_splits, of_split, require_files, without_mixtures
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, MixPart, index_of, rows_of
from hf_audio.errors import InputError, nearest_name

# Only this many seconds of longer recordings are mixed: more would only take memory
LONGEST_MIXTURE_S = 30.0
MAX_ATTEMPTS = 200  # for one mixture: if this many fail, no clips match
MAX_DRAWS = 20  # of clips of one class, until one fits


def mix_clips(clips: pa.Table, labels: LabelSpace, mixing: MixingConfig) -> pa.Table:
    """Mixtures of training clips that have a class; validation and test clips are not used.

    Each clip adds a class that the mixture does not have yet, and no two clips are from the same group. Classes are
    drawn evenly, not by their frequency: the first at random, those of its partners always the least used so far.
    Labels are combined; a class is known to be absent only if it is known to be absent from all parts. A mixture has
    the metadata that all its parts share. It is its own group and names the groups of its parts (`Clip.part_groups`),
    so that leakage is detected.

    Args:
        clips: all clips with their splits.
        labels: the classes, several of which may apply to a clip.
        mixing: the number of mixtures and the rules for them.

    Returns:
        Only the mixtures, `round(mix_fraction * training clips)` of them.

    Raises:
        InputError: the task is single-label, no clip has the metadata, no clips match, or parts should be matched but
            librosa is missing.
    """
    training = of_split(clips, "train")
    count = round(mixing.mix_fraction * len(training))
    if not count:
        return clips.schema.empty_table()
    require_files(training, "--mix_fraction needs")
    if not labels.is_multi_label:
        raise InputError(
            "--mix_fraction makes clips with several classes, but this task is single-label: add --several_labels, "
            "or leave it out"
        )
    if mixing.mix_match != "none" and importlib.util.find_spec("librosa") is None:
        raise InputError(
            f"--mix_match {mixing.mix_match} needs librosa, which is not installed: pip install "
            '"hf_audio[classical]", or give --mix_match none'
        )
    usable = without_mixtures(training.filter(pc.greater(pc.list_value_length(training["labels"]), 0)))
    pool = _Pool.of(list(rows_of(usable.sort_by("clip_id"))), labels, mixing)
    random = np.random.default_rng(mixing.mix_seed)
    mixtures = index_of(
        (_mixture(f"mix/{number:06d}", pool.draw(random, mixing), labels, mixing, random) for number in range(count)),
        like=clips.schema,
    )
    check_disjoint(pa.concat_tables([groups_and_splits(clips), groups_and_splits(mixtures)]))
    return mixtures


@dataclass
class _Pool:
    """Clips to draw from.

    Attributes:
        of_class: the clips of each class.
        members: the same, grouped first by the metadata value that the clips of a mixture must share.
        used: how often each class was drawn.
    """

    of_class: dict[str, list[Clip]]
    members: dict[str, dict[str, list[Clip]]]
    used: Counter[str]

    @classmethod
    def of(cls, clips: Sequence[Clip], labels: LabelSpace, mixing: MixingConfig) -> _Pool:
        usable = [clip for clip in clips if len(clip.labels) <= mixing.mix_labels and _agreeing(clip, mixing)]
        if not usable:
            raise _nothing_to_mix(clips, mixing)
        found: dict[str, list[Clip]] = defaultdict(list)
        for clip in usable:
            for name in set(clip.labels):
                found[name].append(clip)
        of_class = {name: found[name] for name in labels.names if name in found}
        members: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
        for name, its in of_class.items():
            for clip in its:
                members[_agreeing(clip, mixing)][name].append(clip)
        return cls(of_class, members, Counter())

    def draw(self, random: np.random.Generator, mixing: MixingConfig) -> list[Clip]:
        """Clips that match: a random number of them, or fewer (but at least the minimum) if no more fit."""
        fewest, most = mixing.mix_clips
        for _ in range(MAX_ATTEMPTS):
            wanted = int(random.integers(fewest, min(most, mixing.mix_labels) + 1))
            name = list(self.of_class)[random.integers(len(self.of_class))]
            first = self.of_class[name][random.integers(len(self.of_class[name]))]
            drawn, names = [first], set(first.labels)
            for clip in self._partners(drawn, random, mixing):
                drawn.append(clip)
                names.update(clip.labels)
                if len(drawn) == wanted:
                    break
            if len(drawn) >= fewest:
                self.used.update(names)
                return drawn
        agreeing = f" that agree in {mixing.mix_same}" if mixing.mix_same else ""
        raise InputError(
            f"No {fewest} training clips{agreeing} of different groups and classes, at most {mixing.mix_labels}, were "
            f"found in {MAX_ATTEMPTS} draws: {'leave out --mix_same, ' if agreeing else ''}mix fewer clips, or "
            "increase --mix_labels"
        )

    def _partners(self, drawn: list[Clip], random: np.random.Generator, mixing: MixingConfig) -> Iterator[Clip]:
        """Clips that fit those `drawn` so far, one class after the other, the least used classes first."""
        by_class, most = self.members[_agreeing(drawn[0], mixing)], mixing.mix_labels
        order = [list(by_class)[place] for place in random.permutation(len(by_class))]
        for name in sorted(order, key=lambda one: self.used[one]):
            found = {label for clip in drawn for label in clip.labels}
            groups = {clip.group for clip in drawn}
            for _ in range(MAX_DRAWS if name not in found and len(found) < most else 0):
                clip = by_class[name][random.integers(len(by_class[name]))]
                if clip.group not in groups and len(found.union(clip.labels)) <= most:
                    yield clip
                    break


def _agreeing(clip: Clip, mixing: MixingConfig) -> str:
    """The value that the clips of a mixture must share; empty if this clip has none."""
    return str(clip.metadata.get(mixing.mix_same, "")) if mixing.mix_same else "any"


def _mixture(
    clip_id: str, clips: list[Clip], labels: LabelSpace, mixing: MixingConfig, random: np.random.Generator
) -> Clip:
    """One clip made from `clips`; the first begins with the mixture, the others at a time that `mix_overlap` allows."""
    present = {name for clip in clips for name in clip.labels}
    unknown = {name for clip in clips for name in clip.unknown} - present
    parts = []
    for clip in clips:
        gain, late, skip = random.random(3).tolist()
        parts.append(
            MixPart(
                clip_id=clip.clip_id,
                path=clip.path,
                start_s=clip.start_s,
                end_s=clip.end_s,
                gain_db=round(-mixing.mix_level_db * gain, 2),
                late=round((1 - mixing.mix_overlap) * late, 4) if parts else 0.0,
                skip=round(skip, 4),
            )
        )
    first = clips[0].metadata
    return Clip(
        path="",
        labels=tuple(name for name in labels.names if name in present),
        group=clip_id,
        clip_id=clip_id,
        split="train",
        metadata={key: first[key] for key in first if all(clip.metadata.get(key) == first[key] for clip in clips)},
        unknown=tuple(name for name in labels.names if name in unknown),
        parts=tuple(parts),
        match=mixing.mix_match,
        part_groups=tuple(clip.group for clip in clips),
    )


def mixture_s(durations_s: Sequence[float]) -> float:
    """Length in seconds of a mixture of clips with these lengths: that of the shortest, up to LONGEST_MIXTURE_S."""
    return min(*durations_s, LONGEST_MIXTURE_S)


def _nothing_to_mix(clips: Sequence[Clip], mixing: MixingConfig) -> InputError:
    same = mixing.mix_same
    fields = sorted({key for clip in clips for key in clip.metadata})
    if same and same not in fields:
        guess = nearest_name(same, fields)
        there = f"did you mean {guess}?" if guess else f"they have {', '.join(fields) or 'none'}"
        return InputError(
            f"--mix_same {same} is not metadata of the training clips: {there}; or leave it out to mix any clips"
        )
    return InputError(f"No training clip has between 1 and {mixing.mix_labels} classes, so there is nothing to mix")

"""The scores of a model on degraded recordings: noise, codecs, rooms, levels.

    robustness(predictor, recordings, labels=labels)["conditions"]    a row per degradation and strength

Each recording is read once and scored under all conditions. Randomness depends only on the seed and the clip's id, so
the same command gives the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.step import KEYS
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.conditions import Condition, conditions_of
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.degradations import DEGRADATIONS, Around
from hf_audio.judging.intervals import Interval, check_draws, interval, intervals
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.redrawn_metrics import RedrawnMetrics, drawn_counts
from hf_audio.judging.sound_windows import logits_of_windows
from hf_audio.metrics import main_metrics
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.terminal import progress
from hf_audio.windows import SampleWindows

BLOCK_S = 600.0  # of sound at the model's rate, held in memory for all conditions: 38 MB at 16 kHz
CLEAN = "clean"


class Recorded(NamedTuple):
    """A clip with its recording.

    Attributes:
        clip_id, group: as in the table of clips.
        target: float32 `[classes]`, NaN where unknown.
        samples: floats in [-1, 1], `[samples]` or `[channels, samples]`.
        sample_rate: in Hz.
    """

    clip_id: str
    group: str
    target: np.ndarray
    samples: np.ndarray
    sample_rate: int


def robustness(
    predictor: SoundPredictor,
    recordings: Iterable[Recorded],
    labels: LabelSpace | None = None,
    *,
    degradations: Sequence[str] = (),
    of_logits: Callable[[np.ndarray], np.ndarray] | None = None,
    aggregate: Callable[[JudgedClips], np.ndarray] = clip_probabilities,
    thresholds: np.ndarray | None = None,
    background: SoundPool | None = None,
    windows: SampleWindows | None = None,
    num_recordings: int | None = None,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """A model's scores on recordings, and on degraded versions of the same recordings.

    Sounds are degraded at the model's sample rate, so signal-to-noise ratios cover only what the model can hear. Noise,
    codecs and rooms keep the level of the sound; only gain changes it.

    Args:
        predictor: a trained classifier.
        recordings: consumed one by one.
        labels: the classes of the targets; by default the model's.
        degradations: degradations with strengths, see `conditions_of`.
        of_logits: from the model's logits `[windows, model's classes]` to those of `labels`; needed if these differ.
        aggregate: from windows to clips; see `aggregation.clip_probabilities`.
        thresholds: float `[classes]` for multi-label tasks; by default the model's own.
        background: recordings for the degradation of that name, at the model's rate.
        windows: how sounds are cut; by default as the model was trained.
        num_recordings: the number of recordings, for the progress bar.
        num_draws, confidence: of bootstrap intervals over groups.
        seed: for all randomness.

    Returns:
        For JSON: `clean` and `conditions`, each with `metrics` (an Interval each). Each condition also has
        `degradation`, `strength`, `unit`, `change` (of the main metric, an Interval of paired draws), `same_decisions`
        (the share of clips with the same decisions as without degradation), `num_changed` (clips whose sound changed at
        all), and means such as `kbit_per_s` or `clipped_share`. `mean` is the mean of each metric over all conditions,
        and `left_out` lists conditions that would have no effect, with the reason.

    Raises:
        InputError: no recordings; degradations that would have no effect; other labels than the model's without
            `of_logits`; scores that are not finite.
    """
    check_draws(num_draws, confidence)
    labels = labels or predictor.labels
    if of_logits is None and labels != predictor.labels:
        raise InputError(f"{predictor.name} and the recordings have different classes: give a mapping of the classes")
    if thresholds is None:
        thresholds = np.full(len(labels), predictor.decision_threshold)
    around = Around(predictor.sample_rate, predictor.is_stereo, background)
    conditions, left_out = conditions_of(degradations, around)
    windows = windows or predictor.windows
    heard = _Heard(
        predictor, labels, of_logits or (lambda logits: logits), aggregate, windows, around, conditions, seed
    )
    heard.hear_all(recordings, num_recordings)
    return heard.table(thresholds, num_draws, confidence) | {"left_out": left_out}


def _blocks(recordings: Iterable[Recorded], sample_rate: int) -> Iterator[list[Recorded]]:
    """Blocks of recordings that are held in memory together; a longer recording is a block on its own."""
    block, seconds = [], 0.0
    for one in recordings:
        length_s = np.shape(one.samples)[-1] / one.sample_rate
        if block and seconds + length_s > BLOCK_S:
            yield block
            block, seconds = [], 0.0
        block.append(one)
        seconds += length_s
    if block:
        yield block


class _Heard:
    """Accumulates a model's probabilities for each clip under each condition."""

    def __init__(
        self,
        predictor: SoundPredictor,
        labels: LabelSpace,
        of_logits: Callable[[np.ndarray], np.ndarray],
        aggregate: Callable[[JudgedClips], np.ndarray],
        windows: SampleWindows,
        around: Around,
        conditions: Sequence[Condition],
        seed: int,
    ) -> None:
        self.predictor, self.labels, self.of_logits, self.aggregate = predictor, labels, of_logits, aggregate
        self.windows, self.around, self.conditions, self.seed = windows, around, conditions, seed
        self.clip_ids: list[str] = []
        self.groups: list[str] = []
        self.targets: list[np.ndarray] = []
        self.probabilities: dict[Condition | str, list[np.ndarray]] = {CLEAN: [], **{one: [] for one in conditions}}
        self.facts: dict[Condition, dict[str, list[np.ndarray]]] = {one: {} for one in conditions}

    def hear_all(self, recordings: Iterable[Recorded], num_recordings: int | None) -> None:
        """Scores all recordings under all conditions, with a progress bar."""
        total = None if num_recordings is None else num_recordings * (1 + len(self.conditions))
        with progress(desc="robustness", unit=" sounds", total=total) as bar:
            for block in _blocks(recordings, self.predictor.sample_rate):
                for num_heard in self.hear(block):
                    bar.update(num_heard)

    def hear(self, block: Sequence[Recorded]) -> Iterator[int]:
        """Scores a block of clips under all conditions, and yields the number of sounds after each condition."""
        sounds = [self.predictor.heard(one.samples, one.sample_rate) for one in block]
        keys = [_key(self.seed, one.clip_id) for one in block]
        self.clip_ids += [one.clip_id for one in block]
        self.groups += [one.group for one in block]
        self.targets += [one.target for one in block]
        self.probabilities[CLEAN].append(self._scores(block, sounds))
        yield len(sounds)
        for condition in self.conditions:
            change = DEGRADATIONS[condition.degradation].change
            worse = change(sounds, keys, condition.strength, self.around)
            self.probabilities[condition].append(self._scores(block, worse.sounds))
            changed = [not np.array_equal(*pair) for pair in zip(sounds, worse.sounds, strict=True)]
            for name, values in {**worse.facts, "changed": np.array(changed)}.items():
                self.facts[condition].setdefault(name, []).append(values)
            yield len(sounds)

    def _scores(self, block: Sequence[Recorded], sounds: Sequence[np.ndarray]) -> np.ndarray:
        """float64 `[clips, classes]`."""
        rule, rate = self.windows, self.predictor.sample_rate
        windows = [rule.cut(sound) for sound in sounds]
        logits = logits_of_windows(self.predictor, [window for of_clip in windows for window in of_clip])
        counts = [len(of_clip) for of_clip in windows]
        clips = pa.table(
            {
                "clip_id": [one.clip_id for one in block],
                "group": [one.group for one in block],
                "split": pa.nulls(len(block), pa.string()),
                "duration_s": [sound.shape[-1] / rate for sound in sounds],
            }
        )
        starts = np.concatenate([rule.starts(sound.shape[-1]) for sound in sounds])
        targets, clip_of_window = np.stack([one.target for one in block]), np.repeat(np.arange(len(block)), counts)
        name = self.predictor.name
        judged = JudgedClips(name, self.labels, clips, targets, self.of_logits(logits), clip_of_window, starts / rate)
        return self.aggregate(judged)

    def table(self, thresholds: np.ndarray, num_draws: int, confidence: float) -> dict[str, Any]:
        """See `robustness`."""
        if not self.clip_ids:
            raise InputError("There are no recordings to measure robustness on: give a split with recordings")
        targets = np.stack(self.targets)
        groups = pa.array(self.groups).dictionary_encode().indices.to_numpy().astype(np.int64)
        names = main_metrics(self.labels.problem_type)
        found, redrawn, decided = {}, {}, {}
        for condition, parts in self.probabilities.items():
            probabilities = np.concatenate(parts)
            decided[condition] = decisions_of(probabilities, self.labels, thresholds)
            given = (probabilities, decided[condition], targets, self.labels, groups)
            found[condition] = intervals(*given, num_draws=num_draws, confidence=confidence, seed=self.seed)
            redrawn[condition] = RedrawnMetrics(*given, ranked=False)
        rows = []
        for condition in self.conditions:
            same = float((decided[condition] == decided[CLEAN]).all(axis=1).mean())
            change = _change(redrawn[condition], redrawn[CLEAN], names[0], num_draws, confidence, self.seed)
            metrics = {name: found[condition]["metrics"][name] for name in names}
            rows.append(self._row(condition) | {"same_decisions": same, "change": change, "metrics": metrics})
        return {
            "metric": names[0],
            "num_clips": len(groups),
            "num_groups": found[CLEAN]["num_groups"],
            "by": found[CLEAN]["by"],
            "seed": self.seed,
            "num_draws": num_draws,
            "confidence": confidence,
            CLEAN: {"metrics": {name: found[CLEAN]["metrics"][name] for name in names}},
            "conditions": rows,
            "mean": {name: _mean([row["metrics"][name].value for row in rows]) for name in names},
        }

    def _row(self, condition: Condition) -> dict[str, Any]:
        facts = {name: np.concatenate(parts) for name, parts in self.facts[condition].items()}
        num_changed = int(facts.pop("changed").sum())
        means = {name: float(values.mean()) for name, values in facts.items()}
        unit = DEGRADATIONS[condition.degradation].unit
        return {**condition._asdict(), "unit": unit, "num_changed": num_changed, **means}


def _key(seed: int, clip_id: str) -> int:
    """The key for all randomness of a clip, an integer below 2^24."""
    return int(np.random.default_rng((seed, clip_key(clip_id))).integers(KEYS))


def _change(
    worse: RedrawnMetrics, clean: RedrawnMetrics, name: str, num_draws: int, confidence: float, seed: int
) -> Interval:
    """How much a metric changes, with paired draws, so that the variation between clips cancels."""
    drawn = [
        worse.of(counts).metrics[name] - clean.of(counts).metrics[name]
        for counts in drawn_counts(clean.num_groups, num_draws, clean.chunk(), seed)
    ]
    value = worse.of_all().metrics[name][0] - clean.of_all().metrics[name][0]
    return interval(value, np.concatenate(drawn), clean.num_groups, confidence)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None

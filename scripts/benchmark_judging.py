"""Measure time and memory of intervals and comparisons of stored scores, and compare with a plain scikit-learn loop.

    python scripts/benchmark_judging.py                     # 20,000 clips, 20 classes, 1,000 draws, 5,000 groups
    python scripts/benchmark_judging.py --num_groups 20000  # each clip is its own group
    python scripts/benchmark_judging.py --coverage 300      # how often intervals contain the true value

Scores are synthetic. The plain loop copies the rows of the drawn groups and computes every metric with scikit-learn for
each draw; it is measured for a few draws, as its time is proportional to their number. Times are CPU times of one core
in a separate process, and memory is relative to the start of that process.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"  # one core; NumPy reads this when it is imported

import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _measuring import machine, report
from sklearn import metrics as sk

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.judging.comparing import compare
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.intervals import interval, intervals
from hf_audio.judging.redrawn_metrics import RedrawnMetrics, drawn_counts
from hf_audio.metrics import decide


class Scores(NamedTuple):
    """Probabilities and decisions `[clips, classes]` of each model, the truth, and each clip's group."""

    models: dict[str, tuple[np.ndarray, np.ndarray]]
    targets: np.ndarray
    labels: LabelSpace
    groups: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_clips", type=int, default=20_000, help="clips (default: %(default)s)")
    parser.add_argument("--num_classes", type=int, default=20, help="classes (default: %(default)s)")
    parser.add_argument("--num_groups", type=int, default=5_000, help="groups to resample (default: %(default)s)")
    parser.add_argument("--num_draws", type=int, default=1_000, help="bootstrap samples (default: %(default)s)")
    parser.add_argument("--plain_draws", type=int, default=10, help="draws of the plain loop (default: %(default)s)")
    parser.add_argument("--num_models", type=int, default=3, help="models to compare (default: %(default)s)")
    parser.add_argument(
        "--coverage", type=int, help="instead, draw this many data sets, and count how often intervals cover the truth"
    )
    options = parser.parse_args()
    if options.coverage:
        show_coverage(options.coverage)
        return
    scores = made_up(options.num_clips, options.num_classes, options.num_groups, options.num_models)
    print(
        f"{options.num_clips:,} clips, {options.num_classes} classes, {options.num_groups:,} groups, "
        f"{options.num_draws:,} draws, plain loop {options.plain_draws}; {machine()}\n"
    )
    draws, plain = options.num_draws, options.plain_draws
    print(f"{'':44}{'CPU s':>12}{'ms per draw':>12}{'added MB':>10}")
    ours = measure("intervals of one model", lambda: intervals_of(scores, draws), draws)
    half = measure("the same, half the draws", lambda: intervals_of(scores, draws // 2), draws // 2)
    loop = measure("plain loop", lambda: plain_intervals(scores, plain), plain)
    short = measure("plain loop without LRAP", lambda: plain_intervals(scores, plain, lrap=False), plain)
    report("intervals: time per draw, plain / ours", loop.s_per_draw / ours.s_per_draw)
    report("intervals: per draw, without LRAP / ours", short.s_per_draw / ours.s_per_draw)
    report("intervals: memory, all draws / half", ours.memory_mb / max(half.memory_mb, 1), "1")
    for metric in ("f1_macro", "mean_average_precision"):
        compared(scores, metric, draws, plain)


def compared(scores: Scores, metric: str, draws: int, plain: int) -> None:
    named = f"{len(scores.models)} models by {metric}"
    ours = measure(named, lambda: compare(*scores, metric=metric, num_draws=draws), draws)
    loop = measure("plain loop", lambda: plain_comparison(scores, metric, plain), plain)
    report(f"{metric}: time per draw, plain / ours", loop.s_per_draw / ours.s_per_draw)


def made_up(num_clips: int, num_classes: int, num_groups: int, num_models: int) -> Scores:
    random = np.random.default_rng(0)
    labels = LabelSpace(tuple(f"class {number}" for number in range(num_classes)), MULTI_LABEL)
    shares = np.geomspace(0.3, 0.02, num_classes)  # common and rare classes
    targets = (random.random((num_clips, num_classes)) < shares).astype(np.float32)
    groups = random.permutation(np.arange(num_clips) % num_groups)
    models = {}
    for number in range(num_models):
        logits = random.normal(size=targets.shape) + (2 + 0.1 * number) * targets - 2
        probabilities = labels.probabilities(logits)
        models[f"model {number}"] = (probabilities, decisions_of(probabilities, labels, np.full(num_classes, 0.4)))
    return Scores(models, targets, labels, groups)


class Measured(NamedTuple):
    """CPU seconds per draw, and peak memory in MB relative to the start."""

    s_per_draw: float
    memory_mb: float


def measure(what: str, way: Callable[[], object], num_draws: int) -> Measured:
    """Prints and returns the time and memory of a variant in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(way, sender))
    process.start()
    sender.close()
    seconds, memory_mb = receiver.recv()
    process.join()
    print(f"{what:44}{seconds:>12.2f}{1000 * seconds / num_draws:>12.2f}{memory_mb:>10.0f}", flush=True)
    return Measured(seconds / num_draws, memory_mb)


def _measured(way: Callable[[], object], sender: object) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak memory
    before_mb, started = _memory_mb("VmRSS"), time.process_time()
    way()
    sender.send((time.process_time() - started, _memory_mb("VmHWM") - before_mb))


def _memory_mb(name: str) -> float:
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def intervals_of(scores: Scores, num_draws: int) -> None:
    probabilities, decisions = next(iter(scores.models.values()))
    intervals(probabilities, decisions, *scores[1:], num_draws=num_draws)


def plain_intervals(scores: Scores, num_draws: int, *, lrap: bool = True) -> None:
    probabilities, decisions = next(iter(scores.models.values()))
    for rows in plain_draws(scores.groups, num_draws):
        true, said, decided = scores.targets[rows], probabilities[rows], decisions[rows]
        sk.accuracy_score(true, decided)
        sk.precision_recall_fscore_support(true, decided, zero_division=0)
        for average in ("micro", "macro", "samples"):
            sk.f1_score(true, decided, average=average, zero_division=0)
        sk.hamming_loss(true, decided)
        sk.average_precision_score(true, said, average=None)
        sk.roc_auc_score(true, said, average=None)
        if lrap:
            sk.label_ranking_average_precision_score(true, said)


def plain_comparison(scores: Scores, metric: str, num_draws: int) -> None:
    for rows in plain_draws(scores.groups, num_draws):
        for probabilities, decisions in scores.models.values():
            if metric == "f1_macro":
                sk.f1_score(scores.targets[rows], decisions[rows], average="macro", zero_division=0)
            else:
                sk.average_precision_score(scores.targets[rows], probabilities[rows])


def plain_draws(groups: np.ndarray, num_draws: int) -> list[np.ndarray]:
    random, num_groups = np.random.default_rng(0), int(groups.max()) + 1
    rows_of = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    return [
        np.concatenate([rows_of[one] for one in random.integers(num_groups, size=num_groups)]) for _ in range(num_draws)
    ]


def show_coverage(num_sets: int) -> None:
    """Prints the share of 95 % intervals with the true value, for groups whose clips are similarly hard."""
    truth = redrawn_of(grouped_scores(np.random.default_rng(0), 20_000), by_clip=False).of_all().metrics
    print(f"Share of 95 % intervals with the true value, in {num_sets} data sets of 10 clips per group\n")
    print(f"{'groups':>8}  {'metric':24}{'over groups':>14}{'plain percentiles':>20}{'over clips':>14}")
    for num_groups in (5, 10, 20, 50):
        held = {metric: np.zeros(3) for metric in COVERED}
        for number in range(num_sets):
            scores = grouped_scores(np.random.default_rng([num_groups, number]), num_groups)
            for metric, one in held.items():
                one += [low <= truth[metric][0] <= high for low, high in three_intervals(scores, metric)]
        for metric, one in held.items():
            groups, plain, clips = one / num_sets
            print(f"{num_groups:>8}  {metric:24}{groups:>14.3f}{plain:>20.3f}{clips:>14.3f}", flush=True)


COVERED = ("accuracy", "f1_macro", "mean_average_precision")


def grouped_scores(random: np.random.Generator, num_groups: int) -> Scores:
    """Scores of a model for 4 classes. Groups differ in difficulty, class frequencies and bias towards classes."""
    groups = np.repeat(np.arange(num_groups), 10)
    labels = LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL)
    own = random.integers(4, size=num_groups)[groups]
    place = np.where(random.random(len(groups)) < 0.4, own, random.integers(4, size=len(groups)))
    targets = np.eye(4, dtype=np.float32)[place]
    heard = (1.5 + random.normal(size=num_groups))[groups, None] * targets
    logits = heard + random.normal(scale=0.7, size=(num_groups, 4))[groups] + random.normal(size=targets.shape)
    probabilities = labels.probabilities(logits)
    return Scores({"model": (probabilities, decide(probabilities, labels))}, targets, labels, groups)


def redrawn_of(scores: Scores, *, by_clip: bool) -> RedrawnMetrics:
    groups = np.arange(len(scores.groups)) if by_clip else scores.groups
    return RedrawnMetrics(*scores.models["model"], scores.targets, scores.labels, groups)


def three_intervals(scores: Scores, metric: str) -> list[tuple[float, float]]:
    """Intervals over groups, over groups with plain percentiles, and over clips."""
    found = []
    for by_clip in (False, True):
        redrawn = redrawn_of(scores, by_clip=by_clip)
        drawn = redrawn.of(next(drawn_counts(redrawn.num_groups, 400, 400, seed=0))).metrics[metric]
        value = redrawn.of_all().metrics[metric][0]
        found += [interval(value, drawn, num_groups, 0.95) for num_groups in (redrawn.num_groups, 10**9)]
    return [(one.low, one.high) for one in found[:3]]


if __name__ == "__main__":
    main()

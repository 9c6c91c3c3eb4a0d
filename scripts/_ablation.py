"""Compares runs with and without tricks, as tables and as a plot; used by ablate.py."""

from __future__ import annotations

import json
import math
import resource
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import cpu_count, sysconf
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio import InputError
from hf_audio.data.tables import csv_text
from hf_audio.figures.figures import BLUE, GREY, new_figure, png, short_name, svg
from hf_audio.files import read_yaml, write_atomically
from hf_audio.markdown import Markdown, code, escaped, table
from hf_audio.metrics import METRIC_NAMES
from hf_audio.repeated_runs import as_words

BASELINE = "baseline"
OF_JSON = {"model_options"}  # flags whose values are mappings
MAX_YAML_BYTES = 1 << 18
BUSY = 0.1  # if other programs use a larger share of the machine's CPU time, speeds are not compared
HEADS = ("trick", "flags", "metric", "runs", "mean", "sd", "difference", "standard error", "clips/s", "busy", "failed")

Flags = dict[str, Any]
Place = tuple[str, str]  # a seed and a fold, which is "" without folds


@dataclass
class Trick:
    """A trick: its name, the flags of its runs, and their results.

    Attributes:
        name: its name.
        flags: the flags of its runs, including those of the baseline.
        own: the flags that differ from the baseline's. A value of None leaves out a flag of the baseline.
        scores: every metric by name, per run.
        speeds: training clips/s per run.
        busy: share of CPU time that other programs used during a run; None if unknown.
        failed: why it has no scores; "" if it has scores.
    """

    name: str
    flags: Flags
    own: Flags = field(default_factory=dict)
    scores: dict[Place, dict[str, float]] = field(default_factory=dict)
    speeds: dict[Place, float] = field(default_factory=dict)
    busy: dict[Place, float | None] = field(default_factory=dict)
    failed: str = ""


def read_tricks(path: Path) -> list[Trick]:
    """Reads tricks from a YAML file; the baseline is the first.

        baseline: {mixup_alpha: 0}             optional: flags of all runs
        focal: {loss: focal, focal_gamma: 2}
        mixup: {mixup_alpha: 0.4}
        both: [focal, mixup]                   the flags of several tricks
        the recipe's own: {mixup_alpha: null}  without this flag of the baseline

    Raises:
        InputError: the file cannot be read, has no tricks, leaves out a flag that the baseline does not have, or
            combines unknown tricks or different values of a flag.
    """
    entries = read_yaml(path, MAX_YAML_BYTES)
    shared = entries.pop(BASELINE, None) or {}
    if not entries:
        raise InputError(f"{path} has no tricks: expected lines such as `focal: {{loss: focal}}`")
    alone = {str(name): entry for name, entry in entries.items() if not isinstance(entry, list)}
    for name, entry in {BASELINE: shared, **alone}.items():
        if not isinstance(entry, dict) or any(
            isinstance(value, dict) and flag not in OF_JSON for flag, value in entry.items()
        ):
            raise InputError(f"{path} has no flags for {name!r}: expected a mapping of their names to values")
        for flag in (flag for flag, value in entry.items() if value is None):
            if name == BASELINE or flag not in shared:
                raise InputError(
                    f"{path}: {name!r} has no value for {flag}: give one; only flags of the baseline can be left out "
                    "by empty values"
                )
    tricks = [Trick(BASELINE, dict(shared))]
    for name, entry in entries.items():
        own = _together(path, str(name), entry, alone) if isinstance(entry, list) else entry
        flags = {flag: value for flag, value in {**shared, **own}.items() if value is not None}
        tricks.append(Trick(str(name), flags, own))
    return tricks


def _together(path: Path, name: str, parts: Sequence[Any], alone: Mapping[str, Flags]) -> Flags:
    """The flags of several tricks."""
    found: Flags = {}
    for part in map(str, parts):
        if part not in alone:
            raise InputError(f"{path}: {name!r} combines {part!r}, which has no flags of its own: define them")
        for flag, value in alone[part].items():
            if found.setdefault(flag, value) != value:
                raise InputError(f"{path}: {name!r} combines two values of {flag}, {found[flag]} and {value}: give one")
    return found


class OtherWork:
    """Measures the share of this machine's CPU time that other programs use while a program started here runs.

    It needs /proc/stat, which only Linux has.
    """

    def __init__(self) -> None:
        self.start = self._now()

    def share(self) -> float | None:
        """The share since construction, from 0 to 1; None if unknown."""
        (elapsed_s, busy_s, own_s), (start_s, busy_before_s, own_before_s) = self._now(), self.start
        if math.isnan(busy_s):
            return None
        others_s = (busy_s - busy_before_s) - (own_s - own_before_s)
        return round(max(0.0, others_s) / ((elapsed_s - start_s) * (cpu_count() or 1)), 3)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds of wall-clock time, of CPU time of the whole machine, and of CPU time of this process and its ended
        children."""
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own_s = sum(one.ru_utime + one.ru_stime for one in spent)
        try:
            numbers = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]))
        except (OSError, ValueError):
            return time.monotonic(), math.nan, own_s
        idle = sum(numbers[3:5])  # idle, or waiting for a disk
        return time.monotonic(), (sum(numbers[:8]) - idle) / sysconf("SC_CLK_TCK"), own_s


@dataclass(frozen=True)
class Line:
    """A trick's result in one metric.

    Attributes:
        mean, sd: mean and standard deviation over runs; the latter is NaN for one run.
        difference, error: mean difference to the baseline's runs with the same seeds and folds, and its standard error.
    """

    mean: float
    sd: float
    difference: float
    error: float


def line_of(trick: Trick, baseline: Trick, metric: str) -> Line:
    """The scores of a trick compared with the baseline's."""
    scores = [one[metric] for one in trick.scores.values()]
    pairs = [one[metric] - baseline.scores[place][metric] for place, one in trick.scores.items()]
    error = _sd(pairs) / math.sqrt(len(pairs))
    return Line(statistics.mean(scores), _sd(scores), statistics.mean(pairs), error)


def speed_of(trick: Trick, baseline: Trick) -> tuple[float, bool | None]:
    """Training clips/s relative to the baseline, and whether the machine was busy; None if that is not known."""
    places = [place for place in trick.speeds if place in baseline.speeds]
    ratios = [trick.speeds[place] / baseline.speeds[place] for place in places]
    shares = [one.busy.get(place) for one in (trick, baseline) for place in places]
    is_busy = None if None in shares else max(shares, default=0.0) > BUSY
    return (statistics.mean(ratios) if ratios else math.nan), is_busy


def _changes(flags: Flags) -> str:
    """The flags as in a command line, and the flags of the baseline that are left out."""
    words = shlex.join(as_words({flag: value for flag, value in flags.items() if value is not None}))
    left_out = [f"--{flag}" for flag, value in flags.items() if value is None]
    return " ".join([*([words] if words else []), *(["without", *left_out] if left_out else [])])


def as_markdown(tricks: Sequence[Trick], metric: str) -> str:
    """A row per trick: mean and standard deviation, difference to the baseline, and speed."""
    baseline, rows = tricks[0], []
    for trick in tricks:
        flags = Markdown(f"`{code(_changes(trick.own if trick is not baseline else trick.flags))}`")
        if trick.failed:
            rows.append([trick.name, flags, 0, Markdown(f"failed: {escaped(trick.failed)}"), "", ""])
            continue
        line, (speed, is_busy) = line_of(trick, baseline, metric), speed_of(trick, baseline)
        told = "" if math.isnan(speed) else f"{speed:.2f}" + {True: " (busy)", None: " (?)", False: ""}[is_busy]
        difference = "" if trick is baseline else f"{line.difference:+.3f}{_plus_minus(line.error)}"
        scored = f"{line.mean:.3f}{_plus_minus(line.sd)}"
        rows.append([trick.name, flags, len(trick.scores), scored, difference, told])
    heads = ["trick", "flags", "runs", METRIC_NAMES[metric], "difference", "clips/s, baseline 1"]
    return "\n".join(
        [
            table(heads, rows),
            "",
            "± is the standard deviation over runs; for differences, the standard error, paired by seed and fold. "
            f"(busy): other programs used more than {BUSY:.0%} of the machine's CPU time in one of the runs, so speeds "
            "cannot be compared; (?): this is unknown.",
        ]
    )


def _plus_minus(value: float) -> str:
    return "" if math.isnan(value) else f" ± {value:.3f}"


def as_csv(tricks: Sequence[Trick], metrics: Sequence[str]) -> str:
    """A row per trick and metric."""
    rows: list[Sequence[object]] = [HEADS]
    for trick in tricks:
        flags = shlex.join(as_words(trick.flags))
        if trick.failed:
            rows.append([trick.name, flags, "", 0, "", "", "", "", "", "", trick.failed])
            continue
        speed, is_busy = speed_of(trick, tricks[0])
        for metric in metrics:
            line = line_of(trick, tricks[0], metric)
            numbers = [_cell(value) for value in (line.mean, line.sd, line.difference, line.error, speed)]
            busy = "" if is_busy is None else str(is_busy).lower()
            rows.append([trick.name, flags, metric, len(trick.scores), *numbers, busy, ""])
    return csv_text(rows)


def as_csv_of_runs(tricks: Sequence[Trick], metrics: Sequence[str]) -> str:
    """A row per run."""
    rows: list[Sequence[object]] = [["trick", "seed", "fold", *metrics, "clips/s", "others' CPU time"]]
    for trick in tricks:
        for place, scores in trick.scores.items():
            found = [_cell(scores[metric]) for metric in metrics]
            busy = trick.busy.get(place)
            rows.append([trick.name, *place, *found, _cell(trick.speeds.get(place)), "" if busy is None else busy])
    return csv_text(rows)


def _cell(value: float | None) -> object:
    return "" if value is None or math.isnan(value) else round(value, 6)


def plot_of(tricks: Sequence[Trick], metric: str):
    """A bar per trick: the difference to the baseline, with its standard error if there is one."""
    lines = {one.name: line_of(one, tricks[0], metric) for one in tricks[1:] if not one.failed}
    rows, values = np.arange(len(lines)), [line.difference for line in lines.values()]
    figure, axes = new_figure(6.4, 1.4 + 0.3 * len(lines))
    errors = [0.0 if math.isnan(line.error) else line.error for line in lines.values()]
    colors = [BLUE if abs(value) > error else GREY for value, error in zip(values, errors, strict=True)]
    whiskers = {"xerr": errors, "ecolor": "#333333", "capsize": 3} if any(errors) else {}
    axes.barh(rows, values, height=0.66, color=colors, **whiskers)
    axes.axvline(0, color="#333333", lw=1)
    mean = line_of(tricks[0], tricks[0], metric).mean
    axes.set_yticks(rows, [short_name(name) for name in lines], fontsize=8)
    axes.set(ylim=(len(lines) - 0.4, -0.6), xlabel=f"{METRIC_NAMES[metric]}, difference to the baseline ({mean:.3f})")
    axes.grid(axis="y", visible=False)
    return figure


def write_all(folder: Path, tricks: Sequence[Trick], metric: str, metrics: Sequence[str]) -> str:
    """Writes ablation.md, .csv, .svg and .png and runs.csv; returns the content of the first."""
    written = as_markdown(tricks, metric)
    write_atomically(folder / "ablation.md", written + "\n")
    write_atomically(folder / "ablation.csv", as_csv(tricks, metrics))
    write_atomically(folder / "runs.csv", as_csv_of_runs(tricks, metrics))
    if any(not trick.failed for trick in tricks[1:]):
        figure = plot_of(tricks, metric)
        write_atomically(folder / "ablation.svg", svg(figure))
        write_atomically(folder / "ablation.png", png(figure))
    return written


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def read_machine(path: Path) -> float | None:
    """The stored CPU share of other programs during an earlier run; None if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["others"]
    except (OSError, ValueError, KeyError):
        return None

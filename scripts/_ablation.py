"""Of runs with and without tricks: what each trick changes, as tables and as a plot. Serves ablate.py."""

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
OF_JSON = {"model_options"}  # flags whose value is a mapping
MAX_YAML_BYTES = 1 << 18
BUSY = 0.1  # share of the machine's CPU time that others take, from which on speeds are not compared
HEADS = ("trick", "flags", "metric", "runs", "mean", "sd", "difference", "standard error", "clips/s", "busy", "failed")

Flags = dict[str, Any]
Place = tuple[str, str]  # a seed and a fold, "" where there are none


@dataclass
class Trick:
    """What is tried: a name, the flags of its runs, and what they gave.

    Attributes:
        name, flags: those of the baseline among them.
        own: the flags that differ from the baseline's.
        scores: of each run, by its place, every metric by its name.
        speeds: training clips/s of each run.
        busy: the share of CPU time that other programs took meanwhile; None where it is not known.
        failed: why it has no scores; "" where it has.
    """

    name: str
    flags: Flags
    own: Flags = field(default_factory=dict)
    scores: dict[Place, dict[str, float]] = field(default_factory=dict)
    speeds: dict[Place, float] = field(default_factory=dict)
    busy: dict[Place, float | None] = field(default_factory=dict)
    failed: str = ""


def read_tricks(path: Path) -> list[Trick]:
    """The tricks of a YAML file, the baseline first.

        baseline: {mixup_alpha: 0}             optional: flags of all runs
        focal: {loss: focal, focal_gamma: 2}
        mixup: {mixup_alpha: 0.4}
        both: [focal, mixup]                   the flags of several

    Raises:
        InputError: it cannot be read, has no trick, names one that is not there, or two that set a flag differently.
    """
    entries = read_yaml(path, MAX_YAML_BYTES)
    shared = entries.pop(BASELINE, None) or {}
    if not entries:
        raise InputError(f"{path} has no trick: expected lines such as `focal: {{loss: focal}}`")
    alone = {str(name): entry for name, entry in entries.items() if not isinstance(entry, list)}
    for name, entry in {BASELINE: shared, **alone}.items():
        if not isinstance(entry, dict) or any(
            value is None or (isinstance(value, dict) and flag not in OF_JSON) for flag, value in entry.items()
        ):
            raise InputError(f"{path} has for {name!r} no flags: expected a mapping of their names to values")
    tricks = [Trick(BASELINE, dict(shared))]
    for name, entry in entries.items():
        own = _together(path, str(name), entry, alone) if isinstance(entry, list) else entry
        tricks.append(Trick(str(name), {**shared, **own}, own))
    return tricks


def _together(path: Path, name: str, parts: Sequence[Any], alone: Mapping[str, Flags]) -> Flags:
    """The flags of several tricks."""
    found: Flags = {}
    for part in map(str, parts):
        if part not in alone:
            raise InputError(f"{path}: {name!r} puts together {part!r}, which has no flags of its own there")
        for flag, value in alone[part].items():
            if found.setdefault(flag, value) != value:
                raise InputError(f"{path}: {name!r} puts together two values of {flag}, {found[flag]} and {value}")
    return found


class OtherWork:
    """How much of this machine's CPU time other programs take while a program that is started here runs.

    Only Linux says so, in /proc/stat.
    """

    def __init__(self) -> None:
        self.start = self._now()

    def share(self) -> float | None:
        """Since it was made, between 0 and 1; None where it is not known."""
        (elapsed_s, busy_s, own_s), (start_s, busy_before_s, own_before_s) = self._now(), self.start
        if math.isnan(busy_s):
            return None
        others_s = (busy_s - busy_before_s) - (own_s - own_before_s)
        return round(max(0.0, others_s) / ((elapsed_s - start_s) * (cpu_count() or 1)), 3)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds: by the clock, of CPU time on the whole machine, and of it by what was started here and has ended."""
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own_s = sum(one.ru_utime + one.ru_stime for one in spent)
        try:
            numbers = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]))
        except (OSError, ValueError):
            return time.monotonic(), math.nan, own_s
        idle = sum(numbers[3:5])  # idle and waiting for a disk
        return time.monotonic(), (sum(numbers[:8]) - idle) / sysconf("SC_CLK_TCK"), own_s


@dataclass(frozen=True)
class Line:
    """What a trick gives in one metric.

    Attributes:
        mean, sd: over runs; the standard deviation is NaN of one run.
        difference, error: to the baseline's runs of the same seeds and folds, and its paired standard error.
    """

    mean: float
    sd: float
    difference: float
    error: float


def line_of(trick: Trick, baseline: Trick, metric: str) -> Line:
    """The scores of a trick beside the baseline's."""
    scores = [one[metric] for one in trick.scores.values()]
    pairs = [one[metric] - baseline.scores[place][metric] for place, one in trick.scores.items()]
    error = _sd(pairs) / math.sqrt(len(pairs))
    return Line(statistics.mean(scores), _sd(scores), statistics.mean(pairs), error)


def speed_of(trick: Trick, baseline: Trick) -> tuple[float, bool | None]:
    """Training clips/s beside the baseline's, and whether the machine was busy; None where that is not known."""
    places = [place for place in trick.speeds if place in baseline.speeds]
    ratios = [trick.speeds[place] / baseline.speeds[place] for place in places]
    shares = [one.busy.get(place) for one in (trick, baseline) for place in places]
    is_busy = None if None in shares else max(shares, default=0.0) > BUSY
    return (statistics.mean(ratios) if ratios else math.nan), is_busy


def as_markdown(tricks: Sequence[Trick], metric: str) -> str:
    """A row for each trick: mean and standard deviation, the difference to the baseline, and its speed."""
    baseline, rows = tricks[0], []
    for trick in tricks:
        flags = Markdown(f"`{code(shlex.join(as_words(trick.own if trick is not baseline else trick.flags)))}`")
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
            "± is the standard deviation over runs; of a difference the standard error, paired by seed and fold. "
            f"(busy): other programs took more than {BUSY:.0%} of the machine's CPU time in one of the runs, so speeds "
            "are not to be compared; (?): that is not known.",
        ]
    )


def _plus_minus(value: float) -> str:
    return "" if math.isnan(value) else f" ± {value:.3f}"


def as_csv(tricks: Sequence[Trick], metrics: Sequence[str]) -> str:
    """A row for each trick and metric."""
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
    """A row for each run."""
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
    """A bar for each trick: the difference to the baseline, and its standard error where there is one."""
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
    """Writes ablation.md, .csv, .svg and .png and runs.csv; what is in the first."""
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
    """What was written of other work beside an earlier run; None where nothing was."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["others"]
    except (OSError, ValueError, KeyError):
        return None

"""Leakage between the splits of a feature dataset: the same sound in two of them, and by how much accuracy is inflated.

Groups keep a song's clips together as far as they are known. Where they are not, the same recording under two names, or
a corpus that was cut into pieces before it came here, makes every score too good: `leak_report` finds that in features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.data.tables import csv_text
from hf_audio.errors import InputError
from hf_audio.figures.page import Row, Table
from hf_audio.files import write_atomically
from hf_audio.leakage.inflated_accuracy import InflatedAccuracy, train_both_ways
from hf_audio.leakage.page import leak_page
from hf_audio.leakage.search import Leak, find_leaks

COLUMNS = (
    *("split_a", "clip_a", "start_a_s", "split_b", "clip_b", "start_b_s", "similarity", "shift_s"),
    *("same_group", "same_labels"),
)


@dataclass(frozen=True)
class LeakReport:
    """What `leak_report` found.

    Attributes:
        source: the dataset.
        leaks: pairs of windows, most similar first.
        threshold: similarity from which on a pair counts as the same sound, learnt from this dataset.
        num_windows: of each split.
        num_compared: candidate pairs whose similarity was computed.
        num_known, known_found: pairs of windows of one clip that overlap by half or more, and the share of them that
            is above the threshold (None without any).
        num_others: pairs of clips without a common label that the threshold was learnt from; "random" ones where those
            were too few.
        inflated: what the leak is worth to quick models, if that was asked for.
    """

    source: str
    leaks: list[Leak]
    threshold: float
    num_windows: dict[str, int]
    num_compared: int
    num_known: int
    known_found: float | None
    num_others: int
    inflated: InflatedAccuracy | None = None

    def clip_pairs(self) -> list[Leak]:
        """The most similar windows of each two clips that share sound, most similar first."""
        best: dict[tuple[str, str], Leak] = {}
        for leak in self.leaks:
            best.setdefault((leak.clip_a, leak.clip_b), leak)
        return list(best.values())

    def counts(self) -> list[dict]:
        """For each two splits: pairs of windows and of clips, and how many windows of each have a double there."""
        rows = []
        for a, b in itertools.combinations(self.num_windows, 2):
            found = [leak for leak in self.leaks if (leak.split_a, leak.split_b) == (a, b)]
            windows = [len({leak.rows[side] for leak in found}) for side in (0, 1)]
            clips = len({(leak.clip_a, leak.clip_b) for leak in found})
            rows.append({"splits": (a, b), "pairs": len(found), "clips": clips, "windows": tuple(windows)})
        return rows

    @property
    def title(self) -> str:
        """Of the report."""
        return f"Leaks between the splits of {self.source}"

    def as_markdown(self, most: int = 20) -> str:
        """The whole report as text, with the worst pairs of clips."""
        parts = (part.as_markdown() if isinstance(part, Table) else part for part in self.contents(most))
        return "\n\n".join([f"# {self.title}", *parts])

    def contents(self, most: int) -> list[str | Table]:
        """Paragraphs and tables: how it was judged, counts, the worst pairs of clips, inflated accuracy."""
        pairs = self.clip_pairs()
        parts: list[str | Table] = [self.judged_by(), self._counts_table()]
        if pairs:
            parts += [
                "Look at them: sounds of one class are more alike than those that the threshold was learnt from.",
                _pairs_table(pairs[:most]),
            ]
        if len(pairs) > most:
            parts.append(f"{len(pairs) - most} more pairs of clips, see leaks.csv.")
        return parts + (self.inflated.contents() if self.inflated else [])

    def _counts_table(self) -> Table:
        rows = []
        for row in self.counts():
            doubles = [
                f"{found} ({found / max(self.num_windows[split], 1):.1%}) of {split}"
                for split, found in zip(row["splits"], row["windows"], strict=True)
            ]
            rows.append(Row([", ".join(row["splits"]), str(row["pairs"]), str(row["clips"]), ", ".join(doubles)]))
        return Table(("splits", "pairs of windows", "pairs of clips", "windows with a double in the other"), rows)

    def judged_by(self) -> str:
        """How the threshold came about, in two sentences."""
        said = (
            f"A pair of windows is the same sound from a similarity of {self.threshold:.3f} on: of {self.num_compared} "
            "pairs compared, less than one of different sounds is expected there, "
            f"judged by {self.num_others} pairs that are different."
        )
        if self.known_found is None:
            return f"{said} Too few windows of one clip overlap here to say how many real ones it finds."
        known = f"{self.num_known} pairs of windows of one clip that overlap"
        return f"{said} Of {known}, {self.known_found:.1%} are above it."


def _pairs_table(pairs: Sequence[Leak]) -> Table:
    rows = []
    for leak in pairs:
        a, b = f"{leak.split_a}: {leak.clip_a}", f"{leak.split_b}: {leak.clip_b}"
        same = ["yes" if value else "no" for value in (leak.same_group, leak.same_labels)]
        starts = f"{leak.start_a_s:.2f} s", f"{leak.start_b_s:.2f} s"
        rows.append(Row([f"{leak.similarity:.3f}", a, starts[0], b, starts[1], *same]))
    return Table(("similarity", "a", "at", "b", "at", "same group", "same labels"), rows)


def leak_report(
    features: FeatureDataset | str | Path,
    output_dir: str | Path | None = None,
    *,
    both_ways: bool = False,
    num_seeds: int = 3,
    seed: int = 0,
) -> LeakReport:
    """Finds windows of different splits that hold the same sound, whatever their groups say.

    Memory stays flat: rows are read once, and their sketches (see `hf_audio.copies`) lie in a temporary file.

    Args:
        features: a dataset of any kind, its folder or its name on the Hub. Windows of classical features are compared
            as vectors, which finds copies but not windows that merely overlap.
        output_dir: where leaks.csv and report.html, with plots of the worst pairs, are written.
        both_ways: also train quick models on the split as it is and on leaky ones, see `train_both_ways`.
        num_seeds: how many leaky splits are drawn for that.
        seed: of the hyperplanes and of what is drawn.

    Raises:
        InputError: fewer than two splits, or the dataset cannot be loaded.
    """
    features = load_features(features) if isinstance(features, str | Path) else features
    if len(features.splits) < 2:
        raise InputError(
            f"{features.source} has the split {', '.join(features.splits)} only; a leak needs two to be between"
        )
    found = find_leaks(features, seed)
    if both_ways:
        found["inflated"] = train_both_ways(features, num_seeds=num_seeds, seed=seed)
    report = LeakReport(features.source, **found)
    if output_dir is not None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        rows = ([getattr(leak, column) for column in COLUMNS] for leak in report.leaks)
        write_atomically(folder / "leaks.csv", csv_text([COLUMNS, *rows]))
        write_atomically(
            folder / "report.html", leak_page(report.title, report.contents(100), report.clip_pairs(), features)
        )
    return report

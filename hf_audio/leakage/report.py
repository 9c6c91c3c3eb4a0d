"""Leakage between the splits of a feature dataset: the same sound in two splits, and how much it inflates accuracy.

Known groups keep the clips of a song in one split. Without them, a recording that occurs under two names, or clips cut
from the same longer recording, inflate all scores. `leak_report` finds such leaks in the features.
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
    """The result of `leak_report`.

    Attributes:
        source: the dataset.
        leaks: pairs of windows, most similar first.
        threshold: the similarity from which a pair counts as the same sound, estimated from this dataset.
        num_windows: number of windows by split.
        num_compared: candidate pairs whose similarity was computed.
        num_known, known_found: pairs of windows of one clip that overlap by at least half, and the share of them above
            the threshold (None if there are too few).
        num_others: pairs of clips without a common label that the threshold was estimated from; random pairs if those
            were too few.
        inflated: how much leakage inflates the accuracy of quick models, if requested.
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
        """The most similar windows of each pair of clips that share sound, most similar first."""
        best: dict[tuple[str, str], Leak] = {}
        for leak in self.leaks:
            best.setdefault((leak.clip_a, leak.clip_b), leak)
        return list(best.values())

    def counts(self) -> list[dict]:
        """For each pair of splits: pairs of windows and of clips, and how many windows of each split have a match."""
        rows = []
        for a, b in itertools.combinations(self.num_windows, 2):
            found = [leak for leak in self.leaks if (leak.split_a, leak.split_b) == (a, b)]
            windows = [len({leak.rows[side] for leak in found}) for side in (0, 1)]
            clips = len({(leak.clip_a, leak.clip_b) for leak in found})
            rows.append({"splits": (a, b), "pairs": len(found), "clips": clips, "windows": tuple(windows)})
        return rows

    @property
    def title(self) -> str:
        """The title of the report."""
        return f"Leaks between the splits of {self.source}"

    def as_markdown(self, max_pairs: int = 20) -> str:
        """The report as Markdown, with the most similar pairs of clips."""
        parts = (part.as_markdown() if isinstance(part, Table) else part for part in self.contents(max_pairs))
        return "\n\n".join([f"# {self.title}", *parts])

    def contents(self, max_pairs: int) -> list[str | Table]:
        """Paragraphs and tables: the threshold, counts, the most similar pairs of clips, inflated accuracy."""
        pairs = self.clip_pairs()
        parts: list[str | Table] = [self.about_threshold(), self._counts_table()]
        if pairs:
            parts += [
                "Look at these pairs and listen to them: different sounds of one class are more similar than the pairs "
                "that the threshold was estimated from.",
                _pairs_table(pairs[:max_pairs]),
            ]
        if len(pairs) > max_pairs:
            parts.append(f"{len(pairs) - max_pairs} more pairs of clips are in leaks.csv.")
        return parts + (self.inflated.contents() if self.inflated else [])

    def _counts_table(self) -> Table:
        rows = []
        for row in self.counts():
            doubles = [
                f"{found} ({found / max(self.num_windows[split], 1):.1%}) of {split}"
                for split, found in zip(row["splits"], row["windows"], strict=True)
            ]
            rows.append(Row([", ".join(row["splits"]), str(row["pairs"]), str(row["clips"]), ", ".join(doubles)]))
        return Table(("splits", "pairs of windows", "pairs of clips", "windows with a match in the other split"), rows)

    def about_threshold(self) -> str:
        """How the threshold was estimated, in two sentences."""
        text = (
            f"Two windows count as the same sound if their similarity is {self.threshold:.3f} or more. Of "
            f"{self.num_compared} pairs compared, fewer than one pair of different sounds is expected above this "
            f"threshold, which was estimated from {self.num_others} pairs known to differ."
        )
        if self.known_found is None:
            return f"{text} Too few windows of the same clip overlap to estimate how many real matches it finds."
        known = f"{self.num_known} pairs of overlapping windows of the same clip"
        return f"{text} Of {known}, {self.known_found:.1%} are above it."


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
    """Finds windows of different splits that contain the same sound, regardless of their groups.

    Memory use is constant: rows are read once, and their sketches (see `hf_audio.copies`) are in a temporary file.

    Args:
        features: a dataset of any kind, its folder or its name on the Hub. Windows of classical features are compared
            as vectors, which finds copies but not windows that only overlap.
        output_dir: the folder for leaks.csv and report.html, which has plots of the most similar pairs.
        both_ways: also train quick models on the actual split and on leaky ones, see `train_both_ways`.
        num_seeds: the number of leaky splits for that.
        seed: for the hyperplanes and the leaky splits.

    Raises:
        InputError: fewer than two splits, or the dataset cannot be loaded.
    """
    features = load_features(features) if isinstance(features, str | Path) else features
    if len(features.splits) < 2:
        raise InputError(
            f"{features.source} has only the split {', '.join(features.splits)}; a leak report needs at least two"
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

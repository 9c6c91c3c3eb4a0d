"""The report.json of a run: a dict that is shown as tables in a terminal or notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.errors import InputError
from hf_audio.files import read_json
from hf_audio.html_parts import html_lines, html_table
from hf_audio.metrics import METRIC_NAMES, main_metrics

if TYPE_CHECKING:
    import pandas

ROW_TITLES = {
    "model": "this model",
    "linear": "linear baseline (mean and standard deviation)",
    "prior": "class-prior baseline",
}
OF_CLASSES = ("precision", "recall", "f1", "average_precision")


class Report(dict[str, Any]):
    """The content of report.json, shown in a terminal or notebook as the scores of the model and both baselines.

    `report["results"]["model"]["test"]` has all scores of the model on test, `report["settings"]` the settings of the
    run.
    """

    @property
    def split(self) -> str:
        """The evaluated split."""
        return self["evaluated_split"]

    def to_pandas(self) -> pandas.DataFrame:
        """The main scores, with a row for the model and each baseline."""
        import pandas

        rows = {title: self._scores(name) for name, title in ROW_TITLES.items()}
        return pandas.DataFrame(list(rows.values()), list(rows), [METRIC_NAMES[name] for name in self._metrics])

    def per_class(self) -> pandas.DataFrame:
        """Scores of the model, with a row per class and its number of clips."""
        import pandas

        found = self["results"]["model"][self.split]["per_class"]
        rows = {name: [its["support"], *(its.get(key) for key in OF_CLASSES)] for name, its in found.items()}
        return pandas.DataFrame(list(rows.values()), list(rows), ["clips", *OF_CLASSES])

    @property
    def _metrics(self) -> tuple[str, ...]:
        return tuple(main_metrics(self["task"]["problem_type"]))

    def _scores(self, name: str) -> list[float | None]:
        return [self["results"][name][self.split][metric] for metric in self._metrics]

    def _rows(self) -> Iterator[tuple[str, list[float | None]]]:
        return ((title, self._scores(name)) for name, title in ROW_TITLES.items())

    def _title(self) -> str:
        counts = self["data"]["splits"][self.split]
        groups = "1 group" if counts["num_groups"] == 1 else f"{counts['num_groups']:,} groups"
        return f"{self.split} split: {counts['num_clips']:,} clips of {groups}"

    def __str__(self) -> str:
        if not self:  # in processes other than the first
            return "{}"
        width = max(len(title) for title in ROW_TITLES.values())
        lines = [
            f"{self._title()}, windows averaged per clip",
            " " * width + "".join(f"{METRIC_NAMES[name]:>10}" for name in self._metrics),
            *(f"{title:<{width}}" + "".join(f"{_number(one):>10}" for one in scores) for title, scores in self._rows()),
        ]
        return "\n".join([*lines, *(f"- {note}" for note in self["notes"])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = html_table(["", *(METRIC_NAMES[name] for name in self._metrics)], ([a, *b] for a, b in self._rows()))
        return html_lines(self._title(), table, *self["notes"])


def read_report(run_folder: str | Path) -> Report:
    """The report of a finished run.

    Raises:
        InputError: a folder without a report.
    """
    path = Path(run_folder) / "report.json"
    report = read_json(path)
    if "evaluated_split" not in report:
        raise InputError(f"{path} is not the report of a run: give the output folder of a recipe")
    return Report(report)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

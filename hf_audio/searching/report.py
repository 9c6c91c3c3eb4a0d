"""Writes the results of a search: trials.csv, best.yaml, and an HTML page with its figures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from hf_audio.figures.figures import png
from hf_audio.figures.page import Row, Table, page
from hf_audio.files import write_atomically
from hf_audio.searching import plots
from hf_audio.searching.final import as_table
from hf_audio.searching.objectives import title_of
from hf_audio.searching.plan import Plan
from hf_audio.searching.results import trials_csv, write_best
from hf_audio.searching.search import METRIC
from hf_audio.searching.study import Study
from hf_audio.searching.trials import REASON, REPEATS, Trial, best_of

FIGURES = "figures"
TESTED_BY_NONE = "The test split was not used: the best settings were not trained again and tested."
LEVELS = {"failed": "error", "pruned": "note"}


def write_results(
    plan: Plan, study: Study, reports: Mapping[str, dict[str, Any]] | None = None, *, figures: bool = True
) -> None:
    """Writes trials.csv and best.yaml; with `figures` also figures/ and report.html.

    Args:
        plan: the search.
        study: its trials.
        reports: reports of the best settings on the test split, by fold; None if they were not trained again.
        figures: whether to draw figures.
    """
    trials = study.trials()
    best = best_of(trials, study.maximized)
    write_atomically(plan.folder / "trials.csv", trials_csv(trials, plan))
    if best:
        write_best(plan.folder / "best.yaml", plan, best[0], sum(one.is_tried for one in trials))
    if not figures:
        return
    (plan.folder / FIGURES).mkdir(exist_ok=True)
    parts: list[Any] = [Markup("<p>{}</p>").format(line) for line in _told(plan, trials, best, is_tested=bool(reports))]
    if reports:
        parts.append(as_table(dict(reports)))
    for name, (caption, figure) in _figures(plan, study, trials):
        content = png(figure)
        write_atomically(plan.folder / FIGURES / f"{name}.png", content)
        parts.append(_inline(content, caption))
    parts.append(_table(plan, trials))
    write_atomically(plan.folder / "report.html", page(f"Search of {plan.folder.name}", *parts))


def _told(plan: Plan, trials: list[Trial], best: list[Trial], *, is_tested: bool) -> Iterator[str]:
    """Sentences that summarize the search and its result."""
    states = {state: sum(one.state == state and one.is_tried for one in trials) for state in ("pruned", "failed")}
    num_tried = sum(one.is_tried for one in trials)
    yield (
        f"{num_tried:,} trials ({states['pruned']:,} pruned, {states['failed']:,} failed), compared on the validation "
        "split. "
        + ("The test split was used once, with the best settings: see best/." if is_tested else TESTED_BY_NONE)
    )
    if best:
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(plan.objectives, best[0].values, strict=True))
        settings = ", ".join(f"{name} {value}" for name, value in best[0].params.items())
        yield f"Trial {best[0].number} is the best{' in score' if len(best) > 1 else ''} ({values}): {settings}."
    if len(best) > 1:
        yield f"Pareto-optimal trials: {', '.join(str(one.number) for one in best)}."


def _figures(plan: Plan, study: Study, trials: list[Trial]) -> Iterator[tuple[str, tuple[str, Figure]]]:
    """The figures by their file names, each with its caption."""
    if not any(one.state == "complete" for one in trials):
        return
    titles = [title_of(name, study.facts.get(METRIC)) for name in plan.objectives]
    space, title, more = plan.space, titles[0], study.maximized[0]
    if len(titles) > 1:
        front = plots.pareto_front(trials, titles, study.maximized)
        yield "pareto_front", ("Pareto front; trials are marked by their numbers", front)
    yield "history", ("Score of each trial, and the best so far", plots.history(trials, title, more))
    found = study.importances()
    if found:
        yield "importances", ("Importance of each setting", plots.importances(found, title))
    yield "slices", ("Scores by the value of each setting", plots.slices(trials, space, title))
    lines = plots.parallel_coordinates(trials, space, title, more)
    yield "parallel_coordinates", ("Parallel coordinates: one line per trial", lines)
    against = plots.contour(trials, space, list(found), title)
    if against:
        yield "contour", ("The two most important settings", against)
    yield "durations", ("Duration of each trial", plots.durations(trials))


def _inline(content: bytes, caption: str) -> Markup:
    """A figure embedded in the page, in its original size."""
    element = '<img alt="{0}" style="max-width: 100%; image-rendering: auto" src="data:image/png;base64,{1}"><br>{0}'
    return Markup(element).format(caption, b64encode(content).decode())


def _table(plan: Plan, trials: list[Trial]) -> Table:
    names = [one.name for one in plan.space.all_dimensions]
    rows = []
    for one in trials:
        if REPEATS in one.facts:
            continue
        values = [f"{value:.4g}" for value in one.values] or [""] * len(plan.objectives)
        drawn = [_text(one.params.get(name)) for name in names]
        seconds = "" if one.duration_s is None else f"{one.duration_s:.0f}"
        cells = [str(one.number), one.state, *values, *drawn, seconds, one.facts.get(REASON, "")]
        rows.append(Row(cells, (one.state,), LEVELS.get(one.state, "")))
    return Table(["trial", "state", *plan.objectives, *names, "seconds", "reason"], rows, tagged=True)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

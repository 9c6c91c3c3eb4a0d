"""The comparison of several models on a page: which differences are significant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hf_audio.figures.page import Cell, Heading, Row, Table
from hf_audio.judging import plots
from hf_audio.judging.page_cells import interval_cell, plot_part
from hf_audio.metrics import METRIC_NAMES


def comparison_parts(found: Mapping[str, Any] | None) -> Iterator[Any]:
    """The parts of a page about the results of `compare`; empty for one model."""
    if not found:
        return
    yield Heading("Comparison of the models", 3)
    yield from _verdicts(found)
    rows = [
        Row(
            [
                one["first"],
                one["second"],
                interval_cell(one["difference"]),
                p_cell(one["p_holm"]),
                p_cell(one["mcnemar"]["p_groups_holm"]),
                one["better"] or "not significant",
            ]
        )
        for one in found["pairs"]
    ]
    difference = f"difference in {METRIC_NAMES[found['metric']]}"
    yield Table(["first", "second", difference, "p", "p (McNemar)", "better"], rows)
    yield (
        "p is the probability of a difference at least this large by chance alone, estimated by resampling the "
        f"{found['by']}s for both models together. McNemar's test uses only the clips that exactly one of the two "
        "models got entirely right. Both p values are corrected for the number of pairs (Holm)."
    )
    ranks = found["ranks"]
    if ranks and ranks["mean_ranks"]:
        caption = (
            f"Mean rank over {ranks['num_groups']:,} {found['by']}s; 1 is best. Models connected by a bar differ by "
            f"less than the critical difference of {ranks['critical_difference']:.2f} (Nemenyi)."
        )
        yield plot_part(plots.plot_ranks(ranks), caption)


def _verdicts(found: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per pair on which model is better; none for more than 3 pairs, which only the table shows."""
    if len(found["pairs"]) > 3:
        return
    for one in found["pairs"]:
        if one["better"]:
            other = one["second"] if one["better"] == one["first"] else one["first"]
            yield f"{one['better']} is significantly better than {other}."
        else:
            yield f"The difference between {one['first']} and {one['second']} is not significant."


def p_cell(p: float | None) -> Cell:
    """A p value."""
    if p is None:
        return Cell("–", None)
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)

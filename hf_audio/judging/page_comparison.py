"""What a page says of several models: which differ by more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hf_audio.figures.page import Cell, Heading, Row, Table
from hf_audio.judging import plots
from hf_audio.judging.page_cells import interval_cell, plot_part
from hf_audio.metrics import METRIC_NAMES


def comparison_parts(found: Mapping[str, Any] | None) -> Iterator[Any]:
    """The parts of a page about what `compare` found; none of one model."""
    if not found:
        return
    yield Heading("Which model is better", 3)
    yield from _verdicts(found)
    rows = [
        Row(
            [
                one["first"],
                one["second"],
                interval_cell(one["difference"]),
                p_cell(one["p_holm"]),
                p_cell(one["mcnemar"]["p_groups_holm"]),
                one["better"] or "not known",
            ]
        )
        for one in found["pairs"]
    ]
    difference = f"difference in {METRIC_NAMES[found['metric']]}"
    yield Table(["first", "second", difference, "p", "p (McNemar)", "better"], rows)
    yield (
        "p is how often a difference as large would come of chance alone, from drawing the "
        f"{found['by']}s anew for both models; McNemar's test looks only at the clips that one of the two got all "
        "right. Both are corrected for the number of pairs (Holm)."
    )
    ranks = found["ranks"]
    if ranks and ranks["mean_ranks"]:
        caption = (
            f"Mean rank over {ranks['num_groups']:,} {found['by']}s, 1 is best. Models that a bar joins do not differ "
            f"by the critical difference of {ranks['critical_difference']:.2f} (Nemenyi)."
        )
        yield plot_part(plots.plot_ranks(ranks), caption)


def _verdicts(found: Mapping[str, Any]) -> Iterator[str]:
    """In a sentence for each pair of few models, who is better; of many the table says it."""
    if len(found["pairs"]) > 3:
        return
    for one in found["pairs"]:
        if one["better"]:
            other = one["second"] if one["better"] == one["first"] else one["first"]
            yield f"{one['better']} is better than {other}, by more than chance explains."
        else:
            yield f"Which of {one['first']} and {one['second']} is better is not known: chance explains the difference."


def p_cell(p: float | None) -> Cell:
    """A probability under chance alone."""
    if p is None:
        return Cell("–", None)
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)

"""The sections of a page about one model: a table or plot for each part of its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from hf_audio.figures.page import Cell, Details, Heading, Plot, Row, Table
from hf_audio.judging import plots
from hf_audio.judging.conditions import condition_name, notes_of
from hf_audio.judging.page_cells import interval_cell, number_cell, plot_part
from hf_audio.judging.playing import Sounds
from hf_audio.metrics import METRIC_NAMES

MAX_ROWS = 100  # slices in the table, the worst first
OF_CLASSES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
}
UNKNOWN_SCORES = {
    "max_probability": "largest probability",
    "max_logit": "largest logit",
    "energy": "energy",
    "entropy": "entropy",
}


def model_parts(report: Mapping[str, Any], name: str, sounds: Sounds) -> Iterator[Any]:
    """The parts of a page about one model of a report."""
    facts, metric = report["models"][name], report["metric"]
    several = report["data"]["problem_type"] == "multi_label_classification"
    yield from _classes(facts)
    yield from _confusion(facts, several, sounds)
    yield from _curves(facts)
    yield from _sureness(facts, several)
    yield from _slices(facts, metric, sounds)
    yield from _lengths(facts, metric)
    yield from _robustness(facts, metric)
    yield from _out_of_class(facts)
    yield Heading("Scores per clip", 3)
    caption = "Distribution of the scores of individual clips; the line is the mean."
    yield from _plot(plots.plot_per_clip(facts["per_clip"]), caption)


def _plot(figure: Figure | None, caption: str) -> Iterator[Plot]:
    if figure is not None:
        yield plot_part(figure, caption)


def _classes(facts: Mapping[str, Any]) -> Iterator[Any]:
    thresholds = facts["thresholds"]
    heads = ["class", "clips", *OF_CLASSES.values(), *(["threshold"] if thresholds else [])]
    rows = []
    for name, one in facts["per_class"].items():
        cells = [name, Cell(f"{one['support']:,}", one["support"]), *(interval_cell(one[key]) for key in OF_CLASSES)]
        rows.append(Row([*cells, number_cell(thresholds[name])] if thresholds else cells))
    if facts.get("weights"):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in facts["weights"].items())
        yield f"An ensemble: the weighted mean of the scores of several models ({shares})."
    yield "Click a column heading to sort the table."
    yield Table(heads, rows)
    yield from _plot(plots.plot_classes(facts["per_class"]), "F1 per class with its interval.")
    yield f"Decisions: {facts['thresholds_from']}."


def _confusion(facts: Mapping[str, Any], several: bool, sounds: Sounds) -> Iterator[Any]:
    yield Heading("Confusions", 3)
    caption = (
        "Confusion matrix: of the clips of each true class (rows), the percentage predicted as each class (columns)."
    )
    many = len(facts["confusion"]["classes"]) - plots.MAX_CLASSES
    if many > 0:
        caption += f" Only the {plots.MAX_CLASSES} most confused classes are shown; {many} more are in report.json."
    yield from _plot(plots.plot_confusion(facts["confusion"], several), caption)
    rows = [
        Row(
            [
                one["true"],
                one["decided"],
                Cell(f"{one['num']:,}", one["num"]),
                Cell(f"{one['share']:.1%}", one["share"]),
                sounds.players(one["clip_ids"]),
            ]
        )
        for one in facts["confused_pairs"]
    ]
    if rows:
        yield "The most frequent confusions, with the clips on which the model was most confident of the wrong class:"
        heads = ["true", "predicted", "clips", "share of the true class", "listen"]
        yield Table(heads, rows)
    else:
        yield "No class was confused with another."


def _curves(facts: Mapping[str, Any]) -> Iterator[Any]:
    caption = "ROC and precision-recall curves over all thresholds."
    shown = list(_plot(plots.plot_curves(facts["curves"]), caption))
    if facts["thresholds"]:
        caption = "F1 per class at every threshold. A dot far below the top of its curve marks an unsuitable threshold."
        shown += _plot(plots.plot_f1_by_threshold(facts["curves"], facts["thresholds"]), caption)
    if shown:
        yield Details("Curves over all thresholds", shown)


def _sureness(facts: Mapping[str, Any], several: bool) -> Iterator[Any]:
    yield Heading("Calibration and confidence", 3)
    yield from _calibration(facts["calibration"], facts["scaled"])
    answered = facts["answered"]
    wrong = "wrong decisions on individual classes" if several else "wrong predictions"
    if answered and answered["risk"] is not None:
        chosen, risk, coverage = answered["on_validation"], answered["asked_risk"], answered["asked_coverage"]
        goal = f"at most {risk:.1%} {wrong}" if risk is not None else f"a coverage of at least {coverage:.1%}"
        yield (
            f'If the model says "don\'t know" below a confidence of {answered["threshold"]:.3f}, it answers '
            f"{answered['coverage']:.1%} of the clips, with {answered['risk']:.1%} {wrong} instead of "
            f"{answered['risk_of_all']:.1%}. This threshold was chosen for {goal} on validation, where the model "
            f"answers {chosen['coverage']:.1%} of the clips, with {chosen['risk']:.1%} wrong."
        )
    yield from _plot(
        plots.plot_risk_coverage(facts["risk_coverage"], answered),
        f"Share of {wrong} if only the most confident predictions are kept.",
    )


def _calibration(calibration: Mapping[str, Any] | None, scaled: Mapping[str, Any]) -> Iterator[Any]:
    if calibration is None:
        yield "With this aggregation, clip scores are not probabilities, so calibration is not measured."
        return
    if calibration["ece"] is None:
        return
    which = "high" if calibration["overconfidence"] > 0 else "low"
    yield (
        f"The model's probabilities are off by {100 * calibration['ece']:.1f} percentage points on average (expected "
        f"calibration error); overall they are too {which}. Brier score {calibration['brier']:.3f}, log loss "
        f"{calibration['log_loss']:.3f}."
    )
    caption = "Reliability diagram: accuracy at each confidence. The dashed line is perfect calibration."
    if "reason" in scaled:
        caption += f" No temperature scaling: {scaled['reason']}."
    yield from _plot(plots.plot_reliability(calibration, None if "reason" in scaled else scaled), caption)


def _slices(facts: Mapping[str, Any], metric: str, sounds: Sounds) -> Iterator[Any]:
    slices, groups = facts["slices"], facts["worst_groups"]
    if not slices and not groups:
        return
    yield Heading("Slices of the data", 3)
    if slices:
        metrics = list(slices[0]["metrics"])
        shown = metric if metric in metrics else metrics[0]
        caption = "Scores on slices of the clips by metadata, with the clearest drops first."
        yield from _plot(plots.plot_slices(slices, shown, facts["metrics"][shown]["value"]), caption)
        rows = [
            Row(
                [one["column"], plots.slice_value(one), _count(one["num_clips"]), _count(one["num_groups"])]
                + [interval_cell(one["metrics"][key]) for key in metrics],
                level="warning" if one["is_below"] else "",
            )
            for one in slices[:MAX_ROWS]
        ]
        heads = ["column", "value", "clips", "groups", *(METRIC_NAMES[key] for key in metrics)]
        more = [f"{len(slices) - MAX_ROWS} more are in report.json."] if len(slices) > MAX_ROWS else []
        yield Details(f"All {len(slices)} slices", [Table(heads, rows), *more])
    if groups:
        yield Details("Groups with the most errors", [_groups_table(groups, sounds)])


def _groups_table(groups: Sequence[Mapping[str, Any]], sounds: Sounds) -> Table:
    rows = [
        Row(
            [
                one["group"],
                _count(one["num_clips"]),
                _count(one["num_wrong"]),
                Cell(f"{one['share']:.1%}", one["share"]),
                sounds.players(one["clip_ids"][:2]),
            ]
        )
        for one in groups
    ]
    return Table(["group", "clips", "clips with errors", "share of all clips with errors", "listen"], rows)


def _lengths(facts: Mapping[str, Any], metric: str) -> Iterator[Any]:
    bins, heard, joined = facts["durations"], facts["seconds_heard"] or [], facts["seconds_joined"] or []
    if len(bins) < 2 and not heard and not joined:
        return
    yield Heading("Clip length", 3)
    key = metric if bins and metric in bins[0]["metrics"] else None
    lines = {
        "first seconds of longer clips": heard,
        "the same clips in full": [{**one, "metrics": one["whole"]} for one in heard],
        "clips joined together": joined,
    }
    known = key or next((one for rows in lines.values() for row in rows for one in row["metrics"]), None)
    if known:
        caption = "Score by seconds of audio used, with intervals."
        yield from _plot(plots.plot_lengths(lines, known), caption)
    if bins:
        metrics = list(bins[0]["metrics"])
        rows = [
            Row([_range(one), _count(one["num_clips"]), *(interval_cell(one["metrics"][key]) for key in metrics)])
            for one in bins
        ]
        yield Table(["length", "clips", *(METRIC_NAMES[key] for key in metrics)], rows)


def _range(one: Mapping[str, Any]) -> Cell:
    low, high = one["from_s"], one["to_s"]
    if low is None and high is None:
        return Cell("unknown length", None)
    if low is None:
        return Cell(f"less than {high:g} s", 0.0)
    return Cell(f"{low:g} s and more" if high is None else f"{low:g} to {high:g} s", low)


def _robustness(facts: Mapping[str, Any], metric: str) -> Iterator[Any]:
    table = facts["robustness"]
    if not table or not table["conditions"]:
        return
    yield Heading("Robustness to degraded recordings", 3)
    clean = table["clean"]["metrics"]
    shown = metric if metric in clean else table["metric"]
    caption = f"Score on {table['num_clips']:,} of the clips, for the original and for degraded recordings."
    yield from _plot(plots.plot_robustness(table, shown), caption)
    rows = [
        Row(
            [
                condition_name(one),
                *(interval_cell(one["metrics"][key]) for key in clean),
                Cell(f"{one['same_decisions']:.1%}", one["same_decisions"]),
            ]
        )
        for one in table["conditions"]
    ]
    first = Row(["original", *(interval_cell(one) for one in clean.values()), Cell("100.0%", 1.0)], level="note")
    heads = ["recordings", *(METRIC_NAMES[key] for key in clean), "unchanged predictions"]
    yield Details("All conditions", [Table(heads, [first, *rows]), *notes_of(table)])


def _out_of_class(facts: Mapping[str, Any]) -> Iterator[Any]:
    found = facts["out_of_class"]
    if not found:
        return
    yield Heading("Out-of-class sounds", 3)
    yield (
        "How well the model's output shows that a sound belongs to none of its classes, measured on "
        f"{found['num_known']:,} sounds of its classes and {found['num_unknown']:,} other sounds."
    )
    rows = [
        Row([words, number_cell(found["scores"][name]["roc_auc"]), number_cell(found["scores"][name]["fpr_at_95_tpr"])])
        for name, words in UNKNOWN_SCORES.items()
        if name in found["scores"]
    ]
    yield Table(["detected by", "ROC AUC", "other sounds accepted when 95% of known sounds are"], rows)


def _count(number: int) -> Cell:
    return Cell(f"{number:,}", number)

"""The HTML page of a report, with plots and players: one file that works offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError
from hf_audio.figures.page import Details, Heading, Headline, Row, Table, page
from hf_audio.judging import plots
from hf_audio.judging.page_cells import interval_cell, number_cell, plot_part
from hf_audio.judging.page_comparison import comparison_parts
from hf_audio.judging.page_sections import model_parts
from hf_audio.judging.page_words import TERMS, metric_words
from hf_audio.judging.playing import Recording, Sounds
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.privacy import write_published

PAGE = "index.html"
MAX_DETAILED = 6  # models with their own section

__all__ = ["PAGE", "Recording", "write_page"]


def write_page(
    folder: str | Path,
    report: Mapping[str, Any],
    recordings: Mapping[str, Recording] | None = None,
    *,
    embed_sounds: bool = False,
) -> Path:
    """Writes index.html into a folder, from a report of `judge` or report.json.

    Args:
        recordings: the files of clips, by clip_id.
        embed_sounds: embed excerpts in the page, so that it can be shared; otherwise clips are played from their files.

    Returns:
        The path of the page.

    Raises:
        InputError: excerpts without recordings, or a folder that cannot be written.
    """
    folder = Path(folder)
    if embed_sounds and not recordings:
        raise InputError("Excerpts need recordings, but none were given: give recordings, or leave out embed_sounds")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sounds = Sounds(recordings or {}, folder, embed_sounds)
        report = _in_order(report, report["data"]["classes"])
        names = list(report["models"])
        who = names[0] if len(names) == 1 else f"{len(names)} models"
        html = page(f"Evaluation of {who} on {_data_name(report)}", *_parts(report, sounds))
        write_published(folder / PAGE, html)
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another folder") from error
    return folder / PAGE


def _in_order(value: Any, classes: Sequence[str]) -> Any:
    """Restores the order of metrics and classes, which a report loses when it is written and read again."""
    if isinstance(value, list | tuple):
        return [_in_order(one, classes) for one in value]
    if not isinstance(value, Mapping):
        return value
    orders = (list(METRIC_NAMES), classes)
    order = next((one for one in orders if set(value) <= set(one)), sorted(value))
    return {key: _in_order(value[key], classes) for key in order if key in value}


def _parts(report: Mapping[str, Any], sounds: Sounds) -> Iterator[Any]:
    yield from _opening(report)
    yield Heading("All models" if len(report["models"]) > 1 else "Scores")
    yield _models_table(report)
    metrics = main_metrics(report["data"]["problem_type"])
    caption = "Scores with their confidence intervals. The tick marks the class-prior baseline."
    yield plot_part(plots.plot_models(report, metrics), caption)
    yield from comparison_parts(report["comparison"])
    detailed = _ranked(report)[:MAX_DETAILED]
    for name in detailed:
        yield Heading(name if len(report["models"]) > 1 else "Scores per class")
        yield from model_parts(report, name, sounds)
    left_out = len(report["models"]) - len(detailed)
    if left_out:
        yield f"Models without their own section: {left_out}; see the table above and report.json."
    yield Heading("Glossary")
    yield Details("Terms used on this page", [f"{word}: {text}" for word, text in TERMS.items()])
    if sounds.words():
        yield sounds.words()


def _opening(report: Mapping[str, Any]) -> Iterator[Any]:
    data, settings, metric = report["data"], report["settings"], report["metric"]
    best = _ranked(report)[0]
    interval = report["models"][best]["metrics"][metric]
    yield data.get("question") or _question(report)
    if report["protocol"] and report["protocol"].get("said"):
        yield report["protocol"]["said"]
    value = "–" if interval["value"] is None else f"{interval['value']:.3f}"
    whose = f"{best}, the best of {len(report['models'])} models," if len(report["models"]) > 1 else best
    words = f"is the score of {whose.rstrip(',')}. {metric_words(metric, interval['value'])}"
    yield Headline(f"{METRIC_NAMES[metric]} {value}", words)
    yield _interval_sentence(interval, settings, data)
    prior = report["baseline"]["metrics"].get(metric)
    if prior is not None:
        yield (
            f"For comparison, the class-prior baseline, which predicts the class frequencies of "
            f"{report['baseline']['frequencies_of']} for every clip, scores {prior:.3f}."
        )
    yield from (f"Note: {note}" for note in report["notes"])


def _question(report: Mapping[str, Any]) -> str:
    data = report["data"]
    *others, last = report["models"]
    names, classes = f"{', '.join(others)} and {last}" if others else last, data["classes"]
    several = data["problem_type"] == "multi_label_classification"
    which = "any number" if several else "exactly one"
    length = "" if data["seconds"] is None else f" ({_length(data['seconds'])} in total)"
    of_groups = f" from {data['num_groups']:,} groups (recordings, songs or speakers)"
    of_groups = of_groups if data["drawn_by"] == "group" else ""
    shown = ", ".join(classes[:12]) + (" ..." if len(classes) > 12 else "")
    return (
        f"{names} classified {data['num_clips']:,} clips{length}{of_groups} of {_data_name(report)}, predicting "
        f"{which} of the {len(classes)} classes per clip: {shown}. The predictions are compared with the labels."
    )


def _interval_sentence(interval: Mapping[str, Any], settings: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    if interval["low"] is None:
        return "There is no confidence interval, because all clips that determine the score are in one group."
    return (
        f"The {100 * settings['confidence']:g}% confidence interval is {interval['low']:.3f} to "
        f"{interval['high']:.3f}: on other clips of the same kind, the score would probably lie in this range "
        f"(bootstrap over {data['drawn_by']}s, {settings['num_draws']:,} resamples)."
    )


def _length(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _data_name(report: Mapping[str, Any]) -> str:
    return f"{report['data'].get('name') or 'the data'} ({report['data']['split']})"


def _ranked(report: Mapping[str, Any]) -> list[str]:
    """Models by the main metric, the best first."""
    metric = report["metric"]
    sign = 1 if metric == "hamming_loss" else -1

    def key(name: str) -> tuple[bool, float]:
        value = report["models"][name]["metrics"][metric]["value"]
        return value is None, 0.0 if value is None else sign * value

    return sorted(report["models"], key=key)


def _models_table(report: Mapping[str, Any]) -> Table:
    shown = dict.fromkeys([report["metric"], *main_metrics(report["data"]["problem_type"]), *METRIC_NAMES])
    first = next(iter(report["models"].values()))["metrics"]
    metrics = [name for name in shown if name in first]
    rows = [
        Row([name, *(interval_cell(report["models"][name]["metrics"][one]) for one in metrics)])
        for name in _ranked(report)
    ]
    prior = report["baseline"]["metrics"]
    rows.append(Row(["class-prior baseline", *(number_cell(prior.get(one)) for one in metrics)], level="note"))
    return Table(["model", *(METRIC_NAMES[one] for one in metrics)], rows)

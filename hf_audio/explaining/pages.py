"""The HTML page of one explained recording, with plots and sounds, and the overview page of several."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

import numpy as np
import soundfile
from markupsafe import Markup

from hf_audio.explaining.drawing import LEFT, RIGHT, drawn_checks, drawn_window
from hf_audio.explaining.explained import Explained, ExplainedWindow
from hf_audio.explaining.listening import masked_sound
from hf_audio.explaining.methods import METHODS
from hf_audio.figures.figures import png
from hf_audio.figures.page import Pair, Row, Table, inline_plot, page, timed_plot
from hf_audio.figures.scripted_page import shown_name

HOW_TO_READ = (
    "The spectrogram is gray. Red regions are evidence for the class, blue regions are evidence against it; methods "
    "that do not distinguish the two show only red. Click on a plot to play the sound from there. The relevant part "
    "can be played on its own: it is the spectrogram of the sound multiplied by the relevance."
)
HOW_TO_CHECK = (
    "Two checks show whether an explanation is faithful to this model. Deletion and insertion: the window is divided "
    "into blocks, and the most relevant blocks are deleted (replaced by the baseline) or inserted first. For a "
    "faithful explanation, the score falls (deletion) and rises (insertion) faster than with random orders. Randomized "
    "weights: the weights are replaced by random ones, from the head down to the input, and the explanation must "
    "change. A rank correlation near 1 means that it shows the sound rather than what the model has learned."
)


def explanation_page(explanation: Explained) -> str:
    """The HTML of a self-contained page."""
    one = explanation
    title = f"Why {one.model} predicts {shown_name(one.target)} for {shown_name(one.name)}"
    return page(title, *summary_of(one), HOW_TO_READ, *_parts(one))


def summary_of(explanation: Explained) -> Iterator[str]:
    """Sentences on what was explained and what was left out."""
    one, output = explanation, explanation.output
    chosen = "the requested class" if one.settings.target else "the class with the highest score"
    score = f"{shown_name(one.target)}, {chosen}, has a score of {one.score:.3f}"
    yield f"{score} for the whole recording ({output.duration_s:.1f} s)."
    starts = ", ".join(f"{window.window.start_s:g} s" for window in one.windows)
    silent = int(output.are_silent.sum())
    yield (
        f"Explained windows: {len(one.windows)} of {len(output.starts_s):,}, each {one.window_s:g} s long, starting at "
        f"{starts}. These are the windows with the highest scores that do not overlap."
        f"{f' {silent:,} silent windows are skipped.' if silent else ''}"
    )
    yield f"Baseline that the sound is compared with: {one.windows[0].question.baseline_name}."
    for name, reason in one.unsuited.items():
        yield f"Not used: {name}. {reason}."


def flac(sound: np.ndarray, sample_rate: int) -> bytes:
    """A sound `[samples]` or `[2, samples]` as 16-bit FLAC, clipped to [-1, 1]."""
    return _encoded(sound, sample_rate, "FLAC")


def wav(sound: np.ndarray, sample_rate: int) -> bytes:
    """The same as WAV."""
    return _encoded(sound, sample_rate, "WAV")


def overview_row(folder: str, explanation: Explained) -> Row:
    """The row of a recording in `overview_page`, which links to the recording's page in a subfolder."""
    one = explanation
    good = [name for name, verdict in one.verdicts.items() if verdict.says_something]
    methods = ", ".join(good) if good else ("none" if one.verdicts else "not checked")
    address = quote(os.fsencode(PurePosixPath(folder) / "index.html"))
    link = Markup('<a href="{}">{}</a>').format(address, shown_name(one.name))
    return Row((link, shown_name(one.target), f"{one.score:.3f}", str(len(one.windows)), methods))


def overview_page(model: str, rows: Sequence[Row]) -> str:
    """The HTML of a page that links to the pages of several recordings."""
    heads = ("recording", "class", "score", "windows", "faithful methods")
    return page(f"Explained predictions of {model}", Table(heads, rows))


def _parts(explanation: Explained) -> Iterator[str | Table | Pair]:
    rate = explanation.sample_rate
    for one in explanation.windows:
        whole = flac(one.window.sound, rate)
        end_s = one.window.start_s + one.window.sound.shape[-1] / rate
        where = f"From {one.window.start_s:g} to {end_s:g} s"
        yield Markup("<strong>{}: score {}</strong>").format(where, f"{one.window.score:.3f}")
        yield timed_plot(png(drawn_window(one, rate, None)), f"{where}: spectrogram", [("sound", whole)], LEFT, RIGHT)
        for name, found in one.found.items():
            yield f"{name}: {METHODS[name].described}.{_verdict(explanation, name)}{_missing(one, name)}"
            masked = masked_sound(one.window.sound, rate, one.question.grid, found.values)
            sounds = [("relevant part", flac(masked, rate)), ("sound", whole)]
            yield timed_plot(png(drawn_window(one, rate, found)), f"{where}: {name}", sounds, LEFT, RIGHT)
    if explanation.verdicts:
        yield HOW_TO_CHECK
        yield _checks_table(explanation)
        yield Markup('<span class="axis">{}</span>').format(inline_plot(png(drawn_checks(explanation))))


def _verdict(explanation: Explained, name: str) -> str:
    return f" {explanation.verdicts[name].sentence}" if explanation.verdicts else ""


def _missing(one: ExplainedWindow, name: str) -> str:
    missing = one.found[name].missing_logit
    return (
        "" if missing is None else f" The sum of the relevance differs from the logit difference by {abs(missing):.2g}."
    )


def _checks_table(explanation: Explained) -> Table:
    heads = ("method", "faithful", "deletion area", "random order", "insertion area", "random order")
    stages = [f"rank correlation, random weights down to {one.reached}" for one in explanation.stages]
    rows = []
    for name, verdict in explanation.verdicts.items():
        areas = (verdict.deletion_area, verdict.random_deletion_area, verdict.insertion_area)
        numbers = [*areas, verdict.random_insertion_area, *(one.correlations[name] for one in explanation.stages)]
        level = "" if verdict.says_something else "warning"
        rows.append(
            Row((name, "yes" if verdict.says_something else "no", *(f"{one:.3f}" for one in numbers)), (), level)
        )
    return Table((*heads, *stages), rows)


def _encoded(sound: np.ndarray, sample_rate: int, form: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound, -1.0, 1.0).T, sample_rate, format=form, subtype="PCM_16")
    return file.getvalue()

"""What is written for explained recordings: a folder each, with a page, plots, sounds and a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.explaining.drawing import drawn_explanation
from hf_audio.explaining.explanations import Explanation, as_report, explain
from hf_audio.explaining.listening import masked_sound
from hf_audio.explaining.pages import explanation_page, overview_page, overview_row, wav
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.figures.figures import png, svg
from hf_audio.files import results_in, write_atomically, write_json
from hf_audio.privacy import public_name
from hf_audio.tagging.found_files import FoundFile
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger
from hf_audio.terminal import named_logger, progress

logger = named_logger(__name__)
PAGE = "index.html"


def explain_files(tagger: Tagger, files: Sequence[FoundFile], folder: Path, settings: ExplainSettings) -> int:
    """Explains recordings, each into a folder of its name below `folder`; of several, index.html there leads to all.

    Returns:
        How many could not be explained; each was named in the log.

    Raises:
        InputError: two files of one name, a folder that already exists, or see `explain` of the first recordings.
    """
    _check_free(files, folder)
    rows = []  # of each recording no more than this: windows and relevance of many fill any memory
    for file in progress(files, desc="explain", unit=" recordings", disable=len(files) < 2):
        try:
            explanation = explain(tagger, recording_of(file.path), file.name, settings)
        except AudioError as error:
            logger.warning("%s cannot be explained: %s", file.name, error.reason)
            continue
        except InputError as error:
            if not rows:  # a setting that suits none
                raise
            logger.warning("%s cannot be explained: %s", file.name, error)
            continue
        write_explanation(explanation, folder / file.name)
        rows.append(overview_row(file.name, explanation))
    if len(files) > 1 and rows:
        write_atomically(folder / PAGE, overview_page(public_name(tagger.name), rows))
    return len(files) - len(rows)


def write_explanation(explanation: Explanation, folder: Path) -> None:
    """index.html, report.json, explanation.png and .svg, and of each window the sound and its relevant parts as WAV."""
    rate = explanation.sample_rate
    figure = drawn_explanation(explanation)
    with results_in(folder):
        write_atomically(folder / "explanation.png", png(figure))
        write_atomically(folder / "explanation.svg", svg(figure))
        for one in explanation.windows:
            start = f"{one.window.start_s:.2f}s"
            write_atomically(folder / f"{start}_sound.wav", wav(one.window.sound, rate))
            for name, found in one.found.items():
                masked = masked_sound(one.window.sound, rate, one.question.grid, found.values)
                write_atomically(folder / f"{start}_{name}.wav", wav(masked, rate))
        write_json(folder / "report.json", as_report(explanation))
        write_atomically(folder / PAGE, explanation_page(explanation))


def _check_free(files: Sequence[FoundFile], folder: Path) -> None:
    """Raises InputError where results would lie over each other, or over others."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder as --output_dir")
    if len(files) > 1 and os.path.lexists(folder / PAGE):
        raise InputError(f"{folder / PAGE} already exists, for other recordings: give another --output_dir")
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.name, file.path)
        if other != file.path:
            raise InputError(
                f"{other} and {file.path} would both be written to {folder / file.name}: give their parent folder, "
                "or explain them one after the other"
            )
        if file.name == PAGE or os.path.lexists(folder / file.name):
            raise InputError(f"{folder / file.name} already exists: remove it, or give another --output_dir")

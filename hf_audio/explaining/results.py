"""Writes an explanation into a folder: page, plot, sounds and report."""

from __future__ import annotations

from pathlib import Path

from hf_audio.explaining.drawing import drawn_explanation
from hf_audio.explaining.explained import Explained
from hf_audio.explaining.listening import masked_sound
from hf_audio.explaining.pages import explanation_page, wav
from hf_audio.explaining.report import as_report
from hf_audio.figures.figures import png, svg
from hf_audio.files import results_in, write_atomically, write_json

PAGE = "index.html"


def write_explanation(explanation: Explained, folder: Path) -> None:
    """Writes index.html, report.json, explanation.png and .svg, and each window's sound and relevant parts as WAV."""
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

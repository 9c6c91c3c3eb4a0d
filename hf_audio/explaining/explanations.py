"""Explains one recording: chooses a class and windows, applies the methods, and checks them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_audio.errors import InputError
from hf_audio.explaining.chosen_windows import ChosenWindow, chosen_windows, model_output, most_certain, target_of
from hf_audio.explaining.explained import Explained, ExplainedWindow
from hf_audio.explaining.methods import METHODS, chosen_methods
from hf_audio.explaining.perturbation_curves import curves_of, random_curves
from hf_audio.explaining.questions import Question, ask
from hf_audio.explaining.randomized_weights import Stage, correlations_with_random_weights
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.privacy import public_name
from hf_audio.tagging.settings import rule_of
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Explanation(Explained):
    """An explanation that can be plotted and written; a notebook shows its plot."""

    def figure(self) -> Figure:
        """A plot with a column per window and a row per method."""
        from hf_audio.explaining.drawing import drawn_explanation

        return drawn_explanation(self)

    def write(self, folder: str | Path) -> None:
        """Writes a page with plots and sounds, and a report, into a new folder.

        Raises:
            InputError: the folder already exists.
        """
        from hf_audio.explaining.results import write_explanation

        if os.path.lexists(folder):
            raise InputError(f"{folder} already exists: remove it, or give another folder")
        write_explanation(self, Path(folder))

    def _repr_png_(self) -> bytes:
        from hf_audio.figures.figures import small_png

        return small_png(self.figure())


def explain(tagger: Tagger, recording: Recording, name: str, settings: ExplainSettings) -> Explanation:
    """Explains one recording of any length.

    Args:
        tagger: a trained model.
        recording: the sound.
        name: name of the recording in results.
        settings: class, windows, methods and checks.

    Raises:
        AudioError: it cannot be decoded, or is silent.
        InputError: a class, method or setting that the model does not have.
    """
    cutting = tagger.settings(window_s=settings.window_s, hop_s=settings.hop_s)
    output = model_output(tagger, recording, cutting)
    target = target_of(tagger, output, settings.target)
    scores = tagger.labels.probabilities(output.logits)[:, target]
    window_s = rule_of(tagger.predictor, cutting).window / tagger.sample_rate
    places = most_certain(output, scores, window_s, settings.num_windows)
    chosen = chosen_windows(tagger, recording, cutting, places, scores)
    questions = [ask(tagger.predictor, one.sound, target, settings.baseline) for one in chosen]
    names, unsuited = chosen_methods(settings.methods, questions[0])
    windows = [_explained(*pair, names, settings) for pair in zip(chosen, questions, strict=True)]
    return Explanation(
        name=name,
        model=public_name(tagger.name),
        commit=tagger.predictor.commit,
        target=tagger.labels.names[target],
        score=float(tagger.labels.probabilities(output.logits.astype(np.float64).mean(axis=0))[target]),
        output=output,
        window_s=window_s,
        sample_rate=tagger.sample_rate,
        windows=windows,
        unsuited=unsuited,
        stages=_stages(windows, settings),
        settings=settings,
    )


def _explained(
    window: ChosenWindow, question: Question, names: list[str], settings: ExplainSettings
) -> ExplainedWindow:
    found = {name: METHODS[name].explain(question, settings.of_methods) for name in names}
    if not settings.has_checks:
        return ExplainedWindow(window, question, found, {}, None)
    curves = {name: curves_of(question, one.values) for name, one in found.items()}
    return ExplainedWindow(window, question, found, curves, random_curves(question, settings.seed))


def _stages(windows: list[ExplainedWindow], settings: ExplainSettings) -> list[Stage]:
    """Correlations for only the window with the highest score, since each stage costs as much as the explanation."""
    if not settings.has_checks:
        return []
    certain = max(windows, key=lambda one: one.window.score)
    found = {name: one.values for name, one in certain.found.items()}
    return correlations_with_random_weights(certain.question, found, settings.of_methods, settings.seed)

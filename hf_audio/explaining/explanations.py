"""One recording explained: its windows, the result of each method, and the verdict of the checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_audio.errors import InputError, printable
from hf_audio.explaining.chosen_windows import (
    ChosenWindow,
    Heard,
    chosen_windows,
    heard,
    most_certain,
    target_of,
)
from hf_audio.explaining.methods import METHODS, Relevance, chosen_methods
from hf_audio.explaining.perturbation_curves import Curves, curves_of, random_curves
from hf_audio.explaining.questions import Question, ask
from hf_audio.explaining.randomized_weights import Stage, correlations_with_random_weights
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.explaining.verdicts import Verdict, verdict_of
from hf_audio.privacy import public_name
from hf_audio.tagging.settings import rule_of
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ExplainedWindow:
    """A window and what was found of it.

    Attributes:
        window: where it lies, and its sound.
        question: what was asked.
        found: by method.
        curves: by method; empty without checks.
        random: curves of random orders; None without checks.
    """

    window: ChosenWindow
    question: Question
    found: dict[str, Relevance]
    curves: dict[str, Curves]
    random: Curves | None


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a model says a class of a recording.

    Attributes:
        name: of the recording, without a path of this machine.
        model, commit: its name, and of the Hub the commit.
        target: the class.
        score: of the class, for the whole recording.
        said: what the model says of all windows.
        window_s: of each.
        windows: that are explained, in order of time.
        unsuited: why methods were left out that nobody asked for, by name.
        stages: of random weights, on the window of the highest score; empty without checks.
        settings: what was asked for.
    """

    name: str
    model: str
    commit: str | None
    target: str
    score: float
    said: Heard
    window_s: float
    sample_rate: int
    windows: list[ExplainedWindow]
    unsuited: dict[str, str]
    stages: list[Stage]
    settings: ExplainSettings

    def __repr__(self) -> str:
        windows = f"{len(self.windows)} of {len(self.said.starts_s)} windows"
        said = f"{self.name}: {self.target}, score {self.score:.3f}; {windows}; {', '.join(self.methods)}"
        return f"Explanation({printable(said)})"

    @property
    def methods(self) -> list[str]:
        """Names, in order."""
        return list(self.windows[0].found)

    def figure(self) -> Figure:
        """All windows beside each other, and all methods below each other; a notebook shows it."""
        from hf_audio.explaining.drawing import drawn_explanation

        return drawn_explanation(self)

    def write(self, folder: str | Path) -> None:
        """A page to look at and to listen to, the plot, the sounds and a report. Raises InputError: it is there."""
        from hf_audio.explaining.results import write_explanation

        if os.path.lexists(folder):
            raise InputError(f"{folder} already exists: remove it, or give another folder")
        write_explanation(self, Path(folder))

    def _repr_png_(self) -> bytes:
        from hf_audio.figures.figures import small_png

        return small_png(self.figure())

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """By method; empty without checks."""
        if not self.settings.has_checks:
            return {}
        return {
            name: verdict_of(
                [(one.curves[name], one.random) for one in self.windows],
                [one.correlations[name] for one in self.stages],
                is_flat=all(np.ptp(one.found[name].values) == 0 for one in self.windows),
            )
            for name in self.methods
        }


def explain(tagger: Tagger, recording: Recording, name: str, settings: ExplainSettings) -> Explanation:
    """Explains one recording of any length.

    Args:
        tagger: of a trained model.
        name: of the recording, for people.

    Raises:
        AudioError: it cannot be decoded, or is silent.
        InputError: a class, method or setting that the model does not have.
    """
    cutting = tagger.settings(window_s=settings.window_s, hop_s=settings.hop_s)
    said = heard(tagger, recording, cutting)
    target = target_of(tagger, said, settings.target)
    scores = tagger.labels.probabilities(said.logits)[:, target]
    window_s = rule_of(tagger.predictor, cutting).window / tagger.sample_rate
    places = most_certain(said, scores, window_s, settings.num_windows)
    chosen = chosen_windows(tagger, recording, cutting, places, scores)
    questions = [ask(tagger.predictor, one.sound, target, settings.baseline) for one in chosen]
    names, unsuited = chosen_methods(settings.methods, questions[0])
    windows = [_explained(one, asked, names, settings) for one, asked in zip(chosen, questions, strict=True)]
    return Explanation(
        name=name,
        model=public_name(tagger.name),
        commit=tagger.predictor.commit,
        target=tagger.labels.names[target],
        score=float(tagger.labels.probabilities(said.logits.astype(np.float64).mean(axis=0))[target]),
        said=said,
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
    """Of the window that the model is most certain of: each stage costs as much as the explanation."""
    if not settings.has_checks:
        return []
    certain = max(windows, key=lambda one: one.window.score)
    found = {name: one.values for name, one in certain.found.items()}
    return correlations_with_random_weights(certain.question, found, settings.of_methods, settings.seed)


def as_report(explanation: Explanation) -> dict[str, Any]:
    """All numbers, for JSON; no path of this machine."""
    settings, first = explanation.settings, explanation.windows[0].question
    return {
        "recording": printable(explanation.name),
        "duration_s": explanation.said.duration_s,
        "model": explanation.model,
        "commit": explanation.commit,
        "class": explanation.target,
        "score": explanation.score,
        "num_windows": len(explanation.said.starts_s),
        "num_silent_windows": int(explanation.said.are_silent.sum()),
        "window_s": explanation.window_s,
        "baseline": first.baseline_name,
        "methods": {name: METHODS[name].described for name in explanation.methods},
        "left_out": explanation.unsuited,
        "settings": {"seed": settings.seed, "checks": settings.has_checks, **settings.of_methods._asdict()},
        "windows": [_window_report(one) for one in explanation.windows],
        "random_weights": [{"down_to": one.reached, **one.correlations} for one in explanation.stages],
        "verdicts": {name: one._asdict() for name, one in explanation.verdicts.items()},
    }


def _window_report(one: ExplainedWindow) -> dict[str, Any]:
    return {
        "start_s": one.window.start_s,
        "score": one.window.score,
        "missing_logit": {
            name: found.missing_logit for name, found in one.found.items() if found.missing_logit is not None
        },
        "curves": {name: _curves_report(curves) for name, curves in one.curves.items()},
        "random_curves": _curves_report(one.random) if one.random else None,
    }


def _curves_report(curves: Curves) -> dict[str, Any]:
    deletion_area, insertion_area = curves.areas
    return {
        "deletion": curves.deletion.tolist(),
        "insertion": curves.insertion.tolist(),
        "deletion_area": np.asarray(deletion_area).tolist(),
        "insertion_area": np.asarray(insertion_area).tolist(),
    }

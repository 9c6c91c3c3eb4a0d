"""The results of explaining one recording: its windows, the relevance by each method, and the checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hf_audio.errors import printable
from hf_audio.explaining.chosen_windows import ChosenWindow, ModelOutput
from hf_audio.explaining.methods import Relevance
from hf_audio.explaining.perturbation_curves import Curves
from hf_audio.explaining.questions import Question
from hf_audio.explaining.randomized_weights import Stage
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.explaining.verdicts import Verdict, verdict_of


@dataclass(frozen=True)
class ExplainedWindow:
    """The results for one window.

    Attributes:
        window: its position and sound.
        question: the explained logit.
        found: relevance, by method.
        curves: deletion and insertion curves, by method; empty without checks.
        random: the curves of random orders; None without checks.
    """

    window: ChosenWindow
    question: Question
    found: dict[str, Relevance]
    curves: dict[str, Curves]
    random: Curves | None


@dataclass(frozen=True, repr=False)
class Explained:
    """The results for one recording.

    Attributes:
        name: name of the recording, without a local path.
        model, commit: name of the model, and its commit on the Hub.
        target: the explained class.
        score: score of the class for the whole recording.
        output: the model's output for all windows.
        window_s: length of a window.
        windows: the explained windows, in order of time.
        unsuited: methods that do not suit the model, with the reason, if methods were chosen by default.
        stages: correlations with random weights, for the window with the highest score; empty without checks.
        settings: the settings.
    """

    name: str
    model: str
    commit: str | None
    target: str
    score: float
    output: ModelOutput
    window_s: float
    sample_rate: int
    windows: list[ExplainedWindow]
    unsuited: dict[str, str]
    stages: list[Stage]
    settings: ExplainSettings

    def __repr__(self) -> str:
        windows = f"{len(self.windows)} of {len(self.output.starts_s)} windows"
        text = f"{self.name}: {self.target}, score {self.score:.3f}; {windows}; {', '.join(self.methods)}"
        return f"{type(self).__name__}({printable(text)})"

    @property
    def methods(self) -> list[str]:
        """The names of the methods, in order."""
        return list(self.windows[0].found)

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of the checks by method; empty without checks."""
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

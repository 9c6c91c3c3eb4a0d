"""The report of an explanation for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_audio.errors import printable
from hf_audio.explaining.explained import Explained, ExplainedWindow
from hf_audio.explaining.methods import METHODS
from hf_audio.explaining.perturbation_curves import Curves


def as_report(explanation: Explained) -> dict[str, Any]:
    """All numbers, for JSON, without local paths."""
    settings, first = explanation.settings, explanation.windows[0].question
    return {
        "recording": printable(explanation.name),
        "duration_s": explanation.output.duration_s,
        "model": explanation.model,
        "commit": explanation.commit,
        "class": explanation.target,
        "score": explanation.score,
        "num_windows": len(explanation.output.starts_s),
        "num_silent_windows": int(explanation.output.are_silent.sum()),
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

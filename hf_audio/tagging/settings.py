"""How a sound is tagged: windows, threshold, smoothing; what is not given is the model's own."""

from __future__ import annotations

import math
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.windows import SampleWindows

# Of models that neither say how long their windows are nor have a longest one, such as Wav2Vec2.
DEFAULT_WINDOW_S = 10.0
SHORTEST_S, LONGEST_S = 1e-3, 3600.0


class TagSettings(NamedTuple):
    """What acts.

    Attributes:
        window_s, hop_s: length of a window, and from one to the next, in seconds.
        threshold: scores from here on are a yes. None of models of one label: each window has its highest.
        top_k: how many classes are listed, the highest first; None lists all.
        smooth_s: over how long the median of a class's scores is taken, before segments are made of them.
        origin: where the windows come from, in words.
    """

    window_s: float
    hop_s: float
    threshold: float | None
    top_k: int | None
    smooth_s: float
    origin: str

    @property
    def decisive(self) -> dict[str, float | int | None]:
        """The numbers by name."""
        return {name: value for name, value in self._asdict().items() if name != "origin"}


def settings_of(
    predictor: SoundPredictor,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    smooth_s: float | None = None,
) -> TagSettings:
    """What acts, of what is given; the rest is the model's own.

    Args:
        hop_s: by default the model's own; of windows of another length, that length.
        smooth_s: by default the length of a window, which leaves windows that do not overlap as they are.

    Raises:
        InputError: a number that cannot be or would not act, or windows longer than the model hears.
    """
    named = {"window_s": window_s, "hop_s": hop_s, "smooth_s": smooth_s}
    for name, value in named.items():
        if value is not None and not (SHORTEST_S <= value <= LONGEST_S) and not (name == "smooth_s" and value == 0):
            raise InputError(f"{name} is a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g}, found {value}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"A threshold is a score from 0 to 1, found {threshold}")
    if threshold is not None and not predictor.labels.is_multi_label:
        raise InputError(f"A threshold has no effect on {predictor.name}, which is single-label: leave it out")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is a number of classes, at least 1, found {top_k}")
    own_s, own_hop_s, origin = _own_windows(predictor)
    if window_s is None:
        window_s, hop_s = own_s, hop_s or own_hop_s
    else:
        hop_s, origin = hop_s or window_s, "as given"
    if threshold is None and predictor.labels.is_multi_label:
        threshold = predictor.decision_threshold
    found = TagSettings(window_s, hop_s, threshold, top_k, window_s if smooth_s is None else smooth_s, origin)
    _check_window(predictor, found)
    return found


def rule_of(predictor: SoundPredictor, settings: TagSettings) -> SampleWindows:
    """How a sound at the model's rate is cut."""
    return predictor.windows_of(settings.window_s, settings.hop_s)


def _own_windows(predictor: SoundPredictor) -> tuple[float, float, str]:
    """Length of a window and hop in seconds, and where they come from."""
    usage = predictor.usage
    if usage.window_s is not None:
        return usage.window_s, usage.hop_s or usage.window_s, "as it was trained"
    longest = predictor.kind.longest_samples(predictor.extractor)
    if longest is None:
        return DEFAULT_WINDOW_S, DEFAULT_WINDOW_S, "a default, for its config.json does not say"
    longest_s = longest / predictor.sample_rate
    return longest_s, longest_s, "the longest that it hears, for its config.json does not say"


def _check_window(predictor: SoundPredictor, settings: TagSettings) -> None:
    rule, rate = rule_of(predictor, settings), predictor.sample_rate
    longest, kind = predictor.kind.longest_samples(predictor.extractor), predictor.kind
    heard = kind.sample_windows(predictor.extractor.to_dict(), settings.window_s, settings.hop_s).window
    if min(rule.window, rule.hop) < 1 or rule.window < rule.shortest:
        raise InputError(
            f"Windows of {settings.window_s:g} s every {settings.hop_s:g} s are too short for {predictor.name}: it "
            f"needs {math.ceil(1000 * max(rule.shortest, rule.step) / rate) / 1000:g} s at least"
        )
    if longest is not None and heard > longest:  # where sound is cut in samples, those of no whole frame do not count
        raise InputError(
            f"Windows of {settings.window_s:g} s are longer than the {longest / rate:.6g} s that {predictor.name} "
            "reads, and would be cut: give a shorter window_s"
        )

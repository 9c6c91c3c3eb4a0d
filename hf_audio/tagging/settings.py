"""How a sound is tagged: windows, threshold, smoothing. The defaults are the model's own."""

from __future__ import annotations

import math
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.windows import SampleWindows

# For models whose config has no window length and that have no maximum length, such as Wav2Vec2.
DEFAULT_WINDOW_S = 10.0
MIN_S, MAX_S = 1e-3, 3600.0


class TagSettings(NamedTuple):
    """The settings in effect.

    Attributes:
        window_s, hop_s: length of a window, and the time between window starts, in seconds.
        threshold: minimum score of a present class. None for single-label models: the highest-scoring class is present.
        top_k: number of classes to list, the highest first; None lists all.
        smooth_s: width of the median filter over a class's scores, before segments are computed.
        origin: where the window length comes from, in words.
    """

    window_s: float
    hop_s: float
    threshold: float | None
    top_k: int | None
    smooth_s: float
    origin: str

    @property
    def decisive(self) -> dict[str, float | int | None]:
        """The settings that the results depend on, by name."""
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
    """The given settings, completed with the model's own.

    Args:
        predictor: the model.
        window_s: window length. Default: as in training.
        hop_s: time between window starts. Default: `window_s` if given, otherwise as in training.
        threshold: minimum score of a present class. Default: the model's own.
        top_k: number of classes to list. Default: all.
        smooth_s: width of the median filter. Default: the window length, which has no effect on windows that do not
            overlap.

    Raises:
        InputError: a setting is invalid or has no effect, or the windows are longer than the model reads.
    """
    named = {"window_s": window_s, "hop_s": hop_s, "smooth_s": smooth_s}
    for name, value in named.items():
        if value is not None and not (MIN_S <= value <= MAX_S) and not (name == "smooth_s" and value == 0):
            raise InputError(f"{name} must be a number of seconds from {MIN_S:g} to {MAX_S:g}, found {value}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold must be a score from 0 to 1, found {threshold}")
    if threshold is not None and not predictor.labels.is_multi_label:
        raise InputError(f"A threshold has no effect on {predictor.name}, which is single-label: remove it")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k must be a number of classes, at least 1, found {top_k}")
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
    """How a sound at the model's sample rate is cut into windows."""
    return predictor.windows_of(settings.window_s, settings.hop_s)


def _own_windows(predictor: SoundPredictor) -> tuple[float, float, str]:
    """Length of a window and hop in seconds, and where they come from."""
    usage = predictor.usage
    if usage.window_s is not None:
        return usage.window_s, usage.hop_s or usage.window_s, "as in training"
    longest = predictor.kind.longest_samples(predictor.extractor)
    if longest is None:
        return DEFAULT_WINDOW_S, DEFAULT_WINDOW_S, "the default, as its config.json has no window length"
    longest_s = longest / predictor.sample_rate
    return longest_s, longest_s, "the maximum that it reads, as its config.json has no window length"


def _check_window(predictor: SoundPredictor, settings: TagSettings) -> None:
    rule, rate = rule_of(predictor, settings), predictor.sample_rate
    longest, kind = predictor.kind.longest_samples(predictor.extractor), predictor.kind
    read = kind.sample_windows(predictor.extractor.to_dict(), settings.window_s, settings.hop_s).window
    if min(rule.window, rule.hop) < 1 or rule.window < rule.shortest:
        raise InputError(
            f"Windows of {settings.window_s:g} s every {settings.hop_s:g} s are too short for {predictor.name}: it "
            f"needs at least {math.ceil(1000 * max(rule.shortest, rule.step) / rate) / 1000:g} s"
        )
    if longest is not None and read > longest:  # if sound is cut in samples, those of no whole frame do not count
        raise InputError(
            f"Windows of {settings.window_s:g} s are longer than the {longest / rate:.6g} s that {predictor.name} "
            "reads, and would be cut: use a shorter window_s"
        )

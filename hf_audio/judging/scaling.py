"""Scaling of logits for calibrated probabilities, fitted on validation clips.

    temperature   divides all logits by one number (Guo et al. 2017, arXiv 1706.04599). No decision changes, since
                  thresholds are adjusted to match
    vector        a slope above 0 and a bias per class; in multi-label tasks this is Platt scaling of each class
    isotonic      after the temperature, a rising curve fitted to the observed frequencies (Zadrozny and Elkan 2002)
                  by scikit-learn: one per class in multi-label tasks, else one for all classes together, so that the
                  best class stays the best (Zhang et al. 2020, arXiv 2003.07329). It needs many clips

The first two are linear in the logits, so it makes no difference whether a clip's mean is taken before or after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit, logsumexp, softmax
from sklearn.isotonic import IsotonicRegression

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.calibration import known_targets
from hf_audio.models.logit_curves import MIN_RISE

SCALINGS = ("temperature", "vector", "isotonic")
MAX_TEMPERATURE = 100.0  # the minimum is its inverse
# Vector scaling: standard deviations of a normal prior on each class's slope (its logarithm, around the temperature's)
# and bias. Without it, a class whose few clips are perfectly separated would get an infinite slope.
SLOPE_STD, BIAS_STD = 0.5, 3.0
MAX_KNOTS = 256  # of a curve


@dataclass(frozen=True)
class Curves:
    """Rising piecewise linear curves.

    Attributes:
        knots: float64 `[curves, points]`, rising; shorter curves repeat their last point.
        values: float64 `[curves, points]`, the scaled logits there; beyond the ends the curve is flat.
    """

    knots: np.ndarray
    values: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """`[..., classes]`, scaled by one curve per class, or by the only one."""
        places = [min(index, len(self.knots) - 1) for index in range(logits.shape[-1])]
        columns = [
            np.interp(logits[..., index], self.knots[place], self.values[place]) for index, place in enumerate(places)
        ]
        return np.stack(columns, axis=-1) + MIN_RISE * logits


@dataclass(frozen=True)
class Scaling:
    """A fitted scaling from logits to calibrated ones.

    Attributes:
        kind: one of SCALINGS.
        labels: the classes, in the order of the logits.
        num_clips: number of clips that it was fitted on.
        slopes, biases: float64 `[classes]`: logits are multiplied by the slopes, then the biases are added.
        curves: applied after that, only for isotonic. In single-label tasks they act on log-probabilities.
        as_temperature: names of classes that are only scaled by the temperature, since all or none of the clips have
            them.
    """

    kind: str
    labels: LabelSpace
    num_clips: int
    slopes: np.ndarray
    biases: np.ndarray
    curves: Curves | None = None
    as_temperature: tuple[str, ...] = ()

    @property
    def temperature(self) -> float | None:
        """The number that logits are divided by; None for kinds other than temperature."""
        return float(1 / self.slopes[0]) if self.kind == "temperature" else None

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """Scaled logits, float64 `[..., classes]`, from logits of this shape."""
        scaled = np.asarray(logits, dtype=np.float64) * self.slopes + self.biases
        if self.curves is None:
            return scaled
        return self.curves(scaled if self.labels.is_multi_label else log_softmax(scaled, axis=-1))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 `[..., classes]`, from logits of this shape."""
        return self.labels.probabilities(self.logits(logits))

    def thresholds(self, thresholds: np.ndarray | float) -> np.ndarray:
        """The thresholds, float64 `[classes]`, that give the same decisions on the scaled probabilities as `thresholds`
        (`[classes]`, or one for all) give on the unscaled ones. Temperature maps one threshold to one threshold.

        Raises:
            ValueError: single-label tasks have no thresholds.
        """
        if not self.labels.is_multi_label:
            raise ValueError("thresholds are for multi-label tasks")
        before = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), len(self.labels))
        inside = np.clip(before, 1e-300, 1 - 1e-16)
        moved = self.labels.probabilities(self.logits(logit(inside)))
        return np.where((before > 0) & (before < 1), moved, before)

    def facts(self) -> dict[str, Any]:
        """The scaling as stored in a report and config.json."""
        facts: dict[str, Any] = {"kind": self.kind, "num_clips": self.num_clips}
        if self.kind == "temperature":
            return {**facts, "temperature": self.temperature}
        if self.kind == "vector":
            names = self.labels.names
            facts["slopes"] = dict(zip(names, self.slopes.tolist(), strict=True))
            facts["biases"] = dict(zip(names, self.biases.tolist(), strict=True))
        else:
            facts["temperature"] = float(1 / self.slopes[0])
            facts["num_knots"] = int(self.curves.knots.shape[1])
        return {**facts, "as_temperature": list(self.as_temperature)}


def fit_scaling(kind: str, logits: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> Scaling:
    """The scaling that maximizes the likelihood of validation clips. Never fit it on the clips that are evaluated.

    Args:
        kind: one of SCALINGS.
        logits: float64 `[clips, classes]`, the mean over the windows of each clip.
        targets: float32 `[clips, classes]`, NaN where unknown, which does not count.
        labels: the classes, and whether one or several apply.

    Raises:
        InputError: an unknown kind, shapes that do not match, no labeled clips, or clips without a best temperature:
            all are predicted correctly, or no better than by chance.
    """
    if kind not in SCALINGS:
        raise unknown_name("scaling", kind, SCALINGS)
    logits, known = _checked(logits, targets, labels)
    num_clips = int((~np.isnan(known)).any(axis=1).sum())
    slope = _inverse_temperature(logits, known, labels)
    slopes: np.ndarray = np.full(len(labels), slope)
    biases: np.ndarray = np.zeros(len(labels))
    if kind == "temperature":
        return Scaling(kind, labels, num_clips, slopes, biases)
    one_sided = _one_sided(known) if labels.is_multi_label else np.zeros(len(labels), dtype=bool)
    names = tuple(name for name, is_one in zip(labels.names, one_sided, strict=True) if is_one)
    if kind == "vector":
        own_slopes, own_biases = _vector(logits, known, labels, slope)
        slopes, biases = np.where(one_sided, slopes, own_slopes), np.where(one_sided, biases, own_biases)
        return Scaling(kind, labels, num_clips, slopes, biases, as_temperature=names)
    curves = _of_classes(slope * logits, known, one_sided) if labels.is_multi_label else _shared(slope * logits, known)
    return Scaling(kind, labels, num_clips, slopes, biases, curves, names)


def _checked(logits: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of the clips with a known label, float64 `[clips, classes]`."""
    logits, targets = np.asarray(logits, dtype=np.float64), np.asarray(targets)
    if logits.shape != targets.shape or logits.shape[1:] != (len(labels),):
        raise InputError(
            f"Found logits of shape {logits.shape} and targets of shape {targets.shape}: both must be "
            f"[clips, {len(labels)} classes]"
        )
    known = known_targets(targets, labels)
    rows = ~np.isnan(known).all(axis=1)
    if not rows.any():
        raise InputError("No validation clip has a known label, so there is nothing to fit the scaling on")
    return logits[rows], known[rows]


def _loss(logits: np.ndarray, known: np.ndarray, labels: LabelSpace) -> float:
    """Negative log-likelihood of all clips."""
    if labels.is_multi_label:
        return float(np.nansum(np.logaddexp(0, logits) - known * logits))
    return float((logsumexp(logits, axis=1) - np.where(known == 1, logits, 0).sum(axis=1)).sum())


def _slope_of_loss(logits: np.ndarray, known: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """The derivative of `_loss` with respect to each logit, 0 where the label is unknown."""
    found = expit(logits) if labels.is_multi_label else softmax(logits, axis=1)
    return np.nan_to_num(found - known)


def _inverse_temperature(logits: np.ndarray, known: np.ndarray, labels: LabelSpace) -> float:
    """The best factor for all logits. The loss is convex in it, so there is one minimum."""

    def loss(log_slope: float) -> float:
        return _loss(np.exp(log_slope) * logits, known, labels)

    most = np.log(MAX_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-7}).x
    if max(loss(-most), loss(most)) <= loss(found) + 1e-9 * len(logits):
        raise InputError(
            "No temperature can be fitted: all validation clips have the same score for all classes; train longer"
        )
    for end, reason in ((most, "are all predicted correctly"), (-most, "are predicted no better than by chance")):
        if loss(end) <= loss(found) + 1e-9 * len(logits):
            better = "smaller" if end > 0 else "larger"
            raise InputError(
                f"No temperature can be fitted: the {len(logits):,} validation clips {reason}, so a {better} "
                "temperature is always better; fit on more clips, or leave the scores unscaled"
            )
    return float(np.exp(found))


def _vector(logits: np.ndarray, known: np.ndarray, labels: LabelSpace, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """The most likely slopes and biases `[classes]`, given their prior around a common slope."""
    start = np.log(slope)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_slopes, biases = np.split(parameters, 2)
        slopes = np.exp(log_slopes)
        scaled = logits * slopes + biases
        by_logit = _slope_of_loss(scaled, known, labels)
        prior = ((log_slopes - start) / SLOPE_STD) ** 2 + (biases / BIAS_STD) ** 2
        by_slopes = (by_logit * logits).sum(axis=0) * slopes + (log_slopes - start) / SLOPE_STD**2
        by_biases = by_logit.sum(axis=0) + biases / BIAS_STD**2
        return _loss(scaled, known, labels) + prior.sum() / 2, np.concatenate([by_slopes, by_biases])

    first = np.concatenate([np.full(len(labels), start), np.zeros(len(labels))])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6 * len(logits)})
    log_slopes, biases = np.split(found.x, 2)
    return np.exp(log_slopes), biases


def _one_sided(known: np.ndarray) -> np.ndarray:
    """bool `[classes]`: classes that no clip is known to have, or that none is known to lack."""
    return ~((known == 1).any(axis=0) & (known == 0).any(axis=0))


def _of_classes(logits: np.ndarray, known: np.ndarray, one_sided: np.ndarray) -> Curves:
    """A curve per class, from its logit to the logit of its observed frequency."""
    curves = []
    for index, is_one_sided in enumerate(one_sided):
        rows = ~np.isnan(known[:, index])
        if is_one_sided:
            ends = np.array([-64.0, 64.0])  # beyond these, a sigmoid is 0 or 1
            curves.append((ends, (1 - MIN_RISE) * ends))
        else:
            curves.append(_curve(logits[rows, index], known[rows, index], logit))
    return _padded(curves)


def _shared(logits: np.ndarray, known: np.ndarray) -> Curves:
    """One curve for all classes, from log-probabilities to the logarithm of the observed frequency."""
    return _padded([_curve(log_softmax(logits, axis=1).ravel(), known.ravel(), np.log)])


def _curve(scores: np.ndarray, came_true: np.ndarray, scale) -> tuple[np.ndarray, np.ndarray]:
    """Knots, and `scale` of the frequency observed there, which is at least half an answer away from 0 and 1."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, came_true)
    margin = 0.5 / len(scores)
    knots, shares = fitted.X_thresholds_, np.clip(fitted.y_thresholds_, margin, 1 - margin)
    if len(knots) > MAX_KNOTS:
        kept = np.unique(np.linspace(0, len(knots) - 1, MAX_KNOTS).round().astype(np.int64))
        knots, shares = knots[kept], shares[kept]
    return knots, scale(shares)


def _padded(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> Curves:
    points = max(len(knots) for knots, _ in curves)
    knots, values = (
        np.stack([np.pad(one, (0, points - len(one)), "edge") for one in ones]) for ones in zip(*curves, strict=True)
    )
    return Curves(knots, values)

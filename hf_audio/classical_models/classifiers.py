"""One scikit-learn pipeline per class: creating, fitting, and converting outputs to logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import minimize_scalar
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from hf_audio.classical_models.window_vectors import WindowVectors
from hf_audio.data.index.labels import LabelSpace
from hf_audio.metrics import ClipScores

# Training time of an SVM is quadratic in the number of windows
MAX_WINDOWS = {"svm": 20_000, "boosting": 1_000_000}
MIN_LOGIT = -10.0  # for a class without training windows
MIN_SCALE, MAX_SCALE = 0.05, 50.0  # for decision values

Classifiers = dict[str, Pipeline]


def new_pipeline(classical_model: str, settings: Mapping[str, Any], num_windows: int, seed: int) -> Pipeline:
    """StandardScaler and a binary classifier for one class.

    "svm": SVC with an RBF kernel and balanced class weights. "boosting": gradient-boosted trees.
    """
    if classical_model == "svm":
        classifier = SVC(kernel="rbf", class_weight="balanced", cache_size=500, **settings)
    else:
        leaf_windows = min(20, max(1, num_windows // 20))
        classifier = HistGradientBoostingClassifier(
            min_samples_leaf=leaf_windows, early_stopping=False, random_state=seed, **settings
        )
    return Pipeline([("scaler", StandardScaler()), ("classifier", classifier)])


def fit_classifiers(
    classical_model: str,
    settings: Mapping[str, Any],
    windows: WindowVectors,
    labels: LabelSpace,
    *,
    seed: int,
    num_jobs: int,
) -> Classifiers:
    """One fitted pipeline per class, trained on the windows for which the class is known.

    A class that applies to all or none of these windows gets no pipeline. The result does not depend on `num_jobs`.
    """

    def fit(column: int) -> Pipeline | None:
        target = windows.targets[:, column]
        rows = ~np.isnan(target)
        if len(np.unique(target[rows])) < 2:
            return None
        pipeline = new_pipeline(classical_model, settings, int(rows.sum()), seed)
        return pipeline.fit(windows.inputs[rows].astype(np.float64), target[rows] > 0.5)

    # libsvm releases the GIL, so classes are fitted in threads; boosting uses its own threads
    threads_a_fit = 1 if classical_model == "svm" else num_jobs
    with threadpool_limits(threads_a_fit):
        jobs = Parallel(num_jobs // threads_a_fit, prefer="threads")
        fitted = jobs(delayed(fit)(column) for column in range(len(labels)))
    return {name: one for name, one in zip(labels.names, fitted, strict=True) if one is not None}


def decision_values(classifiers: Classifiers, inputs: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """float64 `[windows, classes]`, above 0 if a class is predicted; 0 for classes without a pipeline."""
    inputs = inputs.astype(np.float64)
    columns = [
        classifiers[name].decision_function(inputs) if name in classifiers else np.zeros(len(inputs))
        for name in labels.names
    ]
    return np.stack(columns, axis=1)


def calibrate(clips: ClipScores | None, classifiers: Classifiers, labels: LabelSpace) -> np.ndarray:
    """Calibration of decision values to logits: `scale * value + bias`, float64 `[classes, 2]`.

    It is fitted on clips of the validation split, so that sigmoid or softmax of the logits are probabilities.
    Multi-label: logistic regression per class (Platt 1999), or no change if validation has too few clips of a class.
    Single-label: one scale for all classes by maximum likelihood (Guo et al. 2017), which does not change the order.

    Args:
        clips: mean decision values of each clip; None for no calibration.
    """
    logits = np.tile([1.0, 0.0], (len(labels), 1))
    if clips is not None and labels.is_multi_label:
        logits = np.array([_platt(*column) for column in zip(clips.logits.T, clips.targets.T, strict=True)])
    elif clips is not None:
        logits[:, 0] = _temperature(clips, [name in classifiers for name in labels.names])
    for column, name in enumerate(labels.names):
        if name not in classifiers:
            logits[column] = 0.0, MIN_LOGIT
    return logits


def _platt(values: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    known = ~np.isnan(targets)
    values, true = values[known], targets[known] > 0.5
    deviation = values.std() if len(values) else 0.0
    if min(true.sum(), (~true).sum()) < 2 or deviation == 0:
        return 1.0, 0.0
    model = LogisticRegression().fit(values[:, None] / deviation, true)
    scale = float(model.coef_[0, 0]) / deviation
    if scale <= 0:  # may happen by chance with few clips, and would invert the decision
        return 1.0, 0.0
    return scale, float(model.intercept_[0])


def _temperature(clips: ClipScores, is_trained: list[bool]) -> float:
    values = clips.logits[:, is_trained]
    true = clips.targets[:, is_trained] > 0.5
    values, true = values[true.any(axis=1)], true[true.any(axis=1)]

    def surprise(log_scale: float) -> float:
        scaled = np.exp(log_scale) * values
        highest = scaled.max(axis=1)
        return float((highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) - scaled[true]).mean())

    if not len(values):
        return 1.0
    return float(np.exp(minimize_scalar(surprise, bounds=np.log((MIN_SCALE, MAX_SCALE)), method="bounded").x))

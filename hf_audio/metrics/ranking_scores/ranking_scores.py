"""Scores of rankings, without a threshold: average precision, ROC AUC and label ranking average precision."""

import datasets
import evaluate
import numpy as np
from sklearn import metrics

_DESCRIPTION = """
Measures how well scores rank clips (average precision and ROC AUC of each class) and classes (label ranking average
precision of each clip). For one or several labels per clip; no threshold is needed.
"""

_INPUTS = """
Args:
    predictions: list of float lists `[clips, classes]`, larger means more confident.
    references: list of 0/1 lists `[clips, classes]`, the ground truth; NaN where unknown. Each class is scored on the
        clips for which it is known, and each clip on its known classes.

Returns:
    mean_average_precision: mean of average_precision_per_class over the classes where it is defined (mAP).
    roc_auc_macro: mean of roc_auc_per_class over the classes where it is defined.
    lrap: label ranking average precision over the clips that have a label (with one label: mean reciprocal rank);
        clips with unknown classes count only if others are known to be absent, otherwise there is nothing to rank.
    average_precision_per_class: list; None for a class that never occurs in the references.
    roc_auc_per_class: list; None for a class that never or always occurs in the references.
    A mean without values is None.

Example:
    >>> scores = evaluate.load("ranking_scores")
    >>> scores.compute(predictions=[[0.9, 0.1], [0.8, 0.7]], references=[[1, 0], [0, 1]])["lrap"]
    0.75
"""

_CITATION = """
@article{scikit-learn, title={Scikit-learn: Machine Learning in Python}, author={Pedregosa, F. and Varoquaux, G. and
Gramfort, A. and others}, journal={Journal of Machine Learning Research}, volume={12}, pages={2825--2830}, year={2011}}
"""


class RankingScores(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float32")),
                }
            ),
        )

    def _compute(self, predictions, references):
        scores = np.asarray(predictions)
        references = np.asarray(references, dtype=np.float32)
        known = ~np.isnan(references)
        true = ((references > 0.5) & known).astype(np.int8)
        columns = [(is_true[rows], score[rows]) for is_true, score, rows in zip(true.T, scores.T, known.T, strict=True)]
        precisions = [
            float(metrics.average_precision_score(is_true, score)) if is_true.any() else None
            for is_true, score in columns
        ]
        areas = [
            float(metrics.roc_auc_score(is_true, score)) if 0 < is_true.sum() < len(is_true) else None
            for is_true, score in columns
        ]
        return {
            "mean_average_precision": _mean(precisions),
            "roc_auc_macro": _mean(areas),
            "lrap": _ranking_precision(true, scores, known),
            "average_precision_per_class": precisions,
            "roc_auc_per_class": areas,
        }


def _ranking_precision(true, scores, known):
    is_complete, has_absent = known.all(axis=1), (known & (true == 0)).any(axis=1)
    chosen = true.any(axis=1) & (is_complete | has_absent)
    if not chosen.any():
        return None
    scores = np.where(known, scores, scores.min() - 1)  # unknown classes come last, so they change no other rank
    return float(metrics.label_ranking_average_precision_score(true[chosen], scores[chosen]))


def _mean(values):
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None

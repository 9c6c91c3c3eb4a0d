"""Scores of rankings, free of any threshold: average precision, ROC AUC and label ranking average precision."""

import datasets
import evaluate
import numpy as np
from sklearn import metrics

_DESCRIPTION = """
How well scores order clips (average precision and ROC AUC of each class) and classes (label ranking average precision
of each clip). Works for one or several labels a clip; no threshold is involved.
"""

_INPUTS = """
Args:
    predictions: list of float lists `[clips, classes]`, larger means surer.
    references: list of 0/1 lists `[clips, classes]`, what is true.

Returns:
    mean_average_precision: mean of average_precision_per_class over the classes where it is defined (mAP).
    roc_auc_macro: mean of roc_auc_per_class over the classes where it is defined.
    lrap: label ranking average precision over the clips that have a label (with one label: mean reciprocal rank).
    average_precision_per_class: list; None for a class that never occurs in the references.
    roc_auc_per_class: list; None for a class that never or always occurs in the references.
    A mean is None where it has nothing to average.

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
                    "references": datasets.List(datasets.Value("int8")),
                }
            ),
        )

    def _compute(self, predictions, references):
        scores = np.asarray(predictions)
        true = np.asarray(references)
        precisions = [
            float(metrics.average_precision_score(true[:, index], scores[:, index])) if true[:, index].any() else None
            for index in range(true.shape[1])
        ]
        areas = [
            float(metrics.roc_auc_score(true[:, index], scores[:, index])) if 0 < true[:, index].mean() < 1 else None
            for index in range(true.shape[1])
        ]
        labelled = true.any(axis=1)
        lrap = None
        if labelled.any():
            lrap = float(metrics.label_ranking_average_precision_score(true[labelled], scores[labelled]))
        return {
            "mean_average_precision": _mean(precisions),
            "roc_auc_macro": _mean(areas),
            "lrap": lrap,
            "average_precision_per_class": precisions,
            "roc_auc_per_class": areas,
        }


def _mean(values):
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None

"""Scores of binary decisions per clip and class: accuracy, F1 (micro, macro, samples, per class) and Hamming loss."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Accuracy, F1 and Hamming loss of decisions, one 0 or 1 per clip and class. Single-label decisions are one-hot (the
class with the highest score); multi-label decisions use a threshold that was chosen on other data.

With clip scores averaged over the windows of an excerpt, `f1_micro` and `f1_macro` are the metrics of the IRMAS
protocol (Fuhrmann 2012; Bosch et al. 2012; Han et al. 2017): train on 3 s clips with one label, and decide with a
threshold on excerpts of 5 to 20 s with 1 to 5 labels.
"""

_INPUTS = """
Args:
    predictions: list of 0/1 lists `[clips, classes]`, the decisions.
    references: list of 0/1 lists `[clips, classes]`, the ground truth; NaN where unknown. Unknown clip-class pairs
        count neither as right nor as wrong.

Returns:
    accuracy: share of clips whose (known) classes are all correct.
    f1_micro: F1 over all clip-class pairs together.
    f1_macro: mean of f1_per_class over the classes that occur in the references.
    f1_samples: mean F1 over clips; a clip without classes counts as 1 if none was predicted.
    hamming_loss: share of wrong clip-class pairs.
    Clips without known classes are left out of accuracy and f1_samples. A mean without values is None.
    precision_per_class, recall_per_class, f1_per_class: lists; None for a class that never occurs in the references,
        0 if it occurs but was never predicted.
    support_per_class: number of clips of each class in the references.

Example:
    >>> scores = evaluate.load("decision_scores")
    >>> scores.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]])["f1_micro"]
    0.8
"""

_CITATION = """
@article{han2017deep, author={Han, Yoonchang and Kim, Jaehun and Lee, Kyogu}, title={Deep Convolutional Neural Networks
for Predominant Instrument Recognition in Polyphonic Music}, journal={IEEE/ACM Transactions on Audio, Speech, and
Language Processing}, volume={25}, number={1}, pages={208--221}, year={2017}}
@inproceedings{bosch2012comparison, author={Bosch, Juan J. and Janer, Jordi and Fuhrmann, Ferdinand and Herrera,
Perfecto}, title={A Comparison of Sound Segregation Techniques for Predominant Instrument Recognition in Musical Audio
Signals}, booktitle={ISMIR}, pages={559--564}, year={2012}}
@phdthesis{fuhrmann2012automatic, author={Fuhrmann, Ferdinand}, title={Automatic musical instrument recognition from
polyphonic music audio signals}, school={Universitat Pompeu Fabra}, year={2012}}
"""


class DecisionScores(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("int8")),
                    "references": datasets.List(datasets.Value("float32")),
                }
            ),
        )

    def _compute(self, predictions, references):
        references = np.asarray(references, dtype=np.float32)
        known = ~np.isnan(references)
        decided = np.asarray(predictions, dtype=bool) & known
        true = (references > 0.5) & known
        hits = decided & true
        support = true.sum(axis=0)
        precision = _ratio(hits.sum(axis=0), decided.sum(axis=0))
        recall = _ratio(hits.sum(axis=0), support)
        f1 = _ratio(2 * hits.sum(axis=0), decided.sum(axis=0) + support)
        f1_of_clips = _ratio(2 * hits.sum(axis=1), decided.sum(axis=1) + true.sum(axis=1), of_nothing=1.0)
        occurs, is_known = support > 0, known.any(axis=1)
        return {
            "accuracy": _mean((decided == true).all(axis=1)[is_known]),
            "f1_micro": float(_ratio(2 * hits.sum(), decided.sum() + true.sum())),
            "f1_macro": _mean(f1[occurs]),
            "f1_samples": _mean(f1_of_clips[is_known]),
            "hamming_loss": _mean((decided != true)[known]),
            "precision_per_class": _defined(precision, occurs),
            "recall_per_class": _defined(recall, occurs),
            "f1_per_class": _defined(f1, occurs),
            "support_per_class": [int(count) for count in support],
        }


def _ratio(part, whole, of_nothing=0.0):
    return np.where(whole > 0, part / np.maximum(whole, 1), of_nothing)


def _mean(values):
    return float(values.mean()) if values.size else None


def _defined(values, where):
    return [float(value) if defined else None for value, defined in zip(values, where, strict=True)]

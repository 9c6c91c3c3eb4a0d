"""The meaning of scores, for readers who do not know the metrics."""

from __future__ import annotations

TERMS = {
    "Accuracy": "the share of clips whose prediction is entirely correct.",
    "Precision": "of the clips predicted to have a class, the share that has it.",
    "Recall": "of the clips that have a class, the share predicted to have it.",
    "F1": "the harmonic mean of precision and recall: at most 1, and low if either is low. Micro F1 counts all classes "
    "together, macro F1 is the mean over classes, samples F1 the mean over clips.",
    "Average precision, mAP": "how well the scores rank the clips of a class above the others, over all thresholds; "
    "mAP is the mean over classes.",
    "ROC AUC": "how often a clip with the class is scored higher than one without it; 0.5 is random guessing.",
    "LRAP": "label ranking average precision: how well the true classes of each clip are ranked above the others.",
    "Hamming loss": "the share of wrong decisions over all clips and classes; smaller is better.",
    "Interval": "a confidence interval: the range in which the score would probably lie on other clips of the same "
    "kind. Two models with overlapping intervals may still differ significantly, because they were evaluated on the "
    "same clips; see the comparison.",
    "Group": "clips that belong together, such as those from one recording, song or speaker.",
    "Threshold": "the score from which a class is predicted.",
    "Calibration, ECE": "whether predictions made with a probability of 80% are correct 80% of the time. The expected "
    "calibration error (ECE) is the average gap between the two; 0 is perfect.",
    "Class-prior baseline": "the same prediction for every clip: the frequency of each class.",
}
_OF_VALUE = {
    "accuracy": "{percent} of 100 clips are classified correctly.",
    "f1_micro": "A score of 1 means that every class was found and nothing else predicted.",
    "f1_macro": "A score of 1 means that every class was found and nothing else predicted. All classes count equally, "
    "including rare ones.",
    "f1_samples": "A score of 1 means that every class of every clip was found and nothing else predicted.",
    "mean_average_precision": "A score of 1 means that all clips of a class are ranked above all others.",
    "roc_auc_macro": "A clip with a class is scored higher than one without it {percent} times out of 100.",
    "lrap": "A score of 1 means that the true classes of every clip are ranked above the others.",
    "hamming_loss": "Of 100 decisions, each on one class of one clip, {percent} are wrong.",
}


def metric_words(metric: str, value: float | None) -> str:
    """The meaning of a metric's value, as one sentence."""
    if value is None:
        return "It is undefined here: no clip is known to have any of the classes."
    return _OF_VALUE[metric].format(percent=f"{100 * value:.0f}")

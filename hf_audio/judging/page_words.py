"""What scores say, in words for who does not compute them."""

from __future__ import annotations

TERMS = {
    "Accuracy": "share of clips of which everything was decided right.",
    "Precision": "of the clips that were said to have a class, the share that has it.",
    "Recall": "of the clips that have a class, the share that was said to have it.",
    "F1": "precision and recall in one number, 1 at best, low where either is low. Micro: over all classes together; "
    "macro: mean of the classes; samples: mean of the clips.",
    "Average precision, mAP": "how well scores sort the clips of a class before the others, whatever the threshold; "
    "mAP is the mean of the classes.",
    "ROC AUC": "how often a clip of a class is scored higher than one without it; 0.5 is guessing.",
    "LRAP": "how well each clip's true classes are sorted before its others.",
    "Hamming loss": "share of wrong decisions, class by class; smaller is better.",
    "Interval": "where the score would probably lie with other clips of the same kind. Two models whose intervals "
    "overlap may still differ surely, since they heard the same clips: the comparison says so.",
    "Group": "clips that belong together, such as those of one recording, song or speaker.",
    "Threshold": "from which score on a class is said to be there.",
    "Calibration, ECE": "whether answers given with 80% come true 8 times in 10; ECE is how far off that is on "
    "average, 0 at best.",
    "Class-prior baseline": "answering every clip alike, by how frequent each class is.",
}
_OF_VALUE = {
    "accuracy": "That is: of 100 clips, {percent} are answered right.",
    "f1_micro": "1 would be every class found and nothing else said, 0 nothing right.",
    "f1_macro": "1 would be every class found and nothing else said; each class counts alike, rare ones too.",
    "f1_samples": "1 would be every class found in every clip and nothing else said.",
    "mean_average_precision": "1 would be every clip of a class scored before all others.",
    "roc_auc_macro": "That is: a clip with a class is scored higher than one without it {percent} times in 100.",
    "lrap": "1 would be the true classes of every clip before its others.",
    "hamming_loss": "That is: of 100 decisions on single classes, {percent} are wrong.",
}


def metric_words(metric: str, value: float | None) -> str:
    """What a value of a metric says, in a sentence."""
    if value is None:
        return "It is undefined here: no clip is known to have any of the classes."
    return _OF_VALUE[metric].format(percent=f"{100 * value:.0f}")

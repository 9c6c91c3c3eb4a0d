"""Divides a label into finer ones, by k-means that starts from clips of another corpus.

Clips of the label become vectors. The centers start at the class means of the other corpus and then move to the clips
of the label. Clips that are clearly nearer to one center get its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from hf_audio.data.index.label_overrides import LEAVE_OUT, overrides_text
from hf_audio.data.loading.features_dataset import FeatureDataset, check_same_extractor
from hf_audio.data.tables import names_cell
from hf_audio.errors import InputError
from hf_audio.figures.figures import new_figure, short_name
from hf_audio.files import write_atomically
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.metrics import mean_of_clips

NUM_FOLDS = 5
MIN_CLIPS = 10


@dataclass(frozen=True)
class LabelClusters:
    """The clips of one label, divided into finer labels.

    Attributes:
        label, names: the label, and the finer labels.
        clips: all clips with the label.
        vectors: float `[clips, numbers]`, standardized.
        clusters: int `[clips]`, indices of `names`.
        margins: float `[clips]`, from 0 (equally near to another center) to 1 (at its own center).
        kept: bool `[clips]`, the share of each cluster with the largest margins.
        centers: float `[names, numbers]`, the final centers.
        reference_vectors, reference_clusters: the labeled clips of the other corpus.
        accuracy: share of the other corpus's clips that are assigned correctly, with the clip's group left out of the
            initial centers; None if they are all in one group.
        chance: the accuracy of always choosing the most frequent name.
    """

    label: str
    names: tuple[str, ...]
    clips: ClipTable
    vectors: np.ndarray
    clusters: np.ndarray
    margins: np.ndarray
    kept: np.ndarray
    centers: np.ndarray
    reference_vectors: np.ndarray
    reference_clusters: np.ndarray
    accuracy: float | None
    chance: float

    def verdict(self) -> str:
        """Whether the clusters can be trusted, as one sentence."""
        if self.accuracy is None:
            return "The clusters cannot be verified, because all clips of the reference are in one group."
        found = f"The clusters assign {self.accuracy:.0%} of the reference clips in held-out groups correctly"
        limit = (self.chance + 1) / 2
        warning = "" if self.accuracy >= limit else ": do not trust them; try --model with a network for such sounds"
        return f"{found} (always choosing the most frequent: {self.chance:.0%}){warning}."


def subdivide_label(
    features: FeatureDataset,
    label: str,
    reference: FeatureDataset,
    names: Sequence[str],
    *,
    reference_labels: Sequence[str] | None = None,
    network: str | None = None,
    keep: float = 0.5,
    token: str | None = None,
) -> LabelClusters:
    """Divides the clips of one label, using clips of another corpus that has the finer labels.

    Args:
        features: the corpus with the label.
        reference: features of the other corpus, made by the same extractor. Clips with several of the finer labels are
            not used.
        names: the finer labels.
        reference_labels: their names in the other corpus, in the same order; by default the same.
        network: compare embeddings of this network, a run folder or a Hub name, instead of window statistics.
        keep: share of each cluster to keep, with the largest margins.

    Raises:
        InputError: unknown labels, other features, too few clips, or an invalid share.
    """
    reference_labels = list(reference_labels or names)
    _check(features, label, reference, names, reference_labels, keep)
    clips = _having(clips_of(features, list(features.splits)), features.labels.indices([label]))
    columns = [reference.labels.label2id[name] for name in reference_labels]
    found = _having(clips_of(reference, list(reference.splits)), columns)
    known = np.nan_to_num(found.targets)[:, columns].argmax(axis=1)
    min_clips = np.bincount(known, minlength=len(names)).min()
    if len(clips.rows) < MIN_CLIPS or min_clips < 2:
        raise InputError(
            f"{len(clips.rows)} clips have the label {label!r}, and the rarest class of the reference has {min_clips}: "
            f"clusters need at least {MIN_CLIPS} clips of the label and 2 of each class"
        )
    vectors = [_clip_vectors(*pair, network, token) for pair in ((features, clips), (reference, found))]
    scaler = StandardScaler().fit(np.concatenate(vectors))
    own, others = (scaler.transform(one) for one in vectors)
    means = _means(others, known, len(names))
    kmeans = KMeans(len(names), init=means, n_init=1).fit(own)
    distances = np.sort(kmeans.transform(own), axis=1)
    margins = 1 - distances[:, 0] / np.maximum(distances[:, 1], 1e-12)
    return LabelClusters(
        label=label,
        names=tuple(names),
        clips=clips,
        vectors=own,
        clusters=kmeans.labels_,
        margins=margins,
        kept=_with_largest_margins(margins, kmeans.labels_, keep),
        centers=kmeans.cluster_centers_,
        reference_vectors=others,
        reference_clusters=known,
        accuracy=_held_out_accuracy(own, others, known, found.groups, len(names)),
        chance=float(np.bincount(known).max() / len(known)),
    )


def write_subdivide_label(split: LabelClusters, features: FeatureDataset, path: str | Path) -> Path:
    """Writes the corrections that `--label_overrides` reads.

    If a clip is not kept, its new class is unclear: in multi-label data the new classes are unknown, otherwise the clip
    is left out. If it is unknown whether a clip has the label, the new classes are unknown too.

    Returns:
        `path`, whose folder is created if needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for row, cluster, margin, kept in zip(split.clips.rows, split.clusters, split.margins, split.kept, strict=True):
        name = split.names[cluster]
        labels, unknown = list(row["labels"]), list(row["unknown"])
        labels.remove(split.label)
        if kept:  # the name may already be a class of the corpus
            labels, unknown = [*labels, name], [one for one in unknown if one != name]
        else:
            unknown += [one for one in split.names if one not in labels and one not in unknown]
        written = _written(row["clip_id"], dict.fromkeys(labels), unknown)
        written["label"] = name if kept else LEAVE_OUT
        rows.append({**written, "margin": f"{margin:.3f}", "reason": f"{split.label} near {name}"})
    if not features.labels.is_multi_label:
        write_atomically(path, overrides_text(rows, ("clip_id", "label", "margin", "reason")))
        return path
    column = features.labels.label2id[split.label]
    everything = clips_of(features, list(features.splits))
    for row, target in zip(everything.rows, everything.targets[:, column], strict=True):
        if np.isnan(target):
            labels, unknown = row["labels"], [one for one in row["unknown"] if one != split.label]
            unknown += [one for one in split.names if one not in labels and one not in unknown]
            rows.append({**_written(row["clip_id"], labels, unknown), "reason": f"{split.label} is unknown"})
    write_atomically(path, overrides_text(rows, ("clip_id", "labels", "unknown", "margin", "reason")))
    return path


def _written(clip_id: str, labels: Iterable[str], unknown: Iterable[str]) -> dict[str, str]:
    return {"clip_id": clip_id, "labels": names_cell(labels), "unknown": names_cell(unknown)}


def plot_subdivide_label(split: LabelClusters) -> Figure:
    """The clips, the reference and the centers on the two principal components of all of them."""
    components = PCA(2).fit(np.concatenate([split.vectors, split.reference_vectors]))
    clips, reference, centers = map(components.transform, (split.vectors, split.reference_vectors, split.centers))
    figure, axes = new_figure(7.5, 6)
    for number, name in enumerate(split.names):
        color, members = f"C{number}", split.clusters == number
        kept, others = members & split.kept, members & ~split.kept
        text = f"{short_name(name)}: {kept.sum()} of {members.sum()} kept"
        axes.scatter(*clips[kept].T, s=18, color=color, label=text)
        axes.scatter(*clips[others].T, s=14, facecolors="none", edgecolors=color, alpha=0.4)
        known = reference[split.reference_clusters == number]
        axes.scatter(*known.T, s=22, marker="x", lw=1, color=color, alpha=0.7, label=f"reference, {len(known)} clips")
        axes.scatter(*centers[number], s=160, marker="*", color=color, edgecolors="black", zorder=3)
    shares = components.explained_variance_ratio_
    axes.set(xlabel=f"first component ({shares[0]:.0%} of the variance)", ylabel=f"second ({shares[1]:.0%})")
    axes.set_title(f"{short_name(split.label)}, divided (stars: centers; hollow: undecided)")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _check(
    features: FeatureDataset,
    label: str,
    reference: FeatureDataset,
    names: Sequence[str],
    reference_labels: Sequence[str],
    keep: float,
) -> None:
    features.labels.indices([label])
    reference.labels.indices(reference_labels)
    if len(names) < 2 or len(set(names)) != len(names) or len(names) != len(reference_labels):
        raise InputError(
            f"--into has {len(names)} names and the reference has {len(reference_labels)} labels; expected the same "
            "number of both, at least two, all different"
        )
    if label in names:
        raise InputError(f"--into has {label!r}, the label to be divided: give the finer labels other names")
    if not 0 < keep <= 1:
        raise InputError(f"--keep must be above 0 and at most 1, found {keep:g}: try 0.5")
    try:
        check_same_extractor(reference.extractor, features.extractor)
    except InputError:
        raise InputError(
            f"{features.source} has {features.kind.name} features and {reference.source} has {reference.kind.name}, or "
            "their settings differ: build both with the same features"
        ) from None


def _having(clips: ClipTable, columns: Sequence[int]) -> ClipTable:
    """The clips that have exactly one of some classes."""
    chosen = np.flatnonzero((clips.targets[:, columns] == 1).sum(axis=1) == 1)
    return ClipTable([clips.rows[number] for number in chosen], clips.targets[chosen])


def _clip_vectors(features: FeatureDataset, clips: ClipTable, network: str | None, token: str | None) -> np.ndarray:
    vectors, clip_of_window = window_vectors(features, clips.clip_ids, network, token=token)
    return mean_of_clips(vectors, clip_of_window, len(clips.rows))


def _means(vectors: np.ndarray, clusters: np.ndarray, num_clusters: int) -> np.ndarray:
    return np.stack([vectors[clusters == number].mean(axis=0) for number in range(num_clusters)])


def _with_largest_margins(margins: np.ndarray, clusters: np.ndarray, keep: float) -> np.ndarray:
    """The share of each cluster with the largest margins, at least one clip."""
    kept = np.zeros(len(margins), dtype=bool)
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        by_margin = members[np.argsort(-margins[members], kind="stable")]
        kept[by_margin[: max(1, round(keep * len(members)))]] = True
    return kept


def _held_out_accuracy(
    vectors: np.ndarray, reference: np.ndarray, known: np.ndarray, groups: np.ndarray, num_clusters: int
) -> float | None:
    """Accuracy on the reference, with clusters that start from the clips of other groups."""
    num_folds = min(NUM_FOLDS, len(np.unique(groups)))
    right = []
    for train, held_out in GroupKFold(num_folds).split(reference, groups=groups) if num_folds > 1 else ():
        if len(np.unique(known[train])) == num_clusters:
            kmeans = KMeans(num_clusters, init=_means(reference[train], known[train], num_clusters), n_init=1)
            right.append(kmeans.fit(vectors).predict(reference[held_out]) == known[held_out])
    return float(np.concatenate(right).mean()) if right else None

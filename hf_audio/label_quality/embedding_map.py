"""A map of a feature dataset's clips with sound, and findings from their nearest neighbors: a page and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.tables import csv_text, names_cell
from hf_audio.errors import InputError
from hf_audio.figures.embedding_map import MAX_POINTS, Listed, MapPoints, map_page
from hf_audio.figures.projections import lay_out, principal_components, require_methods
from hf_audio.files import results_in, write_atomically
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.label_quality.neighbors import (
    NeighborhoodClips,
    Neighbors,
    Seen,
    groups_told_apart,
    nearest,
    of_another_class,
    of_one_other_group,
    same_sound,
)
from hf_audio.label_quality.sounds import sound_addresses
from hf_audio.metrics import mean_of_clips
from hf_audio.privacy import public_name
from hf_audio.stored_scores import read_scores

EXPLANATIONS = {
    "labels": (
        "Neighbors of another class",
        "Nearly all of the nearest clips in other groups share another class: the clip's labels may be wrong.",
    ),
    "copies": (
        "The same sound?",
        "Two clips of different groups, much closer than such clips usually are. If they are in two splits, it is a "
        "leak.",
    ),
    "groups": (
        "In another group?",
        "The clip is surrounded by another group: it may belong to that group, and is a leak if their splits differ.",
    ),
    "clusters": (
        "Groups that form clusters",
        "The clips of each group are closer than their classes explain: keep each of these groups in one split.",
    ),
}
NUM_NAMED = {"labels": 1, "copies": 2, "groups": 1, "clusters": 0}
COLUMNS = ("list", "clip_id", "others", "text")


def write_embedding_map(
    features: FeatureDataset,
    folder: str | Path,
    *,
    model: str | None = None,
    scores: Sequence[str | Path] = (),
    data_dir: str | Path | None = None,
    projections: Sequence[str] = ("pca", "tsne"),
    splits: Sequence[str] | None = None,
    max_clips: int = MAX_POINTS,
    seed: int = 0,
    token: str | None = None,
) -> dict[str, int]:
    """Writes index.html and neighbors.csv into `folder`.

    A clip is the mean of its windows' vectors. Neighbors are the nearest clips in the space of principal components.

    Args:
        model: a network for embeddings; by default means and standard deviations of the features are used.
        scores: run folders or their scores/clips.parquet, to mark the clips that were classified correctly. If there
            are several, only the split that each was evaluated on counts.
        data_dir: the folder of the recordings, which the page plays from there.
        projections: names in METHODS, one map each.
        splits: the splits to show; by default all.
        max_clips: maximum number of clips, at most MAX_POINTS; if there are more, this many are drawn at random.

    Returns:
        The number of clips shown and in total, and the length of each list.

    Raises:
        InputError: an unknown projection or split, a missing library, too few clips, scores of other clips, or no
            folder of recordings.
    """
    require_methods(projections)
    if not projections or not 0 < max_clips <= MAX_POINTS:
        found = f"--clips {max_clips}" if projections else "no projection"
        raise InputError(f"Found {found}; a map needs at least one projection and 1 to {MAX_POINTS:,} clips")
    clips = clips_of(features, list(splits or features.splits))
    kept = _drawn(clips, max_clips, seed)
    decided = _decided_for(kept, scores, features.labels)
    folder = Path(folder)
    sounds = sound_addresses(kept.rows, data_dir, folder) if data_dir else {}
    components = principal_components(_vectors(features, kept, model, token), seed)
    about = NeighborhoodClips(
        [tuple(row["labels"]) for row in kept.rows], kept.groups.tolist(), [row["split"] for row in kept.rows]
    )
    of_all, seen = _seen(about, components.values)
    points = _points(kept, about, sounds, decided, of_all)
    source = f"embeddings of {public_name(model)}" if model else f"means and standard deviations of {features.name}"
    maps = [lay_out(components, method, seed) for method in projections]
    title = f"{len(kept.rows):,} clips of {features.name}"
    notes = [f"Each point is a clip: {source}.", *_notes(kept, clips, decided, sounds, bool(scores), bool(data_dir))]
    with results_in(folder):
        write_atomically(folder / "neighbors.csv", csv_text([COLUMNS, *_rows(seen, kept)]))
        write_atomically(folder / "index.html", map_page(title, notes, points, maps, _lists(seen)))
    return {"shown": len(kept.rows), "of": len(clips.rows)} | {name: len(found) for name, found in seen.items()}


def _seen(about: NeighborhoodClips, vectors: np.ndarray) -> tuple[Neighbors, dict[str, list[Seen]]]:
    """The nearest neighbors among all clips, and the findings of each list."""
    of_all, others = nearest(vectors, about.group_numbers)
    return of_all, {
        "labels": of_another_class(about, others),
        "copies": same_sound(about, others),
        "groups": of_one_other_group(about, of_all),
        "clusters": groups_told_apart(about, of_all),
    }


def _points(
    kept: ClipTable,
    about: NeighborhoodClips,
    sounds: dict[str, str],
    decided: list[list[str] | None],
    neighbors: Neighbors,
) -> MapPoints:
    """The clips as points of the page, which has their facts, addresses of their sounds, decisions and neighbors."""
    return MapPoints(
        kept.clip_ids,
        about.groups,
        about.splits,
        about.labels,
        [row["unknown"] for row in kept.rows],
        [sounds.get(clip_id, "") for clip_id in kept.clip_ids],
        decided,
        neighbors.places,
    )


def _lists(seen: dict[str, list[Seen]]) -> list[Listed]:
    return [
        Listed(*EXPLANATIONS[name], [(one.clips, one.text) for one in found], NUM_NAMED[name])
        for name, found in seen.items()
    ]


def _drawn(clips: ClipTable, max_clips: int, seed: int) -> ClipTable:
    """All clips or, if there are too many, `max_clips` of them drawn at random, in their order."""
    if len(clips.rows) <= max_clips:
        return clips
    rows = np.sort(np.random.default_rng(seed).choice(len(clips.rows), max_clips, replace=False))
    return ClipTable([clips.rows[row] for row in rows.tolist()], clips.targets[rows])


def _decided_for(clips: ClipTable, scores: Sequence[str | Path], labels: LabelSpace) -> list[list[str] | None]:
    """The decisions for each clip, None where there are none.

    Raises:
        InputError: the scores cover none of the clips, or an error of `_decided`.
    """
    decisions = _decided(scores, labels)
    found = [decisions.get(clip_id) for clip_id in clips.clip_ids]
    if scores and not any(one is not None for one in found):
        raise InputError(
            f"None of the {len(found)} clips is in {', '.join(map(str, scores))}: give scores of a model that was "
            "evaluated on them, or leave --scores out"
        )
    return found


def _decided(scores: Sequence[str | Path], labels: LabelSpace) -> dict[str, list[str]]:
    """The decisions for each clip: of one model for all clips, of several for the clips that each was tested on."""
    found: dict[str, list[str]] = {}
    for path in scores:
        stored = read_scores(path)
        if other := sorted(set(stored.labels.names) ^ set(labels.names)):
            raise InputError(
                f"{path} has other classes than these clips ({other[0]!r} is only in one of them): give scores of a "
                f"model with the classes {', '.join(labels.names[:8])}"
            )
        for clip_id, split, decided in zip(stored.clip_ids, stored.splits, stored.decided, strict=True):
            if len(scores) > 1 and split != stored.evaluated_split:
                continue
            if clip_id in found:
                raise InputError(f"Both {path} and another run were tested on clip {clip_id!r}: give one run per fold")
            found[clip_id] = decided
    return found


def _vectors(features: FeatureDataset, clips: ClipTable, model: str | None, token: str | None) -> np.ndarray:
    vectors, clip_of_window = window_vectors(features, clips.clip_ids, model, token=token)
    return mean_of_clips(vectors, clip_of_window, len(clips.rows)).astype(np.float32)


def _notes(
    kept: ClipTable,
    clips: ClipTable,
    decided: Sequence[object],
    sounds: dict[str, str],
    has_scores: bool,
    has_data: bool,
) -> list[str]:
    """Notes on what the map lacks."""
    notes = []
    if len(kept.rows) < len(clips.rows):
        notes.append(f"This map shows {len(kept.rows):,} of {len(clips.rows):,} clips, drawn at random.")
    if has_scores and (lacking := sum(one is None for one in decided)):
        notes.append(f"{lacking:,} clips have no scores.")
    if not has_data:
        notes.append("Clips cannot be played, because --data_dir was not given.")
    elif lacking := len(kept.rows) - len(sounds):
        notes.append(f"The recordings of {lacking:,} clips were not found.")
    return notes


def _rows(seen: dict[str, list[Seen]], clips: ClipTable) -> list[tuple[str, ...]]:
    """The rows of neighbors.csv: the clip in question and those it is compared with; for groups, their clips."""
    ids = clips.clip_ids
    return [
        (EXPLANATIONS[name][0], ids[one.clips[0]], names_cell(ids[clip] for clip in one.clips[1:]), one.text)
        for name, found in seen.items()
        for one in found
    ]

"""Stored scores, in the same Parquet files as for runs: FOLDER/scores/clips.parquet and windows.parquet.

They can be evaluated again without the model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import places_of
from hf_audio.data.loading.about_clips import OWN
from hf_audio.errors import InputError
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.scoring import ScoredModel
from hf_audio.metrics import WindowScores
from hf_audio.stored_scores import CLIPS, FOLDER, WINDOWS, StoredScores, read_logits, read_scores, write_scores

TOLERANCE = 1e-3  # between means of float32 logits that were computed in different ways


def write_judged(folder: Path, scored: ScoredModel, split: str) -> None:
    """Writes the scores of a model.

    Args:
        folder: `scores/` is created in it.
        split: the evaluated split.

    Raises:
        InputError: a name contains a token.
    """
    judged = scored.judged
    splits = dict.fromkeys(judged.clips["split"].to_pylist())
    windows = {one: _window_scores(judged.of_split(one)) for one in splits}
    about = judged.clips.select([name for name in judged.clips.column_names if name not in ("group", "split")])
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder, windows, judged.labels, scored.threshold, split, about)


def read_judged(path: str | Path, name: str | None = None) -> tuple[ScoredModel, str]:
    """Reads the scores of a model and the name of the evaluated split. The files may be untrusted.

    Args:
        path: a run folder, or its scores/clips.parquet, with windows.parquet in the same folder.
        name: name of the model; by default that of the folder.

    Raises:
        InputError: files of another kind, or two that do not belong together.
    """
    path = Path(path)
    clips_file = path / FOLDER / CLIPS if path.is_dir() else path
    stored = read_scores(clips_file)
    windows = read_logits(clips_file.with_name(WINDOWS), str(clips_file.with_name(WINDOWS)))
    name = name or clips_file.absolute().parents[1].name
    places = places_of(pa.array(windows.clip_ids, pa.string()), stored.clip_ids)
    order = np.argsort(places, kind="stable")
    if windows.labels != stored.labels or len(places) == 0 or places.min() < 0:
        raise _apart(clips_file)
    judged = JudgedClips(
        name,
        stored.labels,
        _clips(stored),
        _targets(stored),
        windows.logits[order],
        places[order].astype(np.int64),
        windows.starts_s[order],
    )
    _check_means(judged, stored, clips_file)
    threshold = 0.5 if stored.threshold is None else float(stored.threshold)
    facts = {
        "commit": None,
        "decision_threshold": stored.threshold,
        "classes": {one: [one] for one in stored.labels.names},
    }
    return ScoredModel(judged, threshold, facts, ()), stored.evaluated_split


def _window_scores(judged: JudgedClips) -> WindowScores:
    rows = judged.clip_of_window
    clip_ids, groups = (np.array(judged.clips[name].to_pylist(), dtype=object)[rows] for name in ("clip_id", "group"))
    targets = judged.targets[rows]
    return WindowScores(clip_ids, groups, rows, judged.window_starts_s, judged.window_logits, targets)


def _clips(stored: StoredScores) -> pa.Table:
    known = {name: stored.about[name] for name in stored.about.column_names}
    columns = {"clip_id": stored.clip_ids, "group": stored.groups, "split": stored.splits}
    columns["duration_s"] = known.pop("duration_s", pa.nulls(len(stored.clip_ids), pa.float64()))
    return pa.table({**columns, **{name: column for name, column in known.items() if name not in OWN}})


def _targets(stored: StoredScores) -> np.ndarray:
    indices = stored.labels.indices
    pairs = zip(stored.given, stored.unknown, strict=True)
    return np.stack([stored.labels.multi_hot(indices(given), indices(unknown)) for given, unknown in pairs])


def _check_means(judged: JudgedClips, stored: StoredScores, path: Path) -> None:
    """Refuses windows from another run than the clips: the logits of a clip must be the mean of its windows."""
    counts = np.bincount(judged.clip_of_window, minlength=len(judged))
    if not counts.all():
        raise _apart(path)
    sums = np.add.reduceat(judged.window_logits.astype(np.float64), np.cumsum(counts) - counts, axis=0)
    if not np.allclose(sums / counts[:, None], stored.logits, atol=TOLERANCE, rtol=TOLERANCE):
        raise _apart(path)


def _apart(path: Path) -> InputError:
    return InputError(f"{path} and the {WINDOWS} next to it do not match: give both files from the same run")

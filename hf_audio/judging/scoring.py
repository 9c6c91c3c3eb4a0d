"""Runs a model on stored features or recordings, and returns its scores for all windows as `JudgedClips`.

    model = load_model("someone/ast-irmas")
    scored = score(model, features_data("USER/irmas-fbank").chosen("test"))
    scored.judged, scored.told

Any model that AutoModelForAudioClassification loads can be used, ours or stock, from a folder or the Hub, with its
extractor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import places_of
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.about_clips import about_clips, about_stored_clips
from hf_audio.errors import InputError
from hf_audio.judging.class_mapping import ClassMapping, GivenMap, map_classes
from hf_audio.judging.evaluation_data import ALL, VALIDATION, EvaluationData, judged_columns, targets_of
from hf_audio.judging.heard_clips import heard_clips
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name


class Windows(NamedTuple):
    """A model's logits for the windows of clips, in the model's own classes.

    Attributes:
        logits: float32 `[windows, model's classes]`.
        clip_of_window: int64 `[windows]`, rows of the clips, ascending.
        starts_s: float64 `[windows]`, in the recording.
        about: a row per clip, see `about_clips`.
        told: notes on clips that could not be scored, one sentence each.
    """

    logits: np.ndarray
    clip_of_window: np.ndarray
    starts_s: np.ndarray
    about: pa.Table
    told: tuple[str, ...] = ()


class ScoredModel(NamedTuple):
    """A model's scores, and how they were computed.

    Attributes:
        judged: the clips of the evaluated split, and of validation if there is one.
        threshold: the model's own decision threshold, for multi-label tasks.
        facts: for the report, ready for JSON: the model's commit, windows, and its classes for each evaluated class.
        told: notes for readers, one sentence each.
        of_logits: the model's logits `[windows, model's classes]` → those of the evaluated classes; None for stored
            scores.
    """

    judged: JudgedClips
    threshold: float
    facts: dict[str, Any]
    told: tuple[str, ...]
    of_logits: Callable[[np.ndarray], np.ndarray] | None = None


def load_model(model: str, name: str | None = None, **options: Any) -> Predictor:
    """Loads a trained classifier.

    Args:
        model: a run folder, or a model's name on the Hub.
        name: name in tables; by default the public one, without local paths.
        options: arguments of `Predictor.load`.

    Raises:
        InputError: no such model, or one without a trained head.
    """
    predictor = Predictor.load(model, **options)
    predictor.name = name or public_name(model)
    if predictor.untrained:
        raise InputError(
            f"{predictor.name} has no trained classifier (no {predictor.untrained[0]} among its weights): fine-tune it "
            "first"
        )
    return predictor


def score(
    predictor: Predictor,
    data: EvaluationData,
    *,
    given: GivenMap | None = None,
    window_s: float | None = None,
    hop_s: float | None = None,
    num_threads: int | None = None,
    token: str | None = None,
) -> ScoredModel:
    """A model's scores on data, in the classes of the data.

    Args:
        data: one split, see `EvaluationData.chosen`.
        given: the entries of a label map for this model; other classes are mapped by name.
        window_s, hop_s: for recordings, other windows than the model was trained on.
        num_threads: number of threads that read recordings; by default one per core.
        token: Hub token, for recordings there.

    Raises:
        InputError: see `map_classes`; features that the model cannot read, or window settings for stored features; no
            readable recording; scores that are not finite.
    """
    mapping = map_classes(predictor.labels, data.labels, given, model=predictor.name, data=data.name)
    settings: dict[str, Any] = {"window_s": window_s, "hop_s": hop_s, "num_threads": num_threads, "token": token}
    clips, windows, cut = windows_of(predictor, data, **settings)
    judged, told = judged_clips(predictor.name, mapping, predictor.labels, clips, data.labels, windows)
    facts = {
        "commit": predictor.commit,
        "decision_threshold": predictor.decision_threshold if predictor.labels.is_multi_label else None,
        **cut,
        "classes": mapping.as_names(predictor.labels),
    }
    of_logits = partial(mapping.logits, model_labels=predictor.labels)
    return ScoredModel(judged, predictor.decision_threshold, facts, (*mapping.told, *told, *windows.told), of_logits)


def windows_of(
    predictor: Predictor,
    data: EvaluationData,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    num_threads: int | None = None,
    token: str | None = None,
) -> tuple[pa.Table, Windows, dict[str, float]]:
    """The clips that can be scored, the model's logits for their windows, and how these were cut.

    Args:
        window_s, hop_s, num_threads, token: see `score`.

    Raises:
        InputError: see `score`.
    """
    if data.features is None:
        settings = {"window_s": window_s, "hop_s": hop_s, "num_threads": num_threads, "token": token}
        return _of_recordings(predictor, data, **settings)
    if window_s is not None or hop_s is not None:
        raise InputError(
            f"--window_s and --hop_s would have no effect here: the windows of {data.name} are already stored; leave "
            "them out, or evaluate on the recordings"
        )
    return _of_features(predictor, data)


def judged_clips(
    name: str,
    mapping: ClassMapping,
    model_labels: LabelSpace,
    clips: pa.Table,
    data_labels: LabelSpace,
    windows: Windows,
) -> tuple[JudgedClips, list[str]]:
    """Maps scores from the model's classes to those of the data, with notes on clips that are left out.

    Raises:
        InputError: the scores are not finite, or no clip has an evaluated class.
    """
    targets = mapping.targets(targets_of(clips, data_labels))
    logits = mapping.logits(windows.logits, model_labels)
    columns = judged_columns(clips, windows.about)
    whole = JudgedClips(name, mapping.labels, columns, targets, logits, windows.clip_of_window, windows.starts_s)
    return with_class(whole)


def with_class(judged: JudgedClips) -> tuple[JudgedClips, list[str]]:
    """The clips that can be predicted correctly, with notes: in single-label tasks, those with an evaluated class.

    Raises:
        InputError: there are none.
    """
    if judged.labels.is_multi_label:
        return judged, []
    answerable = (judged.targets > 0.5).any(axis=1)
    if answerable.all():
        return judged, []
    if not answerable.any():
        raise InputError(f"No clip has one of the classes of {judged.name}: give a --label_map, or other data")
    num_left_out = int((~answerable).sum())
    told = f"{num_left_out:,} of {len(judged):,} clips are left out: {judged.name} is not evaluated on their classes."
    return judged.take(np.flatnonzero(answerable)), [told]


def _of_features(predictor: Predictor, data: EvaluationData) -> tuple[pa.Table, Windows, dict[str, float]]:
    """The clips with stored windows, the logits of these, and how they were cut."""
    features = data.features
    wanted = [split for split in features.splits if data.split in (ALL, split) or split == VALIDATION]
    found = [predictor.window_logits(features, split) for split in wanted]
    about = pa.concat_tables([about_stored_clips(features, split) for split in wanted])
    clips = data.clips.take(pa.array(places_of(about["clip_id"], data.clips["clip_id"].to_pylist())))
    clip_ids = pa.array([clip_id for one in found for clip_id in one.clip_ids], pa.string())
    rows = places_of(clip_ids, about["clip_id"].to_pylist())
    order = np.argsort(rows, kind="stable")  # clips in the order of the index, and each clip's windows in their order
    starts_s = np.concatenate([one.starts_s for one in found])[order]
    logits = np.concatenate([one.values for one in found])[order]
    cut = {"window_s": features.window_s, "hop_s": features.manifest["hop_s"]}
    return clips, Windows(logits, rows[order], starts_s, about), cut


def _of_recordings(
    predictor: Predictor, data: EvaluationData, **settings: Any
) -> tuple[pa.Table, Windows, dict[str, float]]:
    """The readable clips, the logits of their windows, and how these were cut."""
    heard = heard_clips(predictor, data.clips, **settings)
    told = []
    if predictor.usage.window_s is None and settings.get("window_s") is None:
        told.append(
            f"{predictor.name} does not specify the windows it was trained on: windows of {heard.window_s:g} s are "
            "used; change this with --window_s."
        )
    if heard.unreadable:
        name, reason = heard.unreadable[0]
        more = "first " if len(heard.unreadable) > 1 else ""
        told.append(f"{len(heard.unreadable):,} of {len(data.clips):,} clips cannot be read, {more}{name} ({reason}).")
    clips = data.clips.take(pa.array(heard.rows))
    about = about_clips(clips, heard.durations_s)
    windows = Windows(heard.logits, heard.clip_of_window, heard.starts_s, about, tuple(told))
    return clips, windows, {"window_s": heard.window_s, "hop_s": heard.hop_s}

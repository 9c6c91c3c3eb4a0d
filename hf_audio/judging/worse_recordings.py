"""The robustness table of a model, from degraded versions of the evaluated recordings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import spread_over
from hf_audio.data.recordings.audio import read_audio
from hf_audio.data.recordings.in_turn import reading_order, recordings_in_turn
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError, one_line
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.evaluation_data import EvaluationData
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.robustness import Recorded, robustness
from hf_audio.judging.scoring import ScoredModel
from hf_audio.predictor import Predictor
from hf_audio.terminal import show


def robustness_of(
    predictor: Predictor,
    scored: ScoredModel,
    data: EvaluationData,
    thresholds: Mapping[str, float] | None,
    *,
    degradations: Sequence[str] = (),
    aggregation: str = "mean_logits",
    told: Mapping[str, Any] = MappingProxyType({}),
    num_clips: int,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    token: str | None = None,
) -> dict[str, Any]:
    """`robustness` on a sample of clips, spread evenly over the evaluated split.

    Args:
        thresholds: by class, for multi-label tasks.
        degradations: degradations with strengths; an empty sequence for all.
        aggregation, told: from windows to clips, with its fitted settings, as in the report.
        num_clips: the approximate maximum number of clips, since each is scored under all conditions.

    Raises:
        InputError: the data are features; or see `robustness`.
    """
    if data.features is not None:
        raise InputError(
            f"{data.name} holds features, but only recordings can be degraded: leave out --robustness, or evaluate on "
            "the recordings"
        )
    judged = scored.judged.of_split(data.split)
    clips = data.evaluated
    rows = pc.index_in(clips["clip_id"], judged.clips["clip_id"].combine_chunks())
    clips = clips.append_column("judged row", rows).filter(pc.is_valid(rows))
    clips = spread_over(clips, num_clips)
    labels = judged.labels
    return robustness(
        predictor,
        _recorded(predictor, clips, judged, token),
        labels,
        degradations=degradations,
        of_logits=scored.of_logits,
        aggregate=partial(clip_probabilities, aggregation=aggregation, **told),
        windows=predictor.windows_of(scored.facts["window_s"], scored.facts["hop_s"]),
        thresholds=None if thresholds is None else np.array([thresholds[name] for name in labels.names]),
        num_recordings=len(clips),
        num_draws=num_draws,
        confidence=confidence,
        seed=seed,
    )


def _recorded(predictor: Predictor, clips: pa.Table, judged: JudgedClips, token: str | None) -> Iterator[Recorded]:
    """The clips with their sound at the model's rate. Silent or damaged ones are left out, with a message."""
    row_of = dict(zip(clips["clip_id"].to_pylist(), clips["judged row"].to_pylist(), strict=True))
    ordered = clips.drop(["judged row"]).take(pa.array(reading_order(clips)))
    rate, stereo, left_out = predictor.sample_rate, predictor.is_stereo, []
    with tempfile.TemporaryDirectory() as scratch:
        for its, source in recordings_in_turn(ordered, token, Path(scratch)):
            for clip in its:
                try:
                    if isinstance(source, AudioError):
                        raise source
                    sound = read_audio(source, rate, clip.start_s, clip.end_s, stereo=stereo)
                except AudioError as error:
                    left_out.append(f"{clip.clip_id} ({one_line(error)})")
                    continue
                yield Recorded(clip.clip_id, clip.group, judged.targets[row_of[clip.clip_id]], sound, rate)
    if left_out:
        show(f"Not evaluated in degraded form: {len(left_out):,} recordings, the first {left_out[0]}")

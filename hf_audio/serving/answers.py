"""The responses of the service: the Hub's audio-classification format, with more details on request."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.serving.service import Judged

DECIMALS = 6


class Score(BaseModel):
    """A label and its score."""

    label: str = Field(examples=["violin"])
    score: float = Field(examples=[0.87])


class WindowScores(BaseModel):
    """The labels of one window."""

    start_s: float
    end_s: float
    scores: list[Score]


class Segment(BaseModel):
    """A stretch of the recording in which a label is present."""

    label: str = Field(examples=["violin"])
    start_s: float = Field(examples=[0.0])
    end_s: float = Field(examples=[2.5])
    score: float = Field(examples=[0.91])


class Timeline(BaseModel):
    """The labels of a recording, its segments, and the labels per window."""

    model: str
    duration_s: float
    scores: list[Score]
    segments: list[Segment]
    timeline: list[WindowScores]


class WindowEmbedding(BaseModel):
    """The vector of one window."""

    start_s: float
    end_s: float
    embedding: list[float]


class Embedding(BaseModel):
    """The mean embedding over the windows, and on request the `timeline` with one embedding per window."""

    model: str
    duration_s: float
    embedding: list[float]
    timeline: list[WindowEmbedding] | None = None


class Model(BaseModel):
    """A served model."""

    name: str
    labels: list[str]
    multi_label: bool
    sample_rate: int
    threshold: float | None
    window_s: float
    hop_s: float


class Models(BaseModel):
    """All served models; the first is the default."""

    models: list[Model]


class State(BaseModel):
    """Whether the service is alive, or ready to answer."""

    status: str = Field(examples=["ok"])


class Error(BaseModel):
    """Why the request was refused, in one sentence."""

    error: str = Field(examples=["The recording is unreadable: Format not recognised: send a complete sound file"])


def classification_of(judged: Judged, function: str | None) -> list[dict[str, Any]]:
    """The labels of a recording, the highest score first, from the mean of its windows' logits, as in evaluation."""
    if function is None:
        return [{"label": label, "score": round(score, DECIMALS)} for label, score in judged.tags().scores.items()]
    labels = judged.model.tagger.labels
    scores = _applied(judged.found.astype(np.float64).mean(axis=0), labels, function)
    order = np.argsort(-scores, kind="stable")[: judged.decoded.settings.top_k]
    return [{"label": labels.names[place], "score": round(float(scores[place]), DECIMALS)} for place in order]


def timeline_of(judged: Judged) -> dict[str, Any]:
    """The labels of a recording with its segments and windows."""
    found = judged.tags().as_dict()
    del found["file"]  # an uploaded recording has no file name
    return {"model": judged.model.name, **found}


def embedding_of(judged: Judged, with_timeline: bool) -> dict[str, Any]:
    """The mean embedding of a recording, and with a timeline those of its windows."""
    duration_s = judged.decoded.duration_s
    answer = {
        "model": judged.model.name,
        "duration_s": round(duration_s, 3),
        "embedding": judged.found.mean(axis=0).tolist(),
    }
    if with_timeline:
        starts_s = judged.decoded.starts_s
        ends_s = np.minimum(starts_s + judged.model.window_s, duration_s)
        answer["timeline"] = [
            {"start_s": round(float(start), 3), "end_s": round(float(end), 3), "embedding": vector.tolist()}
            for start, end, vector in zip(starts_s, ends_s, judged.found, strict=True)
        ]
    return answer


def _applied(logits: np.ndarray, labels: LabelSpace, function: str) -> np.ndarray:
    if function == "none":
        return logits
    tasks = {"softmax": SINGLE_LABEL, "sigmoid": MULTI_LABEL}
    return LabelSpace(labels.names, tasks[function]).probabilities(logits)

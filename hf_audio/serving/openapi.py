"""The parts of the OpenAPI description that FastAPI cannot derive: the three forms of a body, examples, errors."""

from __future__ import annotations

from typing import Any

from hf_audio.serving.answers import Error

_RECORDING = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
_PARAMETERS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "top_k": {"type": ["integer", "null"], "minimum": 1, "maximum": 100_000},
        "function_to_apply": {"enum": ["softmax", "sigmoid", "none", None]},
    },
}
# A complete WAV file of silence, so that the example can be sent unchanged
EXAMPLE_WAV = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQgAAAAAAAAAAAAAAA=="


def body(*, with_parameters: bool) -> dict[str, Any]:
    """`requestBody` of a route that takes a recording.

    Args:
        with_parameters: whether JSON may contain parameters.
    """
    properties: dict[str, Any] = {"inputs": {"type": "string", "format": "byte", "minLength": 4}}
    example: dict[str, Any] = {"inputs": EXAMPLE_WAV}
    if with_parameters:
        properties["parameters"] = _PARAMETERS
        example["parameters"] = {"top_k": 3}
    json = {"type": "object", "required": ["inputs"], "properties": properties, "additionalProperties": False}
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary", "minLength": 1}},
        "additionalProperties": False,
    }
    content = {
        "audio/*": _RECORDING,
        "application/octet-stream": _RECORDING,
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": json, "example": example},
    }
    return {"requestBody": {"required": True, "content": content}}


def answers(model: Any, **examples: Any) -> dict[int | str, dict[str, Any]]:
    """The successful response of a route, with examples by name."""
    shown = {name: {"value": value} for name, value in examples.items()}
    return {200: {"model": model, "content": {"application/json": {"examples": shown}}}}


CLASSIFICATION_EXAMPLE = [{"label": "violin", "score": 0.87}, {"label": "cello", "score": 0.06}]
TIMELINE_EXAMPLE = {
    "model": "instruments",
    "duration_s": 6.0,
    "scores": CLASSIFICATION_EXAMPLE,
    "segments": [{"label": "violin", "start_s": 0.0, "end_s": 4.5, "score": 0.91}],
    "timeline": [
        {
            "start_s": 0.0,
            "end_s": 3.0,
            "scores": [{"label": "violin", "score": 0.93}, {"label": "cello", "score": 0.02}],
        },
        {
            "start_s": 3.0,
            "end_s": 6.0,
            "scores": [{"label": "violin", "score": 0.78}, {"label": "cello", "score": 0.14}],
        },
    ],
}
EMBEDDING_EXAMPLE = {"model": "instruments", "duration_s": 6.0, "embedding": [0.12, -1.4, 0.33]}
_SENTENCES = {
    400: "The recording is missing or broken, or the body has none of the three forms",
    401: "The token is missing or wrong",
    404: "Unknown model",
    408: "The recording did not arrive in time",
    413: "The recording is too large or too long",
    415: "The body is compressed",
    422: "A setting is unknown, invalid or would have no effect",
    429: "Too many requests: the header Retry-After says when to try again",
    503: "No answer in time: the header Retry-After says when to try again",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": sentence} for status, sentence in _SENTENCES.items()
}
UNAUTHORIZED: dict[int | str, dict[str, Any]] = {401: REFUSALS[401]}

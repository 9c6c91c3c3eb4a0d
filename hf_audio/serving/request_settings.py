"""The settings of a request, in the query or in JSON, declared once for validation and for OpenAPI."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from hf_audio.errors import nearest_name
from hf_audio.serving.refusal import RefusalError

Function = Literal["softmax", "sigmoid", "none"]
MAX_LABELS = 100_000

ModelName = Annotated[str | None, Query(max_length=200, description="Name of a served model. Default: the first.")]
TopK = Annotated[int | None, Query(ge=1, le=MAX_LABELS, description="Number of labels. Default: all.")]
FunctionToApply = Annotated[
    Function | None,
    Query(description="Function that turns logits into scores. Default: as in training."),
]
WithTimeline = Annotated[bool, Query(description="Whether the response also contains windows and segments.")]
Threshold = Annotated[float | None, Query(ge=0, le=1, description="Score threshold of segments. Default: the model's.")]
SmoothS = Annotated[
    float | None, Query(ge=0, le=600, description="Length of the median filter before segmentation, in seconds.")
]


class Parameters(BaseModel):
    """`parameters` of a JSON body, as in the Hub's audio-classification task."""

    model_config = ConfigDict(extra="forbid", strict=True)
    top_k: int | None = Field(None, ge=1, le=MAX_LABELS)
    function_to_apply: Function | None = None


def check_names(request: Request, known: Collection[str]) -> None:
    """Refuses unknown settings and settings that are given twice.

    Raises:
        RefusalError: 422.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            guess = nearest_name(name, known)
            hint = f"did you mean {guess}?" if guess else f"expected one of {', '.join(sorted(known))}"
            raise RefusalError(422, f"Unknown setting {name!r}: {hint}", "setting")
        if given.count(name) > 1:
            raise RefusalError(422, f"The setting {name} is given {given.count(name)} times: give it once", "setting")


def checked_parameters(content: dict[str, Any], **of_address: Any) -> Parameters:
    """The settings of a JSON body and of the query; each may be in only one of the two.

    Raises:
        RefusalError: 422.
    """
    try:
        found = Parameters(**content)
    except (ValidationError, TypeError) as error:
        raise RefusalError(422, sentence_of(error, "parameters"), "setting") from error
    for name, value in of_address.items():
        if value is not None and getattr(found, name) is not None:
            raise RefusalError(
                422, f"The setting {name} is given in the query and in the body: give it once", "setting"
            )
    return found.model_copy(update={name: value for name, value in of_address.items() if value is not None})


def check_segment_settings(timeline: bool, function_to_apply: str | None, **of_segments: Any) -> None:
    """Refuses settings that would have no effect with or without a timeline.

    Raises:
        RefusalError: 422.
    """
    idle = [name for name, value in of_segments.items() if value is not None and not timeline]
    if idle:
        raise RefusalError(
            422, f"The setting {idle[0]} affects only segments: add timeline=true, or remove it", "setting"
        )
    if timeline and function_to_apply is not None:
        sentence = "The setting function_to_apply has no meaning for segments: remove it, or remove timeline"
        raise RefusalError(422, sentence, "setting")


def sentence_of(error: Any, place: str) -> str:
    """The first error that pydantic or FastAPI found, as a sentence."""
    if not hasattr(error, "errors"):
        return f"The {place} cannot be read"
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part not in ("query", "body")) or place
    return (
        f"The setting {name} cannot be {str(first.get('input'))[:60]!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    )

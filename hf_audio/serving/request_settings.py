"""What a client may set, behind the address or in JSON: declared once, for checks and for OpenAPI."""

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

ModelName = Annotated[
    str | None, Query(max_length=200, description="Which of the served models; the first one by default.")
]
TopK = Annotated[int | None, Query(ge=1, le=MAX_LABELS, description="Only so many labels; all by default.")]
FunctionToApply = Annotated[
    Function | None,
    Query(description="What makes scores of logits; by default what the model was trained with."),
]
WithTimeline = Annotated[bool, Query(description="Whether the answer has windows, and segments of labels.")]
Threshold = Annotated[float | None, Query(ge=0, le=1, description="Of segments; the model's own by default.")]
SmoothS = Annotated[float | None, Query(ge=0, le=600, description="Seconds of the median over segments' scores.")]


class Parameters(BaseModel):
    """`parameters` of a JSON body, as the Hub's audio-classification task has them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    top_k: int | None = Field(None, ge=1, le=MAX_LABELS)
    function_to_apply: Function | None = None


def check_names(request: Request, known: Collection[str]) -> None:
    """Refuse settings that would not act: unknown ones, and one that is given twice.

    Raises:
        RefusalError: 422.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            guess = nearest_name(name, known)
            hint = f"did you mean {guess}?" if guess else f"there are {', '.join(sorted(known))}"
            raise RefusalError(422, f"Unknown setting {name!r}: {hint}", "setting")
        if given.count(name) > 1:
            raise RefusalError(422, f"The setting {name} is given {given.count(name)} times: give it once", "setting")


def checked_parameters(content: dict[str, Any], **of_address: Any) -> Parameters:
    """Settings of a JSON body and behind the address, each from one of them.

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
                422, f"The setting {name} is given in the address and in the body: give it once", "setting"
            )
    return found.model_copy(update={name: value for name, value in of_address.items() if value is not None})


def check_segment_settings(timeline: bool, function_to_apply: str | None, **of_segments: Any) -> None:
    """Refuse what would not act with or without a timeline.

    Raises:
        RefusalError: 422.
    """
    idle = [name for name, value in of_segments.items() if value is not None and not timeline]
    if idle:
        raise RefusalError(
            422, f"The setting {idle[0]} acts on segments alone: add timeline=true, or leave it out", "setting"
        )
    if timeline and function_to_apply is not None:
        sentence = "The setting function_to_apply has no meaning for segments: leave it out, or timeline"
        raise RefusalError(422, sentence, "setting")


def sentence_of(error: Any, place: str) -> str:
    """The first thing that pydantic or FastAPI found wrong, as a sentence."""
    if not hasattr(error, "errors"):
        return f"The {place} cannot be read"
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part not in ("query", "body")) or place
    return (
        f"The setting {name} cannot be {str(first.get('input'))[:60]!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    )

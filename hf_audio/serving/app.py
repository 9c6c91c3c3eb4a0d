"""The service's routes.

POST /v1/audio-classification   labels of a recording; POST / is the same, for clients that have a base address alone
POST /v1/embeddings             what the model's classifier is given
GET  /v1/models                 what is served
GET  /health, /ready, /metrics  for those who run it
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hf_audio.serving.answers import (
    Embedding,
    Model,
    Models,
    Score,
    State,
    Timeline,
    classification_of,
    embedding_of,
    timeline_of,
)
from hf_audio.serving.gate import Gate, error_response
from hf_audio.serving.metrics import MEDIA_TYPE
from hf_audio.serving.openapi import (
    CLASSIFICATION_EXAMPLE,
    EMBEDDING_EXAMPLE,
    REFUSALS,
    TIMELINE_EXAMPLE,
    UNAUTHORISED,
    answers,
    body,
)
from hf_audio.serving.refusal import RefusalError
from hf_audio.serving.request_settings import (
    FunctionToApply,
    ModelName,
    SmoothS,
    Threshold,
    TopK,
    WithTimeline,
    check_names,
    check_segment_settings,
    checked_parameters,
    sentence_of,
)
from hf_audio.serving.served_models import EMBEDDINGS, LOGITS
from hf_audio.serving.service import Accept, Judged, Service
from hf_audio.serving.upload import Upload, discard_body

CLASSIFICATION_SETTINGS = frozenset({"model", "top_k", "function_to_apply", "timeline", "threshold", "smooth_s"})
EMBEDDING_SETTINGS = frozenset({"model", "timeline"})
SHOWN = ("/v1/audio-classification", "/v1/embeddings", "/v1/models", "/health", "/ready", "/metrics")

router = APIRouter()


def create_app(service: Service, token: str | None = None) -> Gate:
    """The application, for uvicorn or any other server; it closes the service when it ends.

    Args:
        service: its models and limits.
        token: that clients must send; None lets everybody ask.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="hf_audio",
        version=version("hf_audio"),
        description="Tags recordings by the models of hf_audio.",
        lifespan=lifespan,
        redoc_url=None,
        dependencies=[Security(HTTPBearer(auto_error=False))] if token else [],  # for OpenAPI: the gate checks it
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(RefusalError, _refused)
    app.add_exception_handler(RequestValidationError, _refused_setting)
    app.add_exception_handler(HTTPException, _refused_address)
    return Gate(app, token=token, routes={"/", *SHOWN}, metrics=service.metrics)


@router.post(
    "/v1/audio-classification",
    summary="Labels of a recording",
    responses=answers(list[Score] | Timeline, labels=CLASSIFICATION_EXAMPLE, timeline=TIMELINE_EXAMPLE) | REFUSALS,
    openapi_extra=body(with_parameters=True),
)
async def audio_classification(
    request: Request,
    model: ModelName = None,
    top_k: TopK = None,
    function_to_apply: FunctionToApply = None,
    timeline: WithTimeline = False,
    threshold: Threshold = None,
    smooth_s: SmoothS = None,
) -> Response:
    """Labels with their scores, the highest first, of the mean of the windows' logits. With `timeline=true` an object
    that has the windows and segments too.

    The recording is the body itself, the file of a form, or in JSON as base64.
    """
    given: dict[str, Any] = {}

    def settings_of(upload: Upload) -> dict[str, Any]:
        of_both = {"top_k": top_k, "function_to_apply": function_to_apply}
        given.update(checked_parameters(upload.parameters, **of_both).model_dump())
        check_segment_settings(timeline, given["function_to_apply"], threshold=threshold, smooth_s=smooth_s)
        return {"top_k": given["top_k"], "threshold": threshold, "smooth_s": smooth_s}

    judged = await _judge(request, model, LOGITS, settings_of, CLASSIFICATION_SETTINGS)
    if timeline:
        return await _in_thread(request, timeline_of, judged)
    return JSONResponse(classification_of(judged, given["function_to_apply"]))


router.add_api_route("/", audio_classification, methods=["POST"], include_in_schema=False)


@router.post(
    "/v1/embeddings",
    summary="Embedding of a recording",
    responses=answers(Embedding, embedding=EMBEDDING_EXAMPLE) | REFUSALS,
    openapi_extra=body(with_parameters=False),
)
async def embeddings(request: Request, model: ModelName = None, timeline: WithTimeline = False) -> Response:
    """What the model's classifier is given: the mean over the windows, and with `timeline=true` that of each."""

    def settings_of(upload: Upload) -> dict[str, Any]:
        if upload.parameters:
            raise RefusalError(422, "An embedding has no parameters: leave them out of the JSON", "setting")
        return {}

    judged = await _judge(request, model, EMBEDDINGS, settings_of, EMBEDDING_SETTINGS)
    return await _in_thread(request, embedding_of, judged, timeline)


@router.get("/v1/models", summary="The served models", responses=UNAUTHORISED)
async def models(request: Request) -> Models:
    """All models by name, with their labels; the first is the one that is used where none is named."""
    return Models(models=[Model(**one.described()) for one in _service(request).models.values()])


@router.get("/health", summary="Whether the service lives")
async def health() -> State:
    """It answers."""
    return State(status="ok")


@router.get("/ready", summary="Whether the service can judge", responses={503: REFUSALS[503]})
async def ready(request: Request) -> State:
    """The models are loaded and warm, and their threads run."""
    if not _service(request).is_ready:
        raise RefusalError(503, "A model's thread has ended: start the service again", "failure")
    return State(status="ready")


@router.get("/metrics", summary="Metrics for Prometheus", responses=UNAUTHORISED, response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counts, seconds and sizes of batches."""
    return Response(_service(request).metrics.text(), media_type=MEDIA_TYPE)


def _service(request: Request) -> Service:
    return request.app.state.service


async def _judge(request: Request, name: str | None, kind: str, settings_of: Accept, known: frozenset[str]) -> Judged:
    service = _service(request)
    try:
        check_names(request, known)
        return await service.judge(request, service.model_called(name), kind, settings_of)
    except RefusalError:
        await discard_body(request)
        raise


async def _in_thread(request: Request, answer_of: Callable[..., Any], *arguments: Any) -> Response:
    """An answer with a part for each window can be of many MB: others do not wait while it is made and written."""
    return await _service(request).run(lambda: JSONResponse(answer_of(*arguments)))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return error_response(error)


async def _refused_setting(request: Request, error: Exception) -> Response:
    await discard_body(request)
    return error_response(RefusalError(422, sentence_of(error, "request"), "setting"))


async def _refused_address(request: Request, error: Exception) -> Response:
    """No such path, or not by this method."""
    assert isinstance(error, HTTPException)
    await discard_body(request)
    paths = ", ".join(path for path in SHOWN)
    sentence = f"{error.detail}: there are {paths}, and /docs shows how to ask"
    return error_response(RefusalError(error.status_code, sentence, "address", dict(error.headers or {})))

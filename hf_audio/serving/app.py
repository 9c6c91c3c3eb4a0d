"""The service's routes.

POST /v1/audio-classification   labels of a recording; POST / is the same, for clients that take only a base URL
POST /v1/embeddings             the input of the classifier layer
GET  /v1/models                 the served models
GET  /health, /ready, /metrics  for operators
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
    UNAUTHORIZED,
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
    """The application, for uvicorn or another ASGI server. It closes the service when it shuts down.

    Args:
        service: the models and limits.
        token: the token that clients must send; None requires no token.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="hf_audio",
        version=version("hf_audio"),
        description="Tags recordings with models trained by hf_audio.",
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
    """Labels with their scores, highest first, computed from the mean of the windows' logits. With `timeline=true`, an
    object that also contains windows and segments.

    Send the recording as the body itself, as a file in a form, or as base64 text in JSON.
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
    """The input of the classifier layer, averaged over the windows; with `timeline=true` also per window."""

    def settings_of(upload: Upload) -> dict[str, Any]:
        if upload.parameters:
            raise RefusalError(422, "Embeddings take no parameters: remove them from the JSON", "setting")
        return {}

    judged = await _judge(request, model, EMBEDDINGS, settings_of, EMBEDDING_SETTINGS)
    return await _in_thread(request, embedding_of, judged, timeline)


@router.get("/v1/models", summary="The served models", responses=UNAUTHORIZED)
async def models(request: Request) -> Models:
    """All models by name, with their labels. The first is the default."""
    return Models(models=[Model(**one.described()) for one in _service(request).models.values()])


@router.get("/health", summary="Whether the service is alive")
async def health() -> State:
    """Answers as long as the process runs."""
    return State(status="ok")


@router.get("/ready", summary="Whether the service can classify", responses={503: REFUSALS[503]})
async def ready(request: Request) -> State:
    """Whether the models are loaded and warmed up, and their threads are running."""
    if not _service(request).is_ready:
        raise RefusalError(503, "A model's thread has stopped: restart the service", "failure")
    return State(status="ready")


@router.get("/metrics", summary="Metrics for Prometheus", responses=UNAUTHORIZED, response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counts, seconds and batch sizes."""
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
    """Creates a response in a thread: with an entry per window, it can have many MB and block other requests."""
    return await _service(request).run(lambda: JSONResponse(answer_of(*arguments)))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return error_response(error)


async def _refused_setting(request: Request, error: Exception) -> Response:
    await discard_body(request)
    return error_response(RefusalError(422, sentence_of(error, "request"), "setting"))


async def _refused_address(request: Request, error: Exception) -> Response:
    """Answers requests for unknown paths or methods."""
    assert isinstance(error, HTTPException)
    await discard_body(request)
    sentence = f"{error.detail}: the routes are {', '.join(SHOWN)}; see /docs"
    return error_response(RefusalError(error.status_code, sentence, "address", dict(error.headers or {})))

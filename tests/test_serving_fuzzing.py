"""The service, fuzzed with its own OpenAPI schema and with broken recordings: never a 500, never a hang.

Every run has the same cases. FUZZING_CASES=2000 pytest tests/test_serving_fuzzing.py draws more and others.
"""

from __future__ import annotations

import os

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from mutated_audio import mutated, mutations
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving_process import running
from tagging_models import save_classifier

CASES = os.environ.get("FUZZING_CASES")
LIMIT_S = 10.0
TAKING_RECORDINGS = ("/v1/audio-classification", "/v1/embeddings")
LEFT_OUT = [positive_data_acceptance]  # random bytes are never a recording


def settings_of(cases: int):
    return settings(
        max_examples=int(CASES or cases),
        derandomize=CASES is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn")
    with running(folder, max_mb=1, max_duration_s=20, max_request_s=LIMIT_S) as service:
        yield service


@pytest.fixture(scope="module")
def client(served):
    with httpx2.Client(base_url=served.url, trust_env=False, timeout=LIMIT_S + 5) as one:
        yield one


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_response_is_declared_in_openapi(served, mode):
    """Statuses, content types and schemas of responses; requests that OpenAPI forbids are refused."""
    openapi = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    routes = {route.path: route for route in (found.ok() for found in openapi.get_all_operations())}
    assert set(routes) == {*TAKING_RECORDINGS, "/v1/models", "/health", "/ready", "/metrics"}
    for route in (routes[path] for path in TAKING_RECORDINGS):

        @settings_of(15)
        @given(case=route.as_strategy(generation_mode=mode))
        def check(case):
            case.call_and_validate(timeout=LIMIT_S + 5, excluded_checks=LEFT_OUT)

        check()


@settings_of(100)
@given(mutation=mutations)
def test_broken_recordings_are_classified_or_refused(client, mutation):
    kind, operations, _ = mutation
    answer = client.post("/v1/audio-classification?timeline=true", content=mutated(kind, operations))
    assert answer.status_code in (200, 400, 413), f"{kind} after {operations}: {answer.status_code} {answer.text}"
    if answer.status_code == 200:
        assert all(0 <= one["score"] <= 1 for one in answer.json()["scores"])
    else:
        assert set(answer.json()) == {"error"} and 0 < len(answer.json()["error"]) < 500

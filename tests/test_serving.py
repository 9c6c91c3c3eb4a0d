"""The service over real HTTP: the Hub's own client, every form of a request body, and refusals."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from model_cases import NAMES
from serving_process import running
from tagging_models import HOP_S, WINDOW_S, changing_sound, save_classifier, write_sound

import hf_audio
from hf_audio.data.index.labels import SINGLE_LABEL

CLASSIFY = "/v1/audio-classification"
STARTS_OR_CALLS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "socket.connect"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "cnn": save_classifier(root / "cnn", "cnn"),
        "ast": save_classifier(root / "ast", "ast_stock", SINGLE_LABEL),
    }


@pytest.fixture(scope="module")
def served(folders):
    with running(f"first={folders['cnn']}", folders["ast"], max_mb=2, max_duration_s=20) as service:
        yield service


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "a.wav", 3.13)


@pytest.fixture
def post(served):
    def ask(content=b"", path=CLASSIFY, **options):
        return httpx2.post(served.url + path, content=content, timeout=60, **options)

    return ask


def wanted(folder: Path, recording: Path, **settings):
    return hf_audio.load(folder)(recording, **settings)


def scores_of(answer) -> dict[str, float]:
    return {one["label"]: one["score"] for one in answer}


def test_the_hubs_client_works_unmodified(served, folders, recording):
    expected = wanted(folders["cnn"], recording).scores
    by_base = InferenceClient(base_url=served.url).audio_classification(recording.read_bytes())
    by_model = InferenceClient().audio_classification(str(recording), model=f"{served.url}{CLASSIFY}")
    for answer in (by_base, by_model):
        assert [one.label for one in answer] == list(expected)
        np.testing.assert_allclose([one.score for one in answer], list(expected.values()), atol=1e-5)


def test_the_hubs_client_sends_parameters_and_chooses_a_model(served, folders, recording):
    tags = wanted(folders["ast"], recording)
    client = InferenceClient(model=f"{served.url}{CLASSIFY}?model=ast", token="hf_of_somebody_else")
    answer = client.audio_classification(recording, top_k=2)
    assert [one.label for one in answer] == list(tags.scores)[:2]
    logits = tags.logits.astype(np.float64).mean(axis=0)
    for function, values in (("none", logits), ("sigmoid", 1 / (1 + np.exp(-logits)))):
        found = client.audio_classification(recording, function_to_apply=function)
        by_label = {one.label: one.score for one in found}
        np.testing.assert_allclose([by_label[name] for name in NAMES], values, atol=1e-4)


async def asked_at_once(url: str, recording: Path):
    return await AsyncInferenceClient(base_url=url).audio_classification(recording)


def test_the_hubs_asynchronous_client_works_unmodified(served, folders, recording):
    import asyncio

    answer = asyncio.run(asked_at_once(served.url, recording))
    assert [one.label for one in answer] == list(wanted(folders["cnn"], recording).scores)


def test_the_client_shows_why_it_was_refused(served):
    with pytest.raises(HfHubHTTPError, match="The recording is unreadable: Format not recognised"):
        InferenceClient(base_url=served.url).audio_classification(b"no sound at all")


def test_every_form_of_a_body_gives_the_same_scores(post, recording):
    content = recording.read_bytes()
    plain = post(content).json()
    assert len(plain) == len(NAMES)
    as_json = {"inputs": base64.b64encode(content).decode()}
    assert httpx2.post(str(post(content).url), files={"file": ("x.wav", content)}, timeout=60).json() == plain
    assert post(json.dumps(as_json), headers={"content-type": "application/json"}).json() == plain
    assert post(content, headers={"content-type": "audio/x-wav"}).json() == plain
    pieces = (content[first : first + 1000] for first in range(0, len(content), 1000))
    assert post(pieces).json() == plain  # chunked, without a length
    null = {**as_json, "parameters": {"top_k": None}}
    assert post(json.dumps(null), headers={"content-type": "application/json; charset=utf-8"}).json() == plain


def test_a_timeline_has_windows_and_segments(post, folders, recording):
    tags = wanted(folders["cnn"], recording, top_k=2, threshold=0.3, smooth_s=0)
    answer = post(recording.read_bytes(), f"{CLASSIFY}?timeline=true&top_k=2&threshold=0.3&smooth_s=0").json()
    assert answer.pop("model") == "first"
    expected = {name: value for name, value in tags.as_dict().items() if name != "file"}
    assert [one["start_s"] for one in answer["timeline"]] == [one["start_s"] for one in expected["timeline"]]
    assert [one["label"] for one in answer["segments"]] == [one["label"] for one in expected["segments"]]
    assert len(answer["timeline"]) == round((3.13 - WINDOW_S) / HOP_S) + 1
    assert answer["duration_s"] == pytest.approx(3.13, abs=0.01)
    np.testing.assert_allclose(
        [one["score"] for one in answer["scores"]], [one["score"] for one in expected["scores"]], atol=1e-5
    )


def test_embeddings_are_the_inputs_of_the_classifier(post, folders, recording):
    tagger = hf_audio.load(folders["cnn"])
    vectors = tagger.predictor.embed(tagger.prepared(recording).inputs).numpy()
    answer = post(recording.read_bytes(), "/v1/embeddings?timeline=true").json()
    np.testing.assert_allclose([one["embedding"] for one in answer["timeline"]], vectors, atol=1e-4)
    np.testing.assert_allclose(answer["embedding"], vectors.mean(axis=0), atol=1e-4)
    assert "timeline" not in post(recording.read_bytes(), "/v1/embeddings").json()


def test_models_health_and_metrics(served, post, recording):
    described = httpx2.get(f"{served.url}/v1/models").json()["models"]
    assert [one["name"] for one in described] == ["first", "ast"]
    assert described[0]["labels"] == list(NAMES) and described[0]["threshold"] == 0.45
    assert described[1]["threshold"] is None
    assert httpx2.get(f"{served.url}/health").json() == {"status": "ok"}
    assert httpx2.get(f"{served.url}/ready").json() == {"status": "ready"}
    post(recording.read_bytes())
    text = httpx2.get(f"{served.url}/metrics").text
    assert 'hf_audio_requests_total{route="/v1/audio-classification",status="200"}' in text
    assert 'hf_audio_audio_seconds_total{model="first"}' in text and "hf_audio_requests_running 0.0" in text
    assert str(recording) not in text and "a.wav" not in text


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        (f"{CLASSIFY}?model=fist", 404, "Unknown model 'fist': did you mean 'first'?"),
        (f"{CLASSIFY}?model=..%2F..%2Fetc", 404, "Unknown model '../../etc'"),
        (f"{CLASSIFY}?model=%E2%80%AE%00%F0%9F%8E%B5", 404, r"Unknown model '\u202e\x00"),
        (f"{CLASSIFY}?timeline=1&threshold=nan", 422, "The setting threshold cannot be 'nan'"),
        (f"{CLASSIFY}?timeline=1&smooth_s=inf", 422, "The setting smooth_s cannot be 'inf'"),
        (f"{CLASSIFY}?top_k={'9' * 5000}", 422, "The setting top_k cannot be '999"),
        (f"{CLASSIFY}?topk=3", 422, "Unknown setting 'topk': did you mean top_k?"),
        (f"{CLASSIFY}?top_k=0", 422, "The setting top_k cannot be '0'"),
        (f"{CLASSIFY}?top_k=1&top_k=2", 422, "The setting top_k is given 2 times"),
        (f"{CLASSIFY}?smooth_s=1", 422, "The setting smooth_s affects only segments"),
        (f"{CLASSIFY}?model=ast&timeline=1&threshold=0.4", 422, "A threshold has no effect on ast, which"),
        (f"{CLASSIFY}?timeline=1&function_to_apply=none", 422, "function_to_apply has no meaning for segments"),
        ("/v1/embeddings?top_k=1", 422, "Unknown setting 'top_k'"),
        ("/v1/nothing", 404, "Not Found: the routes are /v1/audio-classification"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_settings_without_effect_are_refused(post, recording, path, status, sentence):
    answer = post(recording.read_bytes(), path)
    assert answer.status_code == status and sentence in answer.json()["error"]


def test_requests_write_no_file_start_no_process_and_open_no_connection(post, served):
    """Checked with Python's audit events in the threads of the service."""
    seen, watching = [], [True]
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def watch(event: str, arguments: tuple) -> None:
        if not watching or threading.current_thread() is threading.main_thread():
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & writing
        if writes or event.split(".")[0] in ("subprocess", "shutil", "tempfile") or event in STARTS_OR_CALLS:
            seen.append((event, arguments))

    sys.addaudithook(watch)
    written = io.BytesIO()
    soundfile.write(written, changing_sound(25), 48_000, format="WAV", subtype="FLOAT")  # 1.6 MB: forms use a file
    content = written.getvalue()
    answers = [
        post(content),
        httpx2.post(served.url + CLASSIFY, files={"file": ("../x.wav", content)}, timeout=60),
        post(json.dumps({"inputs": base64.b64encode(content).decode()}), headers={"content-type": "application/json"}),
        post(b"PK" + content),
        post(b'{"inputs": "http://127.0.0.1:1/a.wav"}', headers={"content-type": "application/json"}),
    ]
    watching.clear()
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 400]
    assert seen == []


def test_recordings_of_any_format_and_length_are_accepted(post):
    for format, rate, seconds in (("FLAC", 44_100, 0.01), ("OGG", 22_050, 0.7), ("MP3", 48_000, 2.0)):
        written = io.BytesIO()
        soundfile.write(written, changing_sound(seconds), rate, format=format)
        assert post(written.getvalue()).status_code == 200, format


def test_scores_and_embeddings_requested_at_once_are_not_mixed_up(served, folders, recording):
    """Embeddings are taken from inside a model while other threads use it for scores."""
    tagger, content = hf_audio.load(folders["cnn"]), recording.read_bytes()
    vector = tagger.predictor.embed(tagger.prepared(recording).inputs).numpy().mean(axis=0)
    scores = tagger(recording).scores
    with httpx2.Client(base_url=served.url, trust_env=False, timeout=60) as client, ThreadPoolExecutor(8) as threads:
        paths = 12 * ["/v1/embeddings", CLASSIFY]
        answers = threads.map(lambda path: client.post(path, content=content), paths)
        for path, answer in zip(paths, answers, strict=True):
            if path == CLASSIFY:
                assert scores_of(answer.json()) == pytest.approx(scores, abs=1e-5)
            else:
                np.testing.assert_allclose(answer.json()["embedding"], vector, atol=1e-4)

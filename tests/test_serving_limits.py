"""Limits of the service: tokens, requests at once, time; and a process that is terminated finishes its requests."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from serving_process import running
from tagging_models import save_classifier, write_sound

from hf_audio.commands.serve import main
from hf_audio.errors import InputError
from hf_audio.serving.access import TOKEN_VARIABLE, token_of_environment
from hf_audio.serving.address import answer_at, listening
from hf_audio.serving.allowance import Allowance
from hf_audio.serving.logs import JsonLines
from hf_audio.serving.served_models import load_models, split_spec

CLASSIFY = "/v1/audio-classification"
TOKEN = "s3cret-of-the-service"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn")


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    return write_sound(tmp_path_factory.mktemp("sound") / "private-name.wav", 1.0).read_bytes()


@pytest.fixture(scope="module")
def busy(folder):
    """A service for two requests at once, whose model waits for an event."""
    with running(folder, max_requests=2, max_windows=40, max_request_s=2) as served:
        batcher, let_go = served.service.models["cnn"].batcher, threading.Event()
        judged = batcher._forwards["logits"]
        batcher._forwards["logits"] = lambda inputs: (let_go.wait(20), judged(inputs))[1]
        served.let_go = let_go
        yield served


def ask(served, content: bytes, path: str = CLASSIFY, **headers: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=30) as client:
        return client.post(served.url + path, content=content, headers=headers)


def test_requests_beyond_the_limit_are_told_to_retry(busy, content):
    busy.let_go.clear()
    with ThreadPoolExecutor(2) as threads:
        first = [threads.submit(ask, busy, content) for _ in range(2)]
        while busy.service.running < 2:
            time.sleep(0.01)
        refused = ask(busy, content)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert "2 requests are being processed" in refused.json()["error"]
        busy.let_go.set()
        assert [future.result().status_code for future in first] == [200, 200]
    assert ask(busy, content).status_code == 200


def test_a_request_that_takes_too_long_is_refused_and_dropped(busy, content):
    busy.let_go.clear()
    began = time.monotonic()
    slow = ask(busy, content)
    assert slow.status_code == 503 and "No answer within 2 s" in slow.json()["error"] and "retry-after" in slow.headers
    assert 1.5 < time.monotonic() - began < 15
    busy.let_go.set()
    assert ask(busy, content).status_code == 200 and busy.service.running == 0


def test_waiting_windows_are_limited(busy, tmp_path):
    long = write_sound(tmp_path / "long.wav", 12).read_bytes()  # 47 windows
    answer = ask(busy, long)
    assert answer.status_code == 413 and "more than the maximum of 40 windows" in answer.json()["error"]


def test_a_body_that_never_ends_times_out(busy):
    with socket.create_connection(busy.url.removeprefix("http://").split(":")) as connection:
        connection.sendall(f"POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nRIFF".encode())
        connection.settimeout(20)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
    assert busy.service.running == 0


def test_a_client_that_disconnects_leaves_nothing_behind(busy, content):
    with socket.create_connection(busy.url.removeprefix("http://").split(":")) as connection:
        connection.sendall(f"POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nRIFF".encode())
        while busy.service.running == 0:
            time.sleep(0.01)
    until = time.monotonic() + 10
    while busy.service.running and time.monotonic() < until:
        time.sleep(0.01)
    assert busy.service.running == 0


def test_a_token_is_required(folder, content):
    with running(folder, token=TOKEN) as served:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": "Bearer é"}):
            header = {name: value.encode() for name, value in header.items()}
            with httpx2.Client(trust_env=False) as client:
                answer = client.post(served.url + CLASSIFY, content=content, headers=header)
                assert client.get(f"{served.url}/metrics", headers=header).status_code == 401
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert ask(served, content, authorization=f"Bearer {TOKEN}").status_code == 200
        with httpx2.Client(trust_env=False) as client:
            assert client.get(f"{served.url}/health").status_code == 200
            assert TOKEN not in client.get(f"{served.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
            assert "HTTPBearer" in client.get(f"{served.url}/openapi.json").text


@pytest.mark.parametrize("token", ["", "short", "with a space in it all"])
def test_a_weak_token_is_refused(monkeypatch, token):
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(InputError, match="expected at least 16"):
        token_of_environment()


def test_settings_of_the_service_are_checked(folder):
    with pytest.raises(InputError, match="max_mb must be above 0"):
        Allowance(max_mb=0)
    with pytest.raises(InputError, match="Two models are named cnn"):
        load_models([str(folder), f"cnn={folder}"], Allowance(), None)
    assert split_spec("birds=runs/cnn") == ("birds", "runs/cnn")
    assert split_spec("someone/ast") == ("someone/ast", "someone/ast")
    assert split_spec("runs/a=b/c") == ("c", "runs/a=b/c")
    with pytest.raises(InputError, match="from 0 to 65535, found 99999"):
        main(["--model", str(folder), "--port", "99999"])


def test_an_address_in_use_is_reported_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"listen on 127.0.0.1, port {port} .*choose another"):
            main(["--model", "no/such", "--port", str(port)])
    with listening("127.0.0.1", 0) as first, listening("127.0.0.1", first.getsockname()[1]) as second:
        answer_at(first)
        with pytest.raises(InputError, match="choose another"):  # as if both were started at the same time
            answer_at(second)


def test_the_log_has_only_the_last_line_of_a_traceback():
    text = 'Traceback (most recent call last):\n  File "/home/me/a.py", line 1, in <module>\nValueError: no\n'
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, text, None, None)
    assert json.loads(JsonLines().format(record))["message"] == "ValueError: no"


def test_a_terminated_process_finishes_its_requests(folder, content):
    """Its log is JSON without the token and without file names."""
    command = [sys.executable, "-c", "from hf_audio.commands.main import main; main()", "serve"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), TOKEN_VARIABLE: TOKEN}
    process = subprocess.Popen(
        [*command, "--model", str(folder), "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        lines = []
        for line in process.stderr:
            if line.startswith("{"):
                lines.append(json.loads(line))
            if lines and "Serving cnn at" in lines[-1]["message"]:
                break
        host, port = lines[-1]["message"].rpartition("http://")[2].split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {CLASSIFY}?top_k=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            connection.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content[:100])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(OSError):
                socket.create_connection((host, int(port)), timeout=2).close()
            connection.sendall(content[100:])
            connection.settimeout(30)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        rest = process.stderr.read()
        assert process.wait(30) == 0
    finally:
        process.kill()
    lines += [json.loads(line) for line in rest.splitlines()]
    assert any(line.get("route") == CLASSIFY and line["status"] == 200 for line in lines)
    assert TOKEN not in str(lines) and "private-name" not in str(lines) and str(folder.parent) not in str(lines)

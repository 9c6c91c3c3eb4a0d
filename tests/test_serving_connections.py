"""Clients that are slow, never finish, never read, or disconnect: they cost little, and others do not wait."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from serving_process import running
from tagging_models import save_classifier, write_sound

from hf_audio.serving import connection

CLASSIFY = "/v1/audio-classification"
HEAD_S, READ_S, LIMIT_S = 0.5, 0.5, 15.0
POST = f"POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn")
    with pytest.MonkeyPatch.context() as patch, running(folder, max_mb=1, max_requests=16) as service:
        patch.setattr(connection, "HEAD_S", HEAD_S)
        patch.setattr(connection, "READ_S", READ_S)
        yield service


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    return write_sound(tmp_path_factory.mktemp("sound") / "a.wav", 1.0).read_bytes()


@contextlib.contextmanager
def connected(served) -> Iterator[socket.socket]:
    with socket.create_connection(served.url.removeprefix("http://").split(":"), timeout=LIMIT_S) as one:
        yield one


def answer_of(one: socket.socket) -> bytes:
    """All bytes until the service closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := one.recv(1 << 16):
            found += piece
    return found


def send_until_refused(one: socket.socket, piece: bytes, most: int) -> int:
    """Number of bytes that the service accepted."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most:
            one.sendall(piece)
            sent += len(piece)
    return sent


def is_alive(served, content: bytes) -> bool:
    with httpx2.Client(trust_env=False, timeout=LIMIT_S) as client:
        return client.post(served.url + CLASSIFY, content=content).status_code == 200


@pytest.mark.parametrize("head", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b"])
def test_a_request_head_that_never_ends_times_out(served, head):
    began = time.monotonic()
    with connected(served) as one:
        one.sendall(head)
        assert answer_of(one).startswith(b"HTTP/1.1 408")
    assert HEAD_S / 2 < time.monotonic() - began < LIMIT_S


def test_a_request_head_sent_byte_by_byte_times_out(served):
    with connected(served) as one:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /health HTTP/1.1\r\nHost: " + 1000 * b"x":
                one.sendall(bytes([letter]))
                time.sleep(0.02)
        assert time.monotonic() - began < 10 * HEAD_S


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 65_536),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 10_000),
        (b"GET /", b"a" * 65_536),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"A: b\r\n" * 10_000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 65_536),
    ],
    ids=["a header", "headers", "an address", "after a body", "in a chunk header"],
)
def test_request_heads_have_a_limited_size(served, content, before, piece):
    with connected(served) as one:
        one.sendall(before)
        assert send_until_refused(one, piece, 64 << 20) < 16 << 20
    assert is_alive(served, content)
    assert served.service.running == 0


def test_a_client_that_sends_on_after_the_response_is_disconnected(served):
    with connected(served) as one:
        one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < LIMIT_S:
                one.sendall(b"a")
                time.sleep(0.05)
        assert time.monotonic() - began < 10 * READ_S


def test_a_client_that_does_not_read_is_disconnected(served, content):
    asked = 200
    with socket.socket() as one:
        one.settimeout(LIMIT_S)
        for its in (one, served.listening):  # before connecting, so that the system buffers few responses
            its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        host, port = served.url.removeprefix("http://").split(":")
        one.connect((host, int(port)))
        one.sendall(asked * b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(4 * READ_S)
        assert 0 < answer_of(one).count(b"HTTP/1.1 200") < asked
    assert is_alive(served, content)


def test_pipelined_requests_are_answered_in_order(served, content):
    requests = POST + f"Content-Length: {len(content)}\r\n\r\n".encode() + content
    requests += b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connected(served) as one:
        one.sendall(requests)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer_of(one)) == [b"200", b"200", b"404"]


@pytest.mark.parametrize("content_length", [b"+5", b"5, 6", b"-1", b"0x5", b"5\r\nTransfer-Encoding: chunked"])
def test_ambiguous_content_lengths_are_refused(served, content_length):
    """If a proxy read the length differently, a request could be smuggled past it."""
    with connected(served) as one:
        one.sendall(POST + b"Content-Length: " + content_length + b"\r\n\r\nhello")
        assert answer_of(one).startswith(b"HTTP/1.1 400")


def test_clients_that_disconnect_while_waiting_leave_nothing_behind(served, content):
    batcher, let_go = served.service.models["cnn"].batcher, threading.Event()
    judged = batcher._forwards["logits"]
    batcher._forwards["logits"] = lambda inputs: (let_go.wait(LIMIT_S), judged(inputs))[1]
    try:
        for _ in range(8):
            with connected(served) as one:
                one.sendall(POST + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
                time.sleep(0.02)
        while served.service.running < 8:
            time.sleep(0.01)
    finally:
        let_go.set()
        batcher._forwards["logits"] = judged
    assert is_alive(served, content)
    until = time.monotonic() + LIMIT_S
    while served.service.running and time.monotonic() < until:
        time.sleep(0.01)
    assert served.service.running == 0 and batcher.waiting_windows == 0


def test_many_uploads_at_the_limit_are_answered_or_told_to_retry(served, tmp_path: Path):
    """A hundred at once, each near the size limit: no 500, no broken connection, and afterwards all is as before."""
    content = write_sound(tmp_path / "long.wav", 15.0).read_bytes()
    assert 0.9 < len(content) / (1 << 20) < 1

    limits = httpx2.Limits(max_connections=100)
    with httpx2.Client(trust_env=False, timeout=60, limits=limits) as client, ThreadPoolExecutor(100) as threads:
        answers = threads.map(lambda _: client.post(served.url + CLASSIFY, content=content), range(100))
        statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 429, 503, 408} and statuses.count(200) >= 1
    assert served.service.running == 0

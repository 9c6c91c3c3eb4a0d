"""Bodies that are no recording, or have false headers: refused in one sentence before they cost anything."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import httpx2
import numpy as np
import pytest
import soundfile
from serving_process import running
from tagging_models import save_classifier

CLASSIFY = "/v1/audio-classification"


@pytest.fixture(scope="module")
def post(tmp_path_factory):
    folder = save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn")
    with (
        running(folder, max_mb=2, max_duration_s=20) as served,
        httpx2.Client(base_url=served.url, trust_env=False, timeout=60) as client,
    ):
        yield lambda content, **options: client.post(CLASSIFY, content=content, **options)


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", content)
    return packed.getvalue()


def lying_wav(samples: int, promised: int) -> bytes:
    """A WAV whose header declares another number of audio bytes than follow."""
    sound = np.zeros(samples, "<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + promised, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", promised
    )
    return head + sound


def silent_flac(duration_s: float, sample_rate: int) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, np.zeros(round(duration_s * sample_rate), np.int16), sample_rate, format="FLAC")
    return written.getvalue()


HOSTILE = {
    "nothing": (b"", 400, "no recording"),
    "text": (b"hello" * 100, 400, "unreadable"),
    "a zip named .wav": (zipped(b"RIFF" * 100), 400, "unreadable"),
    "a header that promises hours": (lying_wav(100, 1 << 29), 400, "unreadable"),
    "a truncated file": (lying_wav(16_000, 64_000), 400, "truncated"),
    "an hour of FLAC in 11 kB": (silent_flac(3600, 1000), 400, "its header promises 3600 s"),
    "minutes of FLAC in few kB": (silent_flac(300, 8000), 413, "300.0 s by its header, expected at most 20 s"),
    "too many bytes": (lying_wav(1_100_000, 2_200_000), 413, "larger than the maximum of 2 MB"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_recordings_are_refused_in_one_sentence(post, case):
    content, status, sentence = HOSTILE[case]
    in_pieces = (content[first : first + 65536] for first in range(0, len(content), 65536))
    for answer in (post(content), post(in_pieces)):
        assert answer.status_code == status, answer.text
        assert sentence in answer.json()["error"] and "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "sentence"),
    [
        (b"[1", "application/json", 400, "not the JSON"),
        (b"[" * 200_000, "application/json", 400, "not the JSON"),
        (b'{"inputs": "http://127.0.0.1/a.wav"}', "application/json", 400, "URLs and paths are not opened"),
        (b'{"inputs": "/etc/passwd"}', "application/json", 400, "URLs and paths are not opened"),
        (b'{"inputs": "AAAA", "parameters": {"device": 0}}', "application/json", 422, "setting device cannot be"),
        (b'{"inputs": "AAAA", "inputs": "BBBB"}', "application/json", 400, "not the JSON"),
        (b'{"inputs": "AAAA", "parameters": {"top_k": NaN}}', "application/json", 422, "setting top_k cannot be 'nan'"),
        (
            b'{"inputs": "AAAA", "parameters": {"top_k": 1e999}}',
            "application/json",
            422,
            "setting top_k cannot be 'inf'",
        ),
        (
            b'{"inputs": "AAAA", "parameters": {"top_k": true}}',
            "application/json",
            422,
            "setting top_k cannot be 'True'",
        ),
        (
            b'{"inputs": "AAAA", "parameters": {"top_k": 1' + 9999 * b"0" + b"}}",
            "application/json",
            400,
            "not the JSON",
        ),
        (b'{"inputs": "AAAA", "\\ud800": 1}', "application/json", 422, "a field"),
        (b'{"inputs": "AAAA", "parameters": []}', "application/json", 422, "parameters that are not an object"),
        (b'{"inputs": "AAAA", "options": {}}', "application/json", 422, "a field 'options'"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "The form"),
        (b"--x\r\n", "multipart/form-data", 400, "The form cannot be read"),
        (
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\na\r\n--x--\r\n',
            *("multipart/form-data; boundary=x", 422, "a field 'other'"),
        ),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_bodies_that_are_no_recording(post, content, kind, status, sentence):
    answer = post(content, headers={"content-type": kind})
    assert answer.status_code == status and sentence in answer.json()["error"], answer.text


def test_a_compressed_body_is_not_unpacked(post):
    answer = post(gzip.compress(lying_wav(100, 200)), headers={"content-encoding": "gzip"})
    assert answer.status_code == 415

"""Reads a recording in the three forms that clients send.

    body        the bytes of the file, with any other content type
    form        multipart/form-data with one file called `file`
    JSON        {"inputs": the file in base64, "parameters": {"top_k": 3, "function_to_apply": "sigmoid"}}, as the Hub's
                clients send it

Uploads stay in memory, within the service's limits. File names are ignored, and nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from hf_audio.serving.allowance import MB, Allowance
from hf_audio.serving.refusal import RefusalError

JSON, FORM = "application/json", "multipart/form-data"
# Limits for reading the rest of a refused body, which lets the client finish sending and read the response.
DISCARD_S, DISCARD_BYTES = 2.0, 64 * MB
PIECE_BYTES = 256 * 1024
MAX_FIELDS = 8
# Limits JSON structure: base64 has none of these characters, so many of them can only be an attack on memory
STRUCTURE, MAX_STRUCTURE = (b",", b"[", b"{"), 200
EXPECTED = 'send {"inputs": the file in base64, "parameters": {...}}'
FORM_EXPECTED = "send multipart/form-data with one file called `file`, and settings in the query (?top_k=3)"


@dataclass(frozen=True)
class Upload:
    """A recording, and the parameters that came in the same body."""

    content: bytes
    parameters: dict[str, Any] = field(default_factory=dict)


async def read_upload(request: Request, allowance: Allowance) -> Upload:
    """The recording of a request.

    Raises:
        RefusalError: too large, by its headers or as received (413), empty or in none of the forms (400), or
            compressed (415).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusalError(415, "The body is compressed (Content-Encoding): send the file unchanged", "encoding")
    limits = {JSON: allowance.max_json_bytes, FORM: allowance.max_form_bytes}
    body = await _body(request, limits.get(kind, allowance.max_bytes), allowance)
    upload = _of_json(body) if kind == JSON else Upload(await _file_of_form(request, body) if kind == FORM else body)
    if not upload.content:
        raise RefusalError(400, "There is no recording in the request: send the bytes of a sound file", "empty")
    if len(upload.content) > allowance.max_bytes:
        raise _too_large(allowance)
    return upload


async def discard_body(request: Request) -> None:
    """Reads and discards the rest of a body for a while, since many clients read the response only after sending it."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # the client waits for permission before it sends

    async def read() -> None:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > DISCARD_BYTES:
                return

    # RuntimeError: the body was already read to its end
    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):
        await asyncio.wait_for(read(), DISCARD_S)


async def _body(request: Request, limit: int, allowance: Allowance) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(allowance)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(allowance)
        pieces.append(piece)
    return b"".join(pieces)


def _of_json(body: bytes) -> Upload:
    try:
        if sum(body.count(letter) for letter in STRUCTURE) > MAX_STRUCTURE:
            raise ValueError("too many values")
        content = json.loads(body, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, f"The body is not the JSON that its content type says: {EXPECTED}", "json") from error
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), str):
        raise RefusalError(400, f"The JSON has no text named `inputs`: {EXPECTED}", "json")
    others, parameters = sorted(set(content) - {"inputs", "parameters"}), content.get("parameters")
    parameters = {} if parameters is None else parameters
    if others or not isinstance(parameters, dict):
        found = f"a field {others[0]!r}" if others else "parameters that are not an object"
        raise RefusalError(422, f"The JSON has {found}: {EXPECTED}", "json")
    try:
        recording = base64.b64decode(content["inputs"], validate=True)
    except ValueError as error:
        reason = f"The text `inputs` is not base64 (URLs and paths are not opened): {EXPECTED}"
        raise RefusalError(400, reason, "json") from error
    return Upload(recording, {name: value for name, value in parameters.items() if value is not None})


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate names, since JSON parsers disagree on which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a duplicate name")
    return found


async def _file_of_form(request: Request, body: bytes) -> bytes:
    """The file called `file`; the form is parsed in memory."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        for first in range(0, len(body), PIECE_BYTES):
            yield body[first : first + PIECE_BYTES]
            await asyncio.sleep(0)  # so that a form that is slow to parse does not block other requests

    parser = MultiPartParser(request.headers, pieces(), max_files=1, max_fields=MAX_FIELDS)
    parser.spool_max_size = len(body) + 1  # never on a disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        raise RefusalError(400, f"The form cannot be read: {FORM_EXPECTED}", "form") from error
    others = sorted(set(form) - {"file"})
    if others:
        raise RefusalError(422, f"The form has a field {others[0]!r}: {FORM_EXPECTED}", "form")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise RefusalError(400, f"The form has no file: {FORM_EXPECTED}", "form")
    return await file.read()


def _too_large(allowance: Allowance) -> RefusalError:
    return RefusalError(
        413,
        f"The recording is larger than the maximum of {allowance.max_mb:g} MB: shorten it, or send FLAC",
        "size",
    )

"""One HTTP connection of the tests' Hub: reads requests, sends responses, and breaks according to a fault."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hub_faults import Request
from hub_storage import KINDS, HubError

CHUNK_BYTES = 256 * 1024
ROUTES: list[tuple[str, re.Pattern, Callable]] = []


def route(method: str, pattern: str) -> Callable:
    """Registers a function (connection, repo id and other named parts of the path) for a path of the API."""
    places = {
        "{kind}": f"(?P<kind>{'|'.join(KINDS)})",
        "{prefix}": r"(?P<prefix>datasets/|spaces/|)",
        "{repo_id}": r"(?P<repo_id>[^/]+/[^/]+?)",
        "{revision}": r"(?P<revision>[^/]+)",
        "{path}": r"(?P<path>.+)",
    }
    for place, expression in places.items():
        pattern = pattern.replace(place, expression)

    def enter(function: Callable) -> Callable:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return enter


class _CutError(Exception):
    """Ends the connection immediately."""


class Connection(BaseHTTPRequestHandler):
    """Base of both origins: subclasses implement `dispatch`, which responds or raises HubError."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every small response waits 40 ms for the client's acknowledgement
    origin = ""

    def dispatch(self) -> None:
        raise NotImplementedError

    def serve(self) -> None:
        self.hub = self.server.hub
        parts = urlsplit(self.path)
        self.url_path, self.query = parts.path, parse_qs(parts.query)
        self.entry = Request(
            self.origin,
            self.command,
            unquote(parts.path),
            parts.query,
            self.headers["Range"],
            self._token() is not None,
        )
        self.hub.log.requests.append(self.entry)
        self.unread = self._chunks()
        self.fault = self.hub.faults.take(self.command, self.entry.path)
        self.passed = 0
        try:
            self._serve_or_refuse()
        except _CutError:
            self.close_connection = True
        except OSError:  # the client disconnected
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - http.server's names

    def _serve_or_refuse(self) -> None:
        try:
            if self.fault and self.fault.kind.isdigit():
                page = b"<html><body>Something is wrong on purpose</body></html>"
                status, self.fault = int(self.fault.kind), None
                return self.answer(status, page, content_type="text/html")
            self._passing(0)
            self.dispatch()
        except HubError as error:
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            self.answer_json({"error": error.message}, error.status, headers | getattr(error, "headers", {}))
        except (_CutError, OSError):
            raise
        except Exception:  # an error of this server: tests check hub.errors
            self.hub.errors.append(traceback.format_exc())
            self.answer_json({"error": traceback.format_exc()}, 500)

    def _token(self) -> str | None:
        kind, _, token = (self.headers["Authorization"] or "").partition(" ")
        return token if kind == "Bearer" and token else None

    # Faults

    def _passing(self, count: int) -> int:
        """How many of `count` bytes may be transferred now; triggers the fault when it is due."""
        fault = self.fault
        if fault is None or fault.kind == "lost_answer":
            return count
        if self.passed < fault.after_bytes:
            return min(count, fault.after_bytes - self.passed)
        self.fault = None
        if fault.kind == "stall":
            self.hub.faults.pause(fault.seconds)
            return count
        self._cut(reset=fault.kind == "reset")

    def _cut(self, reset: bool = False) -> None:
        if reset:  # without lingering, the kernel sends RST when the last reference is closed
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        raise _CutError

    # Reading

    def _chunks(self) -> Iterator[bytes]:
        """The body of the request, with a length or chunked."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield from self._read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self._read(int(self.headers.get("Content-Length") or 0))

    def _read(self, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = self.rfile.read(self._passing(min(size, CHUNK_BYTES)))
            if not chunk:
                raise _CutError  # the client stopped within the body
            size -= len(chunk)
            self.passed += len(chunk)
            self.entry.received += len(chunk)
            yield chunk

    def body(self) -> bytes:
        return b"".join(self.unread)

    def json(self) -> dict:
        return json.loads(self.body() or b"{}")

    # Answering

    def answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        self._head(status, len(body), {"Content-Type": content_type} | (headers or {}))
        if self.command != "HEAD":
            for start in range(0, len(body), CHUNK_BYTES):
                self._send(body[start : start + CHUNK_BYTES])

    def answer_json(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(content).encode(), headers, "application/json; charset=utf-8")

    def answer_file(self, path: Path, headers: dict[str, str]) -> None:
        """Responds with 200, or with 206 and the requested range, or with 416."""
        size = path.stat().st_size
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"} | headers
        start, stop, status = 0, size, 200
        if self.command == "GET" and self.headers["Range"]:
            wanted = byte_range(self.headers["Range"], size)
            if wanted is None:
                self.answer(416, headers={"Content-Range": f"bytes */{size}"})
                return
            (start, stop), status = wanted, 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._head(status, stop - start, headers)
        if self.command == "GET":
            with open(path, "rb") as file:
                file.seek(start)
                while (left := stop - file.tell()) > 0:
                    self._send(file.read(min(left, CHUNK_BYTES)))

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        for _ in self.unread:  # an unread body would be taken for the next request
            pass
        if self.fault and self.fault.kind == "lost_answer":
            self._cut()
        self.entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value.replace("\n", " "))
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, chunk: bytes) -> None:
        while chunk:
            count = self._passing(len(chunk))
            self.passed += count
            self.entry.sent += count
            self.wfile.write(chunk[:count])
            chunk = chunk[count:]

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: the log is in `hub.log`."""

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # a reset connection is already closed
            super().finish()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of a Range header; None if it cannot be satisfied."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None

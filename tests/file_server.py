"""A file server on 127.0.0.1 that supports ranges, and misbehaves on request."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """The running server.

    Attributes:
        url: its address, without a trailing slash.
        files: contents by name.
        faults: by name, faults of the next responses, one entry each: ("cut", num_bytes), ("status", code), ("page",),
            ("slow", seconds_per_chunk), ("stall", num_bytes), ("redirect", url) with an endless body, ("endless",)
            without a length, ("long", num_bytes) with a false length.
        ranges: whether it supports ranges; if not, it sends whole files without a length.
        log: name and Range header of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[tuple]] = defaultdict(list)
        self.ranges = True
        self.log: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked_ranges(self, name: str) -> list[str | None]:
        return [asked for requested, asked in self.log if requested == name]


class _Handler(BaseHTTPRequestHandler):
    files: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        self.files.log.append((name, self.headers["Range"]))
        fault = self.files.faults[name].pop(0) if self.files.faults[name] else ("none",)
        if fault[0] == "status" or name not in self.files.files:
            return self.send_error(fault[1] if fault[0] == "status" else 404)
        if fault[0] == "redirect":
            return self._send_endlessly(302, {"Location": fault[1]})
        if fault[0] == "endless":
            return self._send_endlessly(200, {})
        if fault[0] == "page":
            return self._send(200, b"<html>Please log in</html>", {"Content-Type": "text/html; charset=utf-8"})
        content = self.files.files[name]
        version = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": version, "Content-Type": "application/octet-stream"}
        start = self._start(version)
        if start is not None and start >= len(content):
            return self._send(416, b"no such range", {"Content-Range": f"bytes */{len(content)}"})
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(200 if start is None else 206, content[start or 0 :], headers, fault)

    def _start(self, version: str) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if not asked or not self.files.ranges or self.headers["If-Range"] not in (None, version):
            return None
        return int(asked[1])

    def _send_endlessly(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        while True:
            try:
                self.wfile.write(bytes(1 << 16))
            except OSError:
                return

    def _send(self, status: int, content: bytes, headers: dict[str, str], fault: tuple = ("none",)) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.files.ranges:
            self.send_header("Content-Length", str(fault[1] if fault[0] == "long" else len(content)))
        self.end_headers()
        if fault[0] == "cut":
            content = content[: fault[1]]
        try:
            if fault[0] == "slow":
                for start in range(0, len(content), 20_000):
                    self.wfile.write(content[start : start + 20_000])
                    time.sleep(fault[1])
            elif fault[0] == "stall":
                self.wfile.write(content[: fault[1]])
                time.sleep(0.3)
            else:
                self.wfile.write(content)
        except OSError:  # some tests kill the client
            self.close_connection = True

"""The request log of the tests' Hub, and its deliberate faults."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass


@dataclass
class Request:
    """A line of the log. `sent` and `received` count bytes of bodies; `status` is 0 until there is a response."""

    origin: str  # "hub" or "storage"
    method: str
    path: str
    query: str
    range: str | None
    has_token: bool
    status: int = 0
    received: int = 0
    sent: int = 0


class RequestLog:
    """All requests. Each is logged before its response, so that it is here when the client has the response."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def clear(self) -> None:
        self.requests = []

    def matching(self, method: str = ".*", path: str = ".*", origin: str = ".*") -> list[Request]:
        """Requests whose method, path and origin match these regular expressions (path: anywhere in it)."""
        return [
            request
            for request in list(self.requests)
            if re.fullmatch(method, request.method)
            and re.search(path, request.path)
            and re.fullmatch(origin, request.origin)
        ]

    def bytes_received(self, method: str = ".*", path: str = ".*") -> int:
        return sum(request.received for request in self.matching(method, path))

    def bytes_sent(self, method: str = ".*", path: str = ".*") -> int:
        return sum(request.sent for request in self.matching(method, path))


@dataclass
class Fault:
    method: str
    path: str
    kind: str
    skip: int
    times: int
    after_bytes: int
    seconds: float


class Faults:
    """Deliberate faults.

    Kinds:
        a status ("503", "412" ...): a response with this status and a web page as body, as from a gateway, instead of
            the requested action.
        "drop_after": the connection is closed after `after_bytes` of the body of the request, or of the response if
            the request has none.
        "reset": the same with a TCP reset.
        "stall": a pause of `seconds` at that point, then the request continues.
        "lost_answer": the request is carried out, but the connection is closed before the response.
    """

    KINDS = ("drop_after", "reset", "stall", "lost_answer")

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def add(
        self,
        method: str,
        path: str,
        kind: str,
        *,
        times: int = 1,
        skip: int = 0,
        after_bytes: int = 0,
        seconds: float = 5.0,
    ) -> None:
        """After `skip` matching requests, the next `times` fail; method and path are regular expressions."""
        if kind not in self.KINDS and not kind.isdigit():
            raise ValueError(f"Unknown fault {kind!r}: a status or one of {', '.join(self.KINDS)}")
        self._faults.append(Fault(method, path, kind, skip, times, after_bytes, seconds))

    def clear(self) -> None:
        """Removes all faults and ends current stalls."""
        with self._lock:
            self._faults = []
            wake, self._wake = self._wake, threading.Event()
        wake.set()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.fullmatch(fault.method, method) and re.search(fault.path, path):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def pause(self, seconds: float) -> None:
        self._wake.wait(seconds)

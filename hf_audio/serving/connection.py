"""A client's connection. uvicorn's own waits for a head of any size for ever, and as long for a client that does not
read its answer; some hundred such connections would fill the memory, or keep everybody else out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# That may come without a piece of a body or the end of a head: headers, and what may follow a body in pieces.
MAX_HEAD_BYTES = 64 * 1024
# Seconds from the first byte of a head, or from the connection, to the end of the head.
HEAD_S = 10.0
# Seconds that a client has to read what fills the buffers, or to end what it sends after it got its answer.
READ_S = 30.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Ends what takes too long or gets too large outside of a body, whose limits `upload.py` keeps."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._receiving, self._sending = _Timer(self.loop), _Timer(self.loop)
        self._unused_bytes, self._progressed = 0, False

    def connection_made(self, transport: Any) -> None:
        """The first head has to come."""
        super().connection_made(transport)
        self._receiving.start(HEAD_S, self._end_slow_head)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._receiving.stop()
        self._sending.stop()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Counts what is no progress: httptools keeps it until the header that it belongs to has ended."""
        self._progressed = False
        super().data_received(data)
        self._unused_bytes = 0 if self._progressed else self._unused_bytes + len(data)
        if self._unused_bytes > MAX_HEAD_BYTES:
            self._end(TOO_LARGE)

    def on_message_begin(self) -> None:
        """Of a head the first byte is there."""
        super().on_message_begin()
        self._receiving.start(HEAD_S, self._end_slow_head)

    def on_headers_complete(self) -> None:
        """From here on the application looks at the clock."""
        self._receiving.stop()
        self._progressed = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._progressed = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The answer is written, which does not say that the request has ended."""
        super().on_response_complete()
        if not self._is_answering and self.cycle.more_body:
            self._receiving.start(READ_S, self.transport.abort)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._sending.start(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has."""
        super().resume_writing()
        self._sending.stop()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP, unless the connection is at its end."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_slow_head(self) -> None:
        """Once the requests before it are answered."""
        if self._is_answering:
            self._receiving.start(HEAD_S, self._end_slow_head)
        else:
            self._end(TOO_SLOW)

    def _end(self, answer: bytes) -> None:
        """Closes it with an answer, where none is being written."""
        if self.transport.is_closing():
            return
        if not self._is_answering:
            self.transport.write(answer)
        self.transport.close()
        self._receiving.start(READ_S, self.transport.abort)


class _Timer:
    """Calls a function after some seconds, unless it is stopped or started again before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, function: Callable[[], object]) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, function)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

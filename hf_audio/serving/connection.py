"""A client's connection, with limits. uvicorn's own waits forever for request headers of any size, and for clients that
do not read their response; a few hundred such connections would fill the memory or block all other clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Maximum size of the headers, or of the trailers after a chunked body.
MAX_HEAD_BYTES = 64 * 1024
# Maximum time from the connection or the first byte of the headers to their end.
HEAD_S = 10.0
# Maximum time for a client to read what fills the buffers, or to finish sending after it got its response.
READ_S = 30.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Closes connections whose headers are too slow or too large, or whose client does not read.

    The limits of the body are in `upload.py`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._receiving, self._sending = _Timer(self.loop), _Timer(self.loop)
        self._unused_bytes, self._progressed = 0, False

    def connection_made(self, transport: Any) -> None:
        """Waits for the first request's headers."""
        super().connection_made(transport)
        self._receiving.start(HEAD_S, self._end_slow_head)

    def connection_lost(self, error: Exception | None) -> None:
        """Stops all timers."""
        self._receiving.stop()
        self._sending.stop()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Counts bytes without progress: httptools buffers them until the header that they belong to is complete."""
        self._progressed = False
        super().data_received(data)
        self._unused_bytes = 0 if self._progressed else self._unused_bytes + len(data)
        if self._unused_bytes > MAX_HEAD_BYTES:
            self._end(TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request's headers has arrived."""
        super().on_message_begin()
        self._receiving.start(HEAD_S, self._end_slow_head)

    def on_headers_complete(self) -> None:
        """The headers are complete; from here on the application limits the time."""
        self._receiving.stop()
        self._progressed = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has arrived."""
        self._progressed = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The response is written, but the request may not be complete."""
        super().on_response_complete()
        if not self._is_answering and self.cycle.more_body:
            self._receiving.start(READ_S, self.transport.abort)

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        super().pause_writing()
        self._sending.start(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read enough of the response."""
        super().resume_writing()
        self._sending.stop()

    def send_400_response(self, msg: str) -> None:
        """Answers data that is not HTTP, unless the connection is closing."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_slow_head(self) -> None:
        """Ends the connection after earlier requests are answered."""
        if self._is_answering:
            self._receiving.start(HEAD_S, self._end_slow_head)
        else:
            self._end(TOO_SLOW)

    def _end(self, answer: bytes) -> None:
        """Closes the connection, with a response unless another one is being written."""
        if self.transport.is_closing():
            return
        if not self._is_answering:
            self.transport.write(answer)
        self.transport.close()
        self._receiving.start(READ_S, self.transport.abort)


class _Timer:
    """Calls a function after some seconds, unless the timer is stopped or restarted before."""

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

"""HTTP connections of senders nobody knows yet: bounded in number, head, and time.

uvicorn's httptools protocol has none of these limits. Here a head must come whole within HEAD_SECONDS and
HEAD_MAX_BYTES, what is sent must be read within WRITE_SECONDS, and where all connections are taken, the
oldest idle one of the address with the most of them makes room for the newcomer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yumai.observability.instruments import Counter

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request."""
HEAD_MAX_BYTES = 64 * 1024
HEADERS_MOST = 100
REST_SECONDS = 10.0
"""Of a body whose request is answered already: read on, so that its sender finds the answer."""
WRITE_SECONDS = 30.0
"""Without the receiver taking anything of an answer."""
PIPELINED_MOST = 16

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Connections:
    """The HTTP connections of one process. `refused` counts by `reason`: head, slow_head, crowd, slow_reader."""

    def __init__(self, most: int, refused: Counter) -> None:
        self._most, self._refused = most, refused
        self._all: set[Bounded] = set()
        self._idle: dict[str, OrderedDict[Bounded, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def came(self, one: Bounded) -> bool:
        """Whether there is room, made by another's end if need be."""
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all.add(one)
        self.idle(one)
        return True

    def _make_room(self) -> bool:
        if not self._idle:
            return False
        crowd = max(self._idle.values(), key=len)
        oldest = next(iter(crowd))
        self.gone(oldest)
        self.count("crowd")
        oldest.drop()
        return True

    def idle(self, one: Bounded) -> None:
        """It has no request in work."""
        if one in self._all:
            self._idle.setdefault(one.address, OrderedDict())[one] = None

    def busy(self, one: Bounded) -> None:
        crowd = self._idle.get(one.address)
        if crowd is not None:
            crowd.pop(one, None)
            if not crowd:
                del self._idle[one.address]

    def gone(self, one: Bounded) -> None:
        self.busy(one)
        self._all.discard(one)

    def count(self, reason: str) -> None:
        self._refused.inc(reason=reason)


class _TooLarge(Exception):
    pass


class Bounded(HttpToolsProtocol):
    def __init__(self, connections: Connections, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._connections = connections
        self.address = ""
        self._in_head = True
        self._in_message = False
        self._head_bytes = 0
        self._raw_bytes = 0
        """Received since the last byte that the parser handed on."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # -- the connection ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if not self._connections.came(self):
            self._connections.count("crowd")
            self.drop()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.gone(self)
        for timer in (self._head_timer, self._rest_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def drop(self) -> None:
        """At once, with whatever waits to be written."""
        self.transport.abort()

    def _end(self, reason: str) -> None:
        self._connections.count(reason)
        self.drop()

    # -- what comes ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._head_timer is None:
            self._await_head()
        self._raw_bytes += len(data)
        super().data_received(data)
        # What a parser keeps of a line that does not end: a head's, a trailer's.
        if self._raw_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._too_large()
        if len(self.pipeline) > PIPELINED_MOST:
            self._end("head")

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > HEAD_MAX_BYTES or len(self.headers or ()) > HEADERS_MOST:
            self._too_large()
        elif not self.transport.is_closing():
            super().send_400_response(msg)

    def _too_large(self) -> None:
        self._connections.count("head")
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_message = True
        self._head_bytes = self._raw_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(len(name) + len(value))
        super().on_header(name, value)

    def _measure(self, more: int) -> None:
        """Counts the bytes of a head, and of the trailer that may follow a body."""
        self._head_bytes += more
        if self._head_bytes > HEAD_MAX_BYTES or len(self.headers) > HEADERS_MOST:
            raise _TooLarge

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._raw_bytes = 0
        self._stop_head_timer()
        self._connections.busy(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._raw_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message, self._in_head = False, True
        self._raw_bytes = 0
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        super().on_message_complete()
        self._is_idle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message and self.cycle.response_complete and self._rest_timer is None:
            self._rest_timer = self.loop.call_later(REST_SECONDS, self.drop)
        self._is_idle()

    def _is_idle(self) -> None:
        if self._in_head and (self.cycle is None or self.cycle.response_complete):
            self._connections.idle(self)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # one pipelined behind a request that is still answered
        else:
            self._end("slow_head")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # -- what goes -----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self._end, "slow_reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def bounded(most: int, refused: Counter) -> Any:
    """A protocol class for `uvicorn.Config(http=…)` that keeps these bounds."""
    return partial(Bounded, Connections(most, refused))

"""Who asks, and whether anybody still waits for the answer.

The asker is known to whatever a request does (a context variable), so that the store's slots are counted
for whom they are. A GET whose asker has gone is cancelled, and with it what it asks of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yumai.access import Principal

ALL = "all"
"""The asker of readings that many share. It has a queue of its own, so that nobody waits in another's."""
_asker: ContextVar[str] = ContextVar("asker", default=ALL)


def name_of(principal: Principal) -> str:
    """Whom budgets count: a platform, an office, and of the bureau each person."""
    return f"{principal.role}:{principal.code or principal.name}"


def asker() -> str:
    return _asker.get()


def asks(principal: Principal) -> None:
    """From here on this request is the principal's."""
    _asker.set(name_of(principal))


@contextlib.contextmanager
def for_all() -> Iterator[None]:
    before = _asker.set(ALL)
    try:
        yield
    finally:
        _asker.reset(before)


class Awaited:
    """ASGI middleware: ends the work on a GET when its connection is gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        gone = asyncio.ensure_future(_until_gone(receive))
        given = answered = False

        async def receives() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.wait({gone})
            return {"type": "http.disconnect"}

        async def sends(message: Message) -> None:
            nonlocal answered
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body")

        work = asyncio.ensure_future(self._app(scope, receives, sends))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or answered:
                return await work
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                if not work.cancelled() and (error := work.exception()) is not None:
                    raise error


async def _until_gone(receive: Receive) -> None:
    """Until the connection is lost; a body that came with the GET is read, and means nothing."""
    while (await receive())["type"] != "http.disconnect":
        pass

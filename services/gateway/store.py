"""Reads of the store, each within a time: away, restarting or stalled all become Unavailable."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from clickhouse_connect.driver.asyncclient import AsyncClient

from yumai import canary
from yumai.http.refusals import Unavailable
from yumai.sharing.lately import Lately
from yumai.store.asked import ANY_SIZE, Queries, limits
from yumai.store.client import STORE_ERRORS, connect_async
from yumai.store.figures import FRESHNESS, Freshness, Query
from yumai.store.migrate import APPLIED, OldSchema, require_schema

ANSWER_SECONDS = 30.0
"""Until the first bytes of an answer."""
EXPORT_SECONDS = 300.0
"""Until the last ones."""
SHORT_SECONDS = 10.0
FRESHNESS_SECONDS = 0.5
"""How long an answer about freshness is used again: older only promises less."""
_AWAY: tuple[type[Exception], ...] = (*STORE_ERRORS, aiohttp.ClientError, TimeoutError)
_TAIL = 4096
WRITTEN = {"format_csv_null_representation": ""}
"""An empty field is what every program reads as no value."""


class Store:
    """One asyncio client, connected when it is first needed and the store is there."""

    def __init__(self, dsn: str, queries: Queries) -> None:
        self._dsn = dsn
        self._queries = queries
        self._client: AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._freshness: Lately[Freshness] = Lately(
            least=FRESHNESS_SECONDS, most=FRESHNESS_SECONDS, slow=math.inf
        )

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await connect_async(self._dsn, timeout=120)
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def rows(self, query: Query, seconds: float = ANSWER_SECONDS) -> Sequence[Sequence[Any]]:
        """All rows of a query. Raises Unavailable, TooMuch."""
        try:
            async with asyncio.timeout(seconds), self._queries.turn() as rank:
                settings = _seeing(query) | limits(seconds, rank)
                client = await self._connected()
                return (
                    await client.query(query.sql, query.parameters, settings=settings)
                ).result_rows
        except _AWAY as error:
            raise _unavailable(error) from error

    async def freshness(self) -> Freshness:
        """How far the books are, as asked at most half a second ago. Raises Unavailable, TooMuch."""
        # One question for all who wait: fifty would fill the queue that all share.
        return await self._freshness.of(None, self._ask_freshness)

    async def _ask_freshness(self) -> Freshness:
        ((through, known, wanted),) = await self.rows(FRESHNESS, SHORT_SECONDS)
        return Freshness.of_row(through if known else None, known, wanted)

    async def ping(self) -> None:
        """Raises Unavailable when the tables can't be read, or are older than this code."""
        applied = await self.rows(Query(APPLIED), 3.0)
        try:
            require_schema(applied)
        except OldSchema as error:
            raise Unavailable(str(error)) from error

    @asynccontextmanager
    async def pieces(
        self, query: Query, format_: str, *, any_size: bool = False
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer as the store writes it, piece by piece. `any_size`: as large as who asks wants it.

        Raises TooMuch, and Unavailable also in mid-answer: an answer that ends early never looks whole.
        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    rank = await held.enter_async_context(self._queries.turn())
                    rank += ANY_SIZE if any_size else 0
                    settings = _seeing(query) | limits(EXPORT_SECONDS, rank) | WRITTEN
                    client = await self._connected()
                    stream = await client.raw_stream(
                        query.sql, query.parameters, settings=settings, fmt=format_
                    )
            except _AWAY as error:
                raise _unavailable(error) from error
            with stream as source:
                yield _checked(source, time.monotonic() + EXPORT_SECONDS)


def _seeing(query: Query) -> dict[str, Any]:
    return dict(canary.SHOWING) if query.with_canary else {}


async def _checked(source: AsyncIterator[bytes], until: float) -> AsyncIterator[bytes]:
    tail = b""
    iterator = aiter(source)
    while True:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                piece = await anext(iterator)
        except StopAsyncIteration:
            break
        except _AWAY as error:
            raise _unavailable(error) from error
        tail = (tail + piece)[-_TAIL:]
        # The store tells an error in mid-answer as text at the end of what it has sent.
        if b"DB::Exception" in tail or b"__exception__" in tail:
            raise Unavailable("the store gave up in mid-answer")
        if time.monotonic() > until:
            raise Unavailable("the answer took too long to send")
        yield piece


def _unavailable(error: BaseException) -> Unavailable:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Unavailable(text[:200])

"""What people's reads may take of the store: places, seconds, memory. Metrics' writes have none of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yumai.sharing import asking
from yumai.sharing.bodies import TooMuch
from yumai.sharing.slots import Slots
from yumai.sharing.turns import Spent

AT_ONCE = 8
"""Queries of one process in the store: where three ask, each has two, and so much of the processors."""
WAITING = 32
"""Queries that one asker has waiting, at most."""
MEMORY_BYTES = 2 << 30
THREADS = 4
ANY_SIZE = 8
"""Added to the rank of what may read all there is: a page's own questions go before it."""


def limits(seconds: float, rank: int) -> dict[str, str]:
    """A query's settings: it ends by itself though its asker can't end it.

    `rank` from 1 on: while one of a lower number runs it waits, block by block (ClickHouse's `priority`).
    """
    return {
        "priority": str(rank),
        "max_execution_time": str(math.ceil(seconds)),
        "max_memory_usage": str(MEMORY_BYTES),
        "max_threads": str(THREADS),
        # ClickHouse; the embedded store does so for every read.
        "cancel_http_readonly_queries_on_client_close": "1",
    }


class Queries:
    """Places of one process, taken in turn by askers; each has `each` of them at most."""

    def __init__(self, each: int) -> None:
        self._slots = Slots(max(AT_ONCE, 2 * each), each, WAITING)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """Counts a query of the current asker; its number among the asker's running ones, from 1. Raises TooMuch."""
        asker = asking.asker()
        try:
            begun = await self._slots.take(asker)
        except Spent as spent:
            raise TooMuch("queries", own=asker != asking.ALL) from spent
        try:
            yield self._slots.running(asker)
        finally:
            self._slots.give(asker, begun)

"""How far the books are: one question for all who ask at once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from services.gateway.store import Store
from yumai.http.refusals import Unavailable
from yumai.store.asked import Queries
from yumai.store.figures import Query

THROUGH = datetime(2026, 1, 31, 13, 5, tzinfo=UTC)


class Counted(Store):
    """Of a store that takes a while, and may be away."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", Queries(4))
        self.asked = 0
        self.away = False

    async def rows(self, query: Query, seconds: float = 1.0) -> Sequence[Sequence[Any]]:
        self.asked += 1
        await asyncio.sleep(0.02)
        if self.away:
            raise Unavailable("away")
        return [(THROUGH, 2, 2)]


def test_fifty_who_ask_at_once_are_one_question():
    async def asks() -> None:
        store = Counted()
        found = await asyncio.gather(*(store.freshness() for _ in range(50)))
        assert store.asked == 1
        assert {one.through for one in found} == {THROUGH}

    asyncio.run(asks())


def test_who_leaves_takes_nobody_along():
    async def asks() -> None:
        store = Counted()
        first = asyncio.create_task(store.freshness())
        second = asyncio.create_task(store.freshness())
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).through == THROUGH
        assert store.asked == 1

    asyncio.run(asks())


def test_a_failure_is_told_to_all_and_kept_for_nobody():
    async def asks() -> None:
        store = Counted()
        store.away = True
        found = await asyncio.gather(*(store.freshness() for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [Unavailable] * 3
        store.away = False
        assert (await store.freshness()).through == THROUGH

    asyncio.run(asks())


@pytest.mark.parametrize("leavers", [1, 3])
def test_a_failure_that_nobody_waits_for_any_more_is_no_error(leavers: int):
    async def asks() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said))
        store = Counted()
        store.away = True
        tasks = [asyncio.create_task(store.freshness()) for _ in range(leavers)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.05)
        return told

    assert asyncio.run(asks()) == []

"""Answers shared by many: made by one at a time, fresh where that is quick, the last one where it is slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from yumai.sharing import asking
from yumai.sharing.lately import Lately


@dataclass
class World:
    """A clock that work moves, and what was made."""

    now: float = 0.0
    takes: float = 0.0
    made: list[str] = field(default_factory=list)
    fails: bool = False

    async def make(self) -> int:
        self.made.append(asking.asker())
        await asyncio.sleep(0)
        self.now += self.takes
        if self.fails:
            raise OSError("away")
        return len(self.made)

    def lately(self, **more: float) -> Lately[int]:
        return Lately(clock=lambda: self.now, **more)  # type: ignore[arg-type]


def test_what_is_quick_is_always_made_anew() -> None:
    world = World(takes=0.1)
    lately = world.lately()

    async def live() -> list[int]:
        return [await lately.of("k", world.make) for _ in range(3)]

    assert asyncio.run(live()) == [1, 2, 3]


def test_it_is_given_again_for_a_share_of_the_time_that_it_took() -> None:
    world = World(takes=0.2)
    lately = world.lately(share=10, least=1.0, most=5.0)

    async def live() -> None:
        assert await lately.of("k", world.make) == 1
        world.now += 1.9
        assert await lately.of("k", world.make) == 1
        world.now += 0.2
        assert await lately.of("k", world.make) == 2

    asyncio.run(live())


def test_where_it_is_slow_the_last_is_given_at_once_and_the_next_is_under_way() -> None:
    world = World(takes=2.0)
    lately = world.lately(slow=0.3, stale=10.0)

    async def live() -> None:
        assert await lately.of("k", world.make) == 1
        assert await lately.of("k", world.make) == 1
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(world.made) == 2
        assert await lately.of("k", world.make) == 2
        world.now += 20
        before = len(world.made)
        assert await lately.of("k", world.make) >= before  # too old to be given
        await asyncio.sleep(0)

    asyncio.run(live())


def test_many_who_ask_at_once_ask_once_and_for_all() -> None:
    world = World(takes=1.0)
    lately = world.lately()

    async def live() -> None:
        token = asking._asker.set("district:500103")
        assert set(await asyncio.gather(*(lately.of("k", world.make) for _ in range(20)))) == {1}
        asking._asker.reset(token)

    asyncio.run(live())
    assert world.made == [asking.ALL]


def test_who_goes_away_takes_nothing_from_those_who_wait() -> None:
    world = World(takes=1.0)
    lately = world.lately()

    async def live() -> None:
        one = asyncio.ensure_future(lately.of("k", world.make))
        two = asyncio.ensure_future(lately.of("k", world.make))
        await asyncio.sleep(0)
        one.cancel()
        assert await two == 1

    asyncio.run(live())


def test_a_failure_is_told_and_asked_again_and_keys_are_apart() -> None:
    world = World(fails=True)
    lately = world.lately(keys=2)

    async def live() -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="away"):
                await lately.of("k", world.make)
        world.fails = False
        assert [await lately.of(key, world.make) for key in "abcd"] == [3, 4, 5, 6]
        assert len(lately._made) == 2

    asyncio.run(live())

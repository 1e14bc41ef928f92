"""Answers that many ask for: made by one at a time, and where that takes long, the last one is given meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from yumai.sharing.asking import for_all

T = TypeVar("T")


@dataclass(frozen=True)
class _Made(Generic[T]):
    value: T
    began: float
    took: float
    fresh_until: float


class Lately(Generic[T]):
    """The last answer of each key.

    It is given again for `share` times as long as it took to make (at least `least`, at most `most` seconds).
    After that the next asker waits for a new one; but where it took more than `slow` seconds, the last one is
    given at once, if it is not older than `stale` seconds, and a new one is made for the next asker.
    """

    def __init__(
        self,
        *,
        share: float = 0.0,
        least: float = 0.0,
        most: float = 0.0,
        slow: float = 0.3,
        stale: float = 10.0,
        keys: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share, self._least, self._most = share, least, most
        self._slow, self._stale, self._keys = slow, stale, keys
        self._clock = clock
        self._made: OrderedDict[Hashable, _Made[T]] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def of(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Raises what `make` raises, where nothing that was made before can be given."""
        made, now = self._made.get(key), self._clock()
        if made is not None:
            self._made.move_to_end(key)
            if now < made.fresh_until:
                return made.value
            if made.took > self._slow and now - made.began <= self._stale:
                self._begin(key, make)
                return made.value
        # One asker may leave before it is done; others wait for the same answer.
        return await asyncio.shield(self._begin(key, make))

    def _begin(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        task = self._under_way.get(key)
        if task is None:
            with for_all():
                context = contextvars.copy_context()
            task = asyncio.get_running_loop().create_task(self._make(key, make), context=context)
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        began = self._clock()
        value = await make()
        now = self._clock()
        keep = min(max(self._least, (now - began) * self._share), self._most)
        self._made[key] = _Made(value, began, now - began, now + keep)
        self._made.move_to_end(key)
        while len(self._made) > self._keys:
            self._made.popitem(last=False)
        return value

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen: its askers may all be gone

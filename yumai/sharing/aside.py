"""A thread with an event loop and a pool of its own: what hangs in it hangs nobody outside.

Name look-ups and blocking libraries can't be cancelled: their caller can go on, but their thread
is taken until they end. So each party that may name an address has an Aside, and uses up its own threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 128
"""Made as they are needed: more than one party has addresses."""


class Aside:
    def __init__(self, name: str) -> None:
        # Not uvloop: its look-ups share one pool in the whole process.
        self._loop = asyncio.SelectorEventLoop()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._loop.set_default_executor(self._pool)
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.close()

    async def run(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Awaits `work` over there. Raises TimeoutError, and what it raises."""

        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await work()

        there: Future[T] = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        # A little later here, should the loop itself be held up.
        async with asyncio.timeout(seconds + 1):
            return await asyncio.wrap_future(there)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)


class Asides:
    """One for each party, made when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._of: dict[str, Aside] = {}

    def of(self, party: str) -> Aside:
        if party not in self._of:
            self._of[party] = Aside(f"{self._name} {party}")
        return self._of[party]

    def close(self) -> None:
        for aside in self._of.values():
            aside.close()
        self._of.clear()

"""Threads for what takes long: senders have them in turn, by the seconds that each has had."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from yumai.sharing.slots import Slots

T = TypeVar("T")


class Workers:
    """`threads` in all; one sender has `each` of them at most, so that one is left for another."""

    def __init__(self, threads: int, each: int, name: str) -> None:
        self._slots = Slots(threads, each)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, sender: str, function: Callable[..., T], *arguments: Any) -> T:
        """Calls in a thread, when it is the sender's turn. What one sender asks for begins in order."""
        loop = asyncio.get_running_loop()
        begun = await self._slots.take(sender)
        call = self._pool.submit(function, *arguments)

        def ended(_: Future[T]) -> None:
            # Not before the thread is free, also where nobody waits for it any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._slots.give, sender, begun)

        call.add_done_callback(ended)
        return await asyncio.wrap_future(call)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

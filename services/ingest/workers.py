"""The threads that unpack, read and judge: senders take them in turn, by the seconds they have had."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from yumai.turns import Turns

T = TypeVar("T")


@dataclass(eq=False)
class _Job:
    call: Callable[[], Any]
    done: asyncio.Future[Any]


class Workers:
    """`threads` in all; one sender has `each` of them at most, so that one is left for another."""

    def __init__(self, threads: int, each: int) -> None:
        assert 0 < each <= threads
        self._each = each
        self._free = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")
        self._turns = Turns()
        self._waiting: dict[str, deque[_Job]] = {}
        self._running: dict[str, int] = {}

    async def run(self, sender: str, function: Callable[..., T], *arguments: Any) -> T:
        """Calls in a thread, when it is the sender's turn. What one sender asks for begins in order."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = _Job(functools.partial(function, *arguments), done)
        self._waiting.setdefault(sender, deque()).append(job)
        self._begin()
        return await done

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        while self._free:
            sender = self._turns.next(
                s for s in self._waiting if self._running.get(s, 0) < self._each
            )
            if sender is None:
                return
            jobs = self._waiting[sender]
            job = jobs.popleft()
            if not jobs:
                del self._waiting[sender]
            if job.done.done():  # nobody waits for it any more
                continue
            self._free -= 1
            self._running[sender] = self._running.get(sender, 0) + 1
            begun = time.monotonic()
            call = asyncio.get_running_loop().run_in_executor(self._pool, job.call)
            call.add_done_callback(functools.partial(self._end, sender, job, begun))

    def _end(self, sender: str, job: _Job, begun: float, call: asyncio.Future[Any]) -> None:
        self._turns.charge(sender, time.monotonic() - begun)
        self._free += 1
        self._running[sender] -= 1
        if not self._running[sender]:
            del self._running[sender]
        if call.cancelled():
            job.done.cancel()
        elif (error := call.exception()) is not None:
            if not job.done.done():
                job.done.set_exception(error)
        elif not job.done.done():
            job.done.set_result(call.result())
        self._begin()

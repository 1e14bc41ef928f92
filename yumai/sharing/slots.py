"""Places at a scarce thing, taken in turn: least served first, in the seconds that each has held them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yumai.sharing.turns import Spent, Turns

ACTIVE_SECONDS = 2.0


class Slots:
    """`total` places; one sender has `each` of them at most, and at most `waiting` who wait.

    While several are active they have equal shares: who has the others' places can't be sent away.
    """

    def __init__(self, total: int, each: int, waiting: int | None = None) -> None:
        assert 0 < each <= total
        self._free, self._each, self._most = total, each, waiting
        self._turns = Turns()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._running: dict[str, int] = {}
        self._total = total
        self._seen: dict[str, float] = {}
        """When each sender last had or wanted a place."""

    def _share(self, now: float) -> int:
        """Places of one sender now."""
        for sender, seen in list(self._seen.items()):
            if now - seen > ACTIVE_SECONDS and sender not in self._running:
                del self._seen[sender]
        return max(1, min(self._each, self._total // max(len(self._seen), 1)))

    def running(self, sender: str) -> int:
        return self._running.get(sender, 0)

    def waiting(self, sender: str) -> int:
        return len(self._waiting.get(sender, ()))

    async def take(self, sender: str) -> float:
        """When it is the sender's turn; what `give` is told. Raises Spent: too many of its own wait."""
        if self._most is not None and self.waiting(sender) >= self._most:
            raise Spent(own=True)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seen[sender] = time.monotonic()
        self._waiting.setdefault(sender, deque()).append(turn)
        self._begin()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(sender, time.monotonic())
            else:
                self._leave(sender, turn)
            raise
        return time.monotonic()

    def give(self, sender: str, begun: float) -> None:
        now = time.monotonic()
        self._turns.charge(sender, now - begun)
        self._seen[sender] = now
        self._free += 1
        self._running[sender] -= 1
        if not self._running[sender]:
            del self._running[sender]
        self._begin()

    @asynccontextmanager
    async def of(self, sender: str) -> AsyncIterator[None]:
        """Raises Spent."""
        begun = await self.take(sender)
        try:
            yield
        finally:
            self.give(sender, begun)

    def _begin(self) -> None:
        share = self._share(time.monotonic()) if self._waiting else 0
        while self._free and self._waiting:
            able = (s for s in self._waiting if self.running(s) < share)
            sender = self._turns.next(able)
            if sender is None:
                return
            turn = self._waiting[sender][0]
            self._leave(sender, turn)
            if turn.done():
                continue
            self._free -= 1
            self._running[sender] = self.running(sender) + 1
            turn.set_result(None)

    def _leave(self, sender: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(sender)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[sender]

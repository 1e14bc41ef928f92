"""Taking a request's body: within its sender's budget, at no less than a least pace, and never for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from yumai.sharing.turns import Budget, Spent

_DRAIN_MAX_BYTES = 512 * 1024 * 1024
_DRAIN_SECONDS = 20.0


class TooMuch(Exception):
    """A budget is used up. `own`: the sender's own, so only it has to wait."""

    def __init__(self, budget: str, own: bool) -> None:
        super().__init__(budget)
        self.budget, self.own = budget, own


class Brake:
    """Delays the refusal of a sender over its budget by a second, so that asking again in a loop costs us little.

    Of one sender `each` at most wait so: they hold connections. Others are told at once.
    """

    def __init__(self, seconds: float = 1.0, each: int = 64) -> None:
        self._seconds, self._each = seconds, each
        self._waiting: Counter[str] = Counter()

    async def hold(self, sender: str) -> None:
        if self._waiting[sender] >= self._each:
            return
        self._waiting[sender] += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._waiting[sender] -= 1
            if not self._waiting[sender]:
                del self._waiting[sender]


class TooLarge(Exception):
    """The body has more bytes than it may have; the text says how many it may."""


class NeverCame(Exception):
    """The body did not come to its end; the text says why."""


@dataclass(frozen=True)
class Pace:
    """`idle_seconds` without a byte, or slower than `least_bytes` a second after `grace_seconds`, is too slow."""

    idle_seconds: float = 15.0
    grace_seconds: float = 30.0
    least_bytes: int = 32 * 1024

    def deadline(self, received: int) -> float:
        """Seconds after the beginning by which more than `received` bytes are there."""
        return self.grace_seconds + received / self.least_bytes


class Work:
    """One request in work: its slot, and the bytes that are held for it."""

    def __init__(self, bodies: Bodies, sender: str) -> None:
        self._bodies, self.sender = bodies, sender
        self.held = 0

    def hold(self, size: int) -> None:
        """So many bytes from now on. Raises TooMuch; then as many as before."""
        self._bodies.change(self.sender, size - self.held)
        self.held = size


class Bodies:
    """Requests in work and the bytes of their bodies, for each sender and in all."""

    def __init__(
        self,
        requests: Budget,
        size: Budget,
        tell: Callable[[int], None] = lambda held: None,
        pace: Pace | None = None,
    ) -> None:
        self._requests, self._bytes, self._tell = requests, size, tell
        self._pace = pace or Pace()
        self.ended = 0
        """Requests whose work is over."""

    @contextlib.contextmanager
    def work(self, sender: str) -> Iterator[Work]:
        """Raises TooMuch, before anything of the body is read."""
        try:
            self._requests.take(sender, 1)
        except Spent as spent:
            raise TooMuch("requests", spent.own) from spent
        work = Work(self, sender)
        try:
            yield work
        finally:
            work.hold(0)
            self._requests.give(sender, 1)
            self.ended += 1

    def change(self, sender: str, more: int) -> None:
        """Raises TooMuch."""
        if more <= 0:
            self._bytes.give(sender, -more)
        else:
            try:
                self._bytes.take(sender, more)
            except Spent as spent:
                raise TooMuch("bytes", spent.own) from spent
        self._tell(self._bytes.held)

    async def read(self, request: Request, work: Work, most: int) -> bytes:
        """The body, of at most `most` bytes. Raises TooLarge, TooMuch, NeverCame."""
        stream = request.stream().__aiter__()
        if declared(request) > most:
            await _drain(stream, 0)
            raise TooLarge(f"more than {most >> 20} MiB")
        begun = time.monotonic()
        chunks: list[bytes] = []
        try:
            while True:
                left = begun + self._pace.deadline(work.held) - time.monotonic()
                wait = min(self._pace.idle_seconds, max(left, 0.001))
                try:
                    chunk = await asyncio.wait_for(stream.__anext__(), wait)
                except StopAsyncIteration:
                    break
                if work.held + len(chunk) > most:
                    size = work.held + len(chunk)
                    chunks.clear()
                    work.hold(0)
                    await _drain(stream, size)
                    raise TooLarge(f"more than {most >> 20} MiB")
                work.hold(work.held + len(chunk))
                chunks.append(chunk)
        except TimeoutError as error:
            raise NeverCame("it came too slowly") from error
        except ClientDisconnect as error:
            raise NeverCame("the sender has gone") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def declared(request: Request) -> int:
    """What Content-Length says; 0 where it says nothing."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


async def _drain(stream: AsyncIterator[bytes], size: int) -> None:
    """Lets the sender finish, so that it reads the answer instead of a broken pipe."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while size < _DRAIN_MAX_BYTES and time.monotonic() < deadline:
        try:
            size += len(await asyncio.wait_for(stream.__anext__(), 2.0))
        except (StopAsyncIteration, TimeoutError, ClientDisconnect):
            return

"""Reading small topics in threads: the registry as it grows, and the receipts of the last day at the start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from aiokafka import ConsumerRecord

from yumai.broker.reader import Reader, read_all
from yumai.broker.security import Bootstrap
from yumai.topics import Topic

log = logging.getLogger("yumai.ingest")

_RETRY_SECONDS = 0.5
_LOOK_SECONDS = 0.5


class Follower(threading.Thread):
    """Applies every record of a topic in order, from its beginning, for ever.

    `apply(key, value, end)`: `end` is the offset after the record. `moved(position)`: how far it is. Both run in
    the thread: a large registry would stop the event loop of those who ask.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        topic: Topic,
        apply: Callable[[bytes, bytes | None, int], None],
        moved: Callable[[int], None],
    ) -> None:
        super().__init__(name=f"follow-{topic.name}", daemon=True)
        self._topic, self._apply, self._moved = topic, apply, moved
        self._reader = Reader(bootstrap, [topic], self._take, "yumai-ingest")
        self._ending = threading.Event()
        self.caught_up = threading.Event()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                asyncio.run(self._follow())
            except Exception:
                log.exception("follow_failed topic=%s", self._topic.name)
                self._ending.wait(_RETRY_SECONDS)

    async def _follow(self) -> None:
        reading = asyncio.ensure_future(self._reader.run())
        told = -1
        try:
            while not self._ending.is_set() and not reading.done():
                await self._reader.until(self._has_news(told), _LOOK_SECONDS)
                if self._reader.whole:
                    self.caught_up.set()
                told = self._reader.next.get(self._topic.name, 0)
                self._moved(told)
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    def _has_news(self, told: int) -> Callable[[], bool]:
        return lambda: self._reader.next.get(self._topic.name, 0) != told

    def _take(self, record: ConsumerRecord) -> None:
        self._apply(record.key, record.value, record.offset + 1)


def read_tail(
    bootstrap: Bootstrap, topic: Topic, *, back: int, since_ms: int, seconds: float
) -> list[tuple[int, bytes | None]]:
    """(offset, value) of the last `back` offsets that are not older than `since_ms`, oldest first.

    Stops after `seconds` with what it has. Blocking. Raises KafkaError, OSError; TimeoutError before the first one.
    """
    found: list[tuple[int, bytes | None]] = []

    def take(record: ConsumerRecord) -> None:
        found.append((record.offset, record.value))

    try:
        read_all(
            Reader(bootstrap, [topic], take, "yumai-ingest", back=back, since_ms=since_ms), seconds
        )
    except TimeoutError:
        if not found:
            raise
        log.warning("of %s not everything could be read in %.0f s", topic.name, seconds)
    return found

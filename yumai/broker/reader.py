"""Reading small topics, of one partition each: from where one stands to their ends, and on. Without a group.

The gateway's register, alerts, ingest's merchants and epochs are read by it. `take` gets every record once, in its
topic's order. A record that `take` can't read is logged, counted and passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError
from aiokafka.errors import KafkaError as AioKafkaError
from kafka.errors import KafkaError

from yumai.broker.consumers import let_go
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.topics import MESSAGE_MAX_BYTES, Topic

log = logging.getLogger("yumai.broker")

AWAY: tuple[type[Exception], ...] = (AioKafkaError, ConsumerStoppedError, OSError, TimeoutError)
RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
STEP_SECONDS = 8.0
"""A question to the broker may take so long, and waiting records may stay away so long. Then the consumer is replaced."""
STOP_SECONDS = 1.0
POLL_MS = 200


def _nothing() -> None:
    pass


class Reader:
    """`take` gets each record. `anew` is called where a topic was re-created: nothing taken before holds any more.

    `back`: the first reading begins so many offsets before each end; None: at the start.
    `since_ms`: the first reading leaves out records written earlier.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        followed: Sequence[Topic],
        take: Callable[[ConsumerRecord], object],
        client_id: str,
        *,
        anew: Callable[[], None] = _nothing,
        back: int | None = None,
        since_ms: int | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._parts = [TopicPartition(topic.name, 0) for topic in followed]
        self._take = take
        self._client_id = client_id
        self._anew = anew
        self._back, self._since_ms = back, since_ms
        self._consumer: AIOKafkaConsumer | None = None
        self._news = asyncio.Condition()
        self.next: dict[str, int] = {}
        """Topic -> the offset after what was taken last."""
        self.first: dict[str, int] = {}
        """Topic -> the first offset that was read."""
        self.ended: dict[str, int] = {}
        """Topic -> its end when it was first opened: what lies from there on is new."""
        self.whole = False
        """Everything that lay there when it was first opened has been taken."""
        self.problem = "not connected yet"

    # -- one step at a time; each raises one of AWAY --------------------------------------------------

    async def open(self) -> None:
        """Connects, and goes on after the last record taken; the first time where `back` and `since_ms` say."""
        await self.close()
        consumer = AIOKafkaConsumer(
            **client_options(self._bootstrap),
            client_id=self._client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=10_000,
            metadata_max_age_ms=30_000,
            retry_backoff_ms=200,
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=MESSAGE_MAX_BYTES,
        )
        self._consumer = consumer
        async with asyncio.timeout(STEP_SECONDS):
            await consumer.start()
            consumer.assign(self._parts)
            begins = await consumer.beginning_offsets(self._parts)
            ends = await consumer.end_offsets(self._parts)
            if any(self.next.get(tp.topic, 0) > ends[tp] for tp in self._parts):
                self.forget()
                self._anew()
            for tp in self._parts:
                if tp.topic not in self.next:
                    first = await self._first(consumer, tp, begins[tp], ends[tp])
                    self.first[tp.topic], self.ended[tp.topic] = first, ends[tp]
                    self.next[tp.topic] = first
                self.next[tp.topic] = max(self.next[tp.topic], begins[tp])
                consumer.seek(tp, self.next[tp.topic])

    async def _first(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int
    ) -> int:
        if self._since_ms is not None:
            found = (await consumer.offsets_for_times({tp: self._since_ms}))[tp]
            begin = max(begin, end if found is None else found.offset)
        return begin if self._back is None else max(begin, end - self._back)

    def forget(self) -> None:
        """The next time that it is opened it begins as at first."""
        self.next.clear()
        self.whole = False

    async def catch_up(self) -> None:
        """Reads to where the topics end now."""
        ends = await self._ends()
        came = asyncio.get_running_loop().time()
        while not self._has(ends):
            now = asyncio.get_running_loop().time()
            if await self.poll(POLL_MS):
                came = now
            elif now - came > STEP_SECONDS:
                raise TimeoutError("records are there, and none comes")
        if not self.whole:
            self.whole = True
            await self._tell()

    async def poll(self, milliseconds: int) -> bool:
        """Takes the records that come within that time; returns with the first ones. True if there were any."""
        consumer = self._open()
        polled = await consumer.getmany(timeout_ms=milliseconds)
        for tp, records in polled.items():
            for record in records:
                try:
                    self._take(record)
                except Exception as error:
                    passed_over(tp.topic, record.offset, error)
        # Not the last record's offset: what a cleaned log has left out is behind one too.
        async with asyncio.timeout(STEP_SECONDS):
            for tp in self._parts:
                self.next[tp.topic] = await consumer.position(tp)
        if polled:
            await self._tell()
        return bool(polled)

    async def close(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await let_go(consumer, STOP_SECONDS)

    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise TimeoutError(self.problem or "not connected")
        return self._consumer

    async def _ends(self) -> dict[str, int]:
        async with asyncio.timeout(STEP_SECONDS):
            found = await self._open().end_offsets(self._parts)
        return {tp.topic: end for tp, end in found.items()}

    def _has(self, ends: dict[str, int]) -> bool:
        return all(self.next.get(topic, 0) >= end for topic, end in ends.items())

    # -- for ever, in a task of its own ---------------------------------------------------------------

    async def run(self, opened: Callable[[], None] = _nothing) -> None:
        """Reads until cancelled, and waits while the broker is away. `opened`: it stands where it begins."""
        while True:
            try:
                await self.open()
                opened()
                await self.catch_up()
                self.problem = ""
                await self._stay()
            except AWAY as error:
                self.problem = f"Kafka: {str(error) or type(error).__name__}"[:200]
                log.warning("%s waits: %s", self._client_id, self.problem)
            finally:
                await self.close()
            await asyncio.sleep(RETRY_SECONDS)

    async def _stay(self) -> None:
        behind: float | None = None
        while True:
            if await self.poll(int(PROBE_SECONDS * 1000)):
                behind = None
                continue
            # A consumer without records does not notice that the broker has gone.
            ends = await self._ends()
            now = asyncio.get_running_loop().time()
            behind = None if self._has(ends) else behind or now
            if behind is not None and now - behind > STEP_SECONDS:
                raise TimeoutError("records are there, and none comes")
            if any(self.next[topic] > end for topic, end in ends.items()):
                raise TimeoutError("a topic ends before what was read of it")

    # -- waiting for what `run` reads -----------------------------------------------------------------

    async def reach_end(self, seconds: float) -> None:
        """Until everything is taken that was written before the call. Raises one of AWAY."""
        async with asyncio.timeout(seconds):
            if not self.whole:
                await self.until(lambda: self.whole, seconds)
            ends = await self._ends()
            if not await self.until(lambda: self._has(ends), seconds):
                raise TimeoutError("not everything could be read")

    async def until(self, so: Callable[[], bool], seconds: float) -> bool:
        """Waits for what the topics say; False where it does not come in time."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(so)
        except TimeoutError:
            return so()
        return True

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


def read_all(reader: Reader, seconds: float) -> None:
    """Reads topics to where they end now. Blocking; not for a thread with an event loop.

    Raises kafka-python's KafkaError, OSError, or TimeoutError: then what was taken is not all.
    """

    async def read() -> None:
        try:
            async with asyncio.timeout(seconds):
                await reader.open()
                await reader.catch_up()
        finally:
            await reader.close()

    try:
        asyncio.run(read())
    except (AioKafkaError, ConsumerStoppedError) as error:
        raise KafkaError(str(error) or type(error).__name__) from error

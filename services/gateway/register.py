"""The journal as this gateway knows it: read from the start and followed, and written to.

What is acted on is what is shown: a projection in the store would lag behind the act.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from starlette.requests import Request

from contracts import traces
from contracts.alerts.codec import StepRecord
from yumai import topics
from yumai.broker.reader import AWAY, Reader
from yumai.broker.security import Bootstrap, client_options
from yumai.http.refusals import Refused, Unavailable
from yumai.journal.fold import TOPICS, Journal
from yumai.sealing import Sealer
from yumai.targets.held import Held

RETRY_SECONDS = 1.0
WRITE_SECONDS = 15.0
READY_SECONDS = 4.0
FIRST_SECONDS = 20.0
"""What the first reading may take."""
CATCH_UP_SECONDS = 3.0
BATCH_MOST = 12 << 20
"""Bytes of records that are written as one batch."""

FOLLOWED = tuple(topic for topic in TOPICS if topic is not topics.FEEDS)
"""Feeds have their health from the store, as of now."""

Alerted = Callable[[StepRecord, tuple[str, ...]], None]


class Register:
    """`alerted`: gets each new step of an alert, and the traces that led to it."""

    def __init__(
        self, bootstrap: Bootstrap, sealer: Sealer, alerted: Alerted = lambda step, parents: None
    ) -> None:
        self._bootstrap = bootstrap
        self._alerted = alerted
        self.journal = Journal(sealer.opened)
        self._reader = Reader(
            bootstrap, FOLLOWED, self._take, "yumai-gateway-register", anew=self.journal.clear
        )
        self._producer: AIOKafkaProducer | None = None
        self._ending: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()
        self.setting_targets = asyncio.Lock()
        """One request at a time reads what is held, decides and writes."""

    @property
    def problem(self) -> str:
        return self._reader.problem

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._reader.run()

    def _take(self, record: ConsumerRecord) -> None:
        fact = self.journal.take(record)
        if isinstance(fact, StepRecord) and record.offset >= self._reader.ended[record.topic]:
            self._alerted(fact, traces.of_kafka(record.headers))

    # -- reading --------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Waits a little at the start. Raises Unavailable before everything is read."""
        reader = self._reader
        if not reader.whole and not await reader.until(lambda: reader.whole, READY_SECONDS):
            raise Unavailable(f"alerts are still being read ({self.problem or 'nearly done'})")

    async def until(self, so: Callable[[], bool], seconds: float) -> bool:
        """Waits for what the topics say; False when it does not come in time."""
        return await self._reader.until(so, seconds)

    async def seen(self, topic: topics.Topic, offset: int) -> None:
        """Until one's own record has been read back. Raises Unavailable: it is durable, but not shown yet."""
        if not await self.until(
            lambda: self._reader.next.get(topic.name, 0) > offset, WRITE_SECONDS
        ):
            raise Unavailable("it is kept, but can't be read back now")

    async def targets(self) -> Held:
        """Everything that was set before the call. With the broker away: as last known.

        Raises Unavailable where nothing was ever read.
        """
        if self._reader.whole and self.problem:
            return self.journal.targets
        try:
            return await self.targets_now()
        except Unavailable:
            if self._reader.whole:
                return self.journal.targets
            raise

    async def targets_now(self) -> Held:
        """Everything that was set before the call. Raises Unavailable."""
        try:
            await self._reader.reach_end(CATCH_UP_SECONDS if self._reader.whole else FIRST_SECONDS)
        except AWAY as error:
            raise Unavailable(f"targets: {str(error) or type(error).__name__}") from error
        return self.journal.targets

    # -- writing --------------------------------------------------------------------------------------

    async def write(self, topic: topics.Topic, key: str, value: bytes) -> int:
        """A record, durable; its offset. Raises Unavailable."""
        return await self.write_all(topic, [(key, value)])

    async def write_all(self, topic: topics.Topic, records: Iterable[tuple[str, bytes]]) -> int:
        """Writes records as one batch, all or none, durable; the offset of the first.

        Raises Unavailable, and then it is not known whether they were written; Refused where they are too many.
        """
        producer = None
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                producer = await self._connected()
                batch = producer.create_batch()
                for key, value in records:
                    if batch.append(key=key.encode(), value=value, timestamp=None) is None:
                        raise Refused(
                            "too_large", None, "too much for one request: nothing was set"
                        )
                batch.close()
                sent = await producer.send_batch(batch, topic.name, partition=0)
                return int((await sent).offset)
        except (KafkaError, OSError, TimeoutError) as error:
            if producer is not None:
                self._lost(producer)
            raise Unavailable(f"the broker does not take it: {error or 'no answer'}") from error

    def _lost(self, producer: AIOKafkaProducer) -> None:
        """One that has failed may fail for ever: the next write has another."""
        if self._producer is producer:
            self._producer = None
            self._ending = asyncio.ensure_future(_end(producer))

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._bootstrap),
                    client_id="yumai-gateway",
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=5_000,
                    max_batch_size=BATCH_MOST,
                    max_request_size=topics.MESSAGE_MAX_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._ending = asyncio.ensure_future(_end(producer))
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        if self._producer is not None:
            await _end(self._producer)


def register_of(request: Request) -> Register:
    return request.app.state.register


async def _end(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(RETRY_SECONDS):
            await producer.stop()

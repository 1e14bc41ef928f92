"""The way into Kafka: everything that was handed over is durable when `send` returns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts import traces
from yumai.broker import epochs
from yumai.broker.epochs import Epoch, NoEpoch
from yumai.broker.security import Bootstrap, client_options
from yumai.observability import telemetry, tracing
from yumai.topics import MESSAGE_MAX_BYTES

log = logging.getLogger("yumai.ingest")

ACK_SECONDS = 8.0
_STOP_SECONDS = 1.0
_START_SECONDS = 5.0
_RETRY_SECONDS = 0.5


class NotDurable(Exception):
    """Kafka has not acknowledged: nothing may be promised. Try again."""


@dataclass(frozen=True)
class Message:
    topic: str
    value: bytes | pa.Buffer
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    parents: Sequence[str] = ()
    """Traces that go on in its headers."""


class Publisher:
    """An idempotent producer that is replaced when it has failed.

    After a failure nobody knows what the old one still delivers. That is harmless: what was not
    acknowledged is sent again under the same receipt and row, and metrics knows it.
    """

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._opened = asyncio.Event()
        self._broken = asyncio.Event()
        self.epoch: Epoch | None = None
        self.problem = "Kafka has not been reached yet"

    @property
    def is_open(self) -> bool:
        return self._producer is not None

    async def run(self) -> None:
        """Keeps a producer open until cancelled."""
        try:
            while True:
                self._broken.clear()
                producer = await self._open()
                self._producer = producer
                self.problem = ""
                self._opened.set()
                await self._broken.wait()
                telemetry.INGEST_PRODUCER_LOST.inc()
                asyncio.get_running_loop().create_task(_stop(producer))
        finally:
            if self._producer is not None:
                await _stop(self._producer)

    async def _open(self) -> AIOKafkaProducer:
        while True:
            producer = AIOKafkaProducer(
                **client_options(self._bootstrap),
                client_id="yumai-ingest",
                acks="all",
                enable_idempotence=True,
                max_batch_size=1024 * 1024,
                max_request_size=MESSAGE_MAX_BYTES,
                linger_ms=0,
                request_timeout_ms=20_000,
                retry_backoff_ms=100,
                metadata_max_age_ms=30_000,
            )
            try:
                # The producer first: it says quickly that nobody is there, and is asked again soon.
                async with asyncio.timeout(_START_SECONDS):
                    await producer.start()
                self.epoch = await asyncio.to_thread(epochs.current, self._bootstrap)
                return producer
            except (TimeoutError, KafkaError, NoEpoch, OSError) as error:
                if str(error) != self.problem:
                    log.warning("kafka_away %s", error)
                self.problem = f"Kafka: {str(error) or type(error).__name__}"
                await _stop(producer)
                await asyncio.sleep(_RETRY_SECONDS)

    def _lost(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        if self._producer is producer:
            log.warning("producer_lost %s: %s", type(error).__name__, error)
            self._producer = None
            self.problem = f"Kafka: {str(error) or type(error).__name__}"
            self._opened.clear()
            self._broken.set()

    async def ready(self, seconds: float) -> None:
        """Waits for an open producer. Raises NotDurable."""
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError as error:
            raise NotDurable(self.problem) from error

    async def send(self, messages: Sequence[Message], seconds: float = ACK_SECONDS) -> None:
        """Raises NotDurable unless Kafka has acknowledged every message in time."""
        if not messages:
            return
        with contextlib.ExitStack() as sending:
            works = [sending.enter_context(_sending(message)) for message in messages]
            async with self._using(seconds) as producer:
                acks = [
                    await producer.send(
                        m.topic,
                        m.value if isinstance(m.value, bytes) else m.value.to_pybytes(),
                        key=m.key,
                        partition=m.partition,
                        headers=[*m.headers, *traces.to_kafka(work.parents or m.parents)],
                    )
                    for m, work in zip(messages, works, strict=True)
                ]
                await asyncio.gather(*acks)
        for message in messages:
            telemetry.INGEST_RECORDS.inc(topic=message.topic)

    async def send_many(
        self, topic: str, pairs: Sequence[tuple[bytes, bytes]], seconds: float
    ) -> int:
        """Small messages to partition 0, many at once; the offset after the last one."""
        end = 0
        async with self._using(seconds) as producer:
            acks = []
            batch, count = producer.create_batch(), 0
            for number, (key, value) in enumerate(pairs):
                if batch.append(key=key, value=value, timestamp=None) is None:
                    acks.append((count, await producer.send_batch(batch, topic, partition=0)))
                    batch, count = producer.create_batch(), 0
                    batch.append(key=key, value=value, timestamp=None)
                count += 1
                if number % 2_000 == 0:
                    await asyncio.sleep(0)
            acks.append((count, await producer.send_batch(batch, topic, partition=0)))
            for size, ack in acks:
                end = max(end, (await ack).offset + size)
        telemetry.INGEST_RECORDS.inc(len(pairs), topic=topic)
        return end

    @contextlib.asynccontextmanager
    async def _using(self, seconds: float):
        producer = self._producer
        try:
            async with asyncio.timeout(seconds):
                while producer is None:
                    await self._opened.wait()
                    producer = self._producer
                yield producer
        except TimeoutError as error:
            if producer is not None:
                self._lost(producer, error)
            raise NotDurable(self.problem or "Kafka has not acknowledged in time") from error
        except (KafkaError, OSError) as error:
            if producer is not None:
                self._lost(producer, error)
            raise NotDurable(f"Kafka: {str(error) or type(error).__name__}") from error


def _sending(message: Message) -> tracing.Work:
    """The step of each trace in which the record is handed to Kafka."""
    if not message.parents:
        return tracing.NOTHING
    return tracing.work(
        f"send {message.topic}",
        message.parents,
        "producer",
        {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": message.topic,
            "messaging.destination.partition.id": str(message.partition),
        },
    )


async def _stop(producer: AIOKafkaProducer) -> None:
    """Lets go of a producer, whatever it still waits for."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
        return
    with contextlib.suppress(Exception):
        sender = producer._sender
        if sender is not None and sender.sender_task is not None:
            sender.sender_task.cancel()
        await producer.client.close()

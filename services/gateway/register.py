"""Alerts, actions, work items, subscriptions and deliveries as their topics say them, in memory.

Read from the start and followed without a group, so that what is acted on is what is shown: a projection in
the store would lag behind the act. Small: a city has some dozens of alerts a year.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import logging
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts.actions import codec as actions_codec
from contracts.alerts import codec as alerts_codec
from contracts.alerts import outbox as records
from contracts.work_items import codec as items_codec
from yumai import topics
from yumai.broker.consumers import let_go
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.http.refusals import Unavailable
from yumai.sealing import Sealer

log = logging.getLogger("yumai.gateway")

RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
WRITE_SECONDS = 10.0
READY_SECONDS = 4.0
STEP_SECONDS = 8.0
"""What one step of a consumer may take, and reading may bring nothing of what is there: then it is made anew."""
FOLLOWED = (
    topics.ALERTS,
    topics.ACTIONS,
    topics.WORK_ITEMS,
    topics.SUBSCRIPTIONS,
    topics.DELIVERIES,
)
PARTITIONS = tuple(TopicPartition(topic.name, 0) for topic in FOLLOWED)


def plan_items() -> dict[str, dict[str, Any]]:
    """The plan's twenty tasks as work items that need no event."""
    text = (files("yumai") / "reference" / "tasks.csv").read_text(encoding="utf-8-sig")
    return {
        f"{items_codec.PLAN_PREFIX}{row['no']}": items_codec.EMPTY
        | {
            "task": int(row["no"]),
            "departments": row["department_codes"].split("|"),
            "title": row["title_zh"],
        }
        for row in csv.DictReader(text.splitlines())
    }


class Register:
    """What the topics hold. `whole`: everything that stood there at the start has been read."""

    def __init__(self, bootstrap: Bootstrap, sealer: Sealer) -> None:
        self._bootstrap = bootstrap
        self._sealer = sealer
        self._producer: AIOKafkaProducer | None = None
        self._ending: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()
        self._next: dict[TopicPartition, int] = {}
        self._news = asyncio.Condition()
        self._take: dict[str, Callable[[ConsumerRecord], None]] = {
            topics.ALERTS.name: self._step,
            topics.ACTIONS.name: self._action,
            topics.WORK_ITEMS.name: self._item,
            topics.SUBSCRIPTIONS.name: self._office,
            topics.DELIVERIES.name: self._delivery,
        }
        self.problem = "not connected yet"
        self.whole = False
        self._clear()

    def _clear(self) -> None:
        self.alerts: dict[str, alerts_codec.Step] = {}
        self.history: dict[str, list[alerts_codec.Step]] = {}
        self.verdicts: dict[str, actions_codec.Verdict] = {}
        self.items = items_codec.Items(plan_items())
        self.offices: dict[str, list[records.Subscription]] = {}
        self.deliveries: dict[str, records.Delivery] = {}
        self._next.clear()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            consumer = AIOKafkaConsumer(
                **client_options(self._bootstrap),
                client_id="yumai-gateway-register",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                request_timeout_ms=10_000,
                metadata_max_age_ms=30_000,
                retry_backoff_ms=200,
                fetch_max_wait_ms=200,
                max_partition_fetch_bytes=topics.MESSAGE_MAX_BYTES,
            )
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await consumer.start()
                await self._place(consumer)
                await self._follow(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                self.problem = f"Kafka: {str(error) or type(error).__name__}"[:200]
                log.warning("alerts are not followed: %s", self.problem)
            finally:
                await let_go(consumer, RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _place(self, consumer: AIOKafkaConsumer) -> None:
        consumer.assign(list(PARTITIONS))
        async with asyncio.timeout(STEP_SECONDS):
            ends = await consumer.end_offsets(list(PARTITIONS))
            if any(self._next.get(tp, 0) > ends[tp] for tp in PARTITIONS):
                # A topic made anew: nothing that was known holds.
                self.whole = False
                self._clear()
            for tp in PARTITIONS:
                if self._next.get(tp, 0):
                    consumer.seek(tp, self._next[tp])
                else:
                    await consumer.seek_to_beginning(tp)
        came = asyncio.get_running_loop().time()
        while not self.whole:
            found = await consumer.getmany(timeout_ms=200)
            await self._all(found)
            self.whole = await self._read_to(consumer, ends)
            now = asyncio.get_running_loop().time()
            came = now if found else came
            if now - came > STEP_SECONDS and not self.whole:
                raise TimeoutError("records are there, and none comes")
        self.problem = ""
        async with self._news:
            self._news.notify_all()

    async def _read_to(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        # A position that is not known yet is waited for, without a limit of the library's own.
        async with asyncio.timeout(STEP_SECONDS):
            return all([await consumer.position(tp) >= ends[tp] for tp in PARTITIONS])

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        behind: float | None = None
        while True:
            found = await consumer.getmany(timeout_ms=int(PROBE_SECONDS * 1000))
            if found:
                behind = None
            else:
                # A consumer without records does not notice that the broker has gone.
                async with asyncio.timeout(PROBE_SECONDS * 2):
                    ends = await consumer.end_offsets(list(PARTITIONS))
                now = asyncio.get_running_loop().time()
                behind = None if await self._read_to(consumer, ends) else behind or now
                if behind is not None and now - behind > STEP_SECONDS:
                    raise TimeoutError("records are there, and none comes")
                if any(self._next.get(tp, 0) > ends[tp] for tp in PARTITIONS):
                    raise TimeoutError("a topic ends before what was read of it")
            self.problem = ""
            await self._all(found)

    async def _all(self, found: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        if not found:
            return
        for tp, found_records in found.items():
            for record in found_records:
                try:
                    self._take[tp.topic](record)
                except Exception as error:
                    passed_over(tp.topic, record.offset, error)
                self._next[tp] = record.offset + 1
        async with self._news:
            self._news.notify_all()

    def _step(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        step = alerts_codec.decode(record.value)
        known = self.history.setdefault(step.id, [])
        # Of two records with one name the first in the log holds.
        if step.seq == len(known) + 1:
            known.append(step)
            self.alerts[step.id] = step

    def _action(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        found = actions_codec.decode(record.value)
        if isinstance(found, actions_codec.Verdict):
            self.verdicts.setdefault(found.action, found)

    def _item(self, record: ConsumerRecord) -> None:
        if record.value is not None:
            self.items.apply(items_codec.decode(record.value))

    def _office(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self.offices.pop((record.key or b"").decode(), None)
            return
        found = records.decode_subscriptions(record.value)
        self.offices[found.office] = [self._sealer.opened(s) for s in found.subscriptions]

    def _delivery(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self.deliveries.pop((record.key or b"").decode(), None)
            return
        found = records.decode_delivery(record.value)
        known = self.deliveries.get(found.id)
        if known is None or known.state in ("pending", "held"):
            self.deliveries[found.id] = found

    async def ready(self) -> None:
        """Waits a little at the start. Raises Unavailable before everything is read."""
        if not self.whole and not await self.until(lambda: self.whole, READY_SECONDS):
            raise Unavailable(f"alerts are still being read ({self.problem or 'nearly done'})")

    async def until(self, so: Callable[[], bool], seconds: float) -> bool:
        """Waits for what the topics say; False when it does not come in time."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(so)
        except TimeoutError:
            return so()
        return True

    async def write(self, topic: topics.Topic, key: str, value: bytes) -> int:
        """A record, durable; its offset. Raises Unavailable."""
        producer = None
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                producer = await self._connected()
                sent = await producer.send(topic.name, value, key.encode(), partition=0)
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

    async def seen(self, topic: topics.Topic, offset: int) -> None:
        """Until one's own record has been read back. Raises Unavailable: it is durable, but not shown yet."""
        tp = TopicPartition(topic.name, 0)
        if not await self.until(lambda: self._next.get(tp, 0) > offset, WRITE_SECONDS):
            raise Unavailable("it is kept, but can't be read back now")

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._bootstrap),
                    client_id="yumai-gateway",
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=5_000,
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


async def _end(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(RETRY_SECONDS):
            await producer.stop()

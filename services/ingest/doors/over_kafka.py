"""The Kafka door: `feed.<platform>.v1`, one JSON entry a record, the same validation.

    records = poll()                      # kafka-python, in a thread of its own
    chunk = judge(records)                # each record is one row
    publish(chunk)                        # entries and dead letters durable
    commit(offsets)                       # only then

A crash between the last two reads the records again: the same receipt and row, so metrics knows
them as delivered before. For the same reason the door needs no group membership: it assigns itself
every feed's partitions and commits under its group's name. A second ingest would do the work twice,
and change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from contracts import traces
from services.ingest.classify import MerchantIndex
from services.ingest.formats import json_rows
from services.ingest.judging import Chunk, Request, judge
from services.ingest.publish import Publisher, Unavailable
from services.ingest.receipts import feed_receipt
from services.ingest.rounds import count_entries, count_refused, messages
from yumai import tracing
from yumai.broker.principals import FEED_GROUP
from yumai.broker.security import client_options
from yumai.broker.topics import feed_platform
from yumai.settings import Settings

log = logging.getLogger("yumai.ingest")

_DISCOVER_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_POLL_RECORDS = 20_000
_SEGMENT = 1 << 20


class KafkaDoor(threading.Thread):
    """Reads the feeds for ever; waits in place for whatever is away."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        index: MerchantIndex,
        receipts: dict[str, str],
    ) -> None:
        super().__init__(name="feeds", daemon=True)
        self._settings, self._publisher, self._index = settings, publisher, index
        self._receipts = receipts
        self._ending = threading.Event()
        self._topic_ids: dict[str, str] = {}

    def start(self, loop: asyncio.AbstractEventLoop, able: threading.Event) -> None:  # type: ignore[override]
        self._loop, self._able = loop, able
        super().start()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            if not self._able.wait(0.2) or self._publisher.epoch is None:
                self._ending.wait(0.05)
                continue
            try:
                self._read()
            except (KafkaError, OSError, ValueError, AssertionError) as error:
                log.warning("feeds_retry %s: %s", type(error).__name__, error)
            except Exception:
                log.exception("feeds_failed")
            self._ending.wait(_RETRY_SECONDS)

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            **client_options(self._settings.kafka),
            client_id="yumai-ingest-feeds",
            group_id=FEED_GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            max_poll_records=_POLL_RECORDS,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=1_000,
            metrics_enabled=False,
        )

    def _read(self) -> None:
        consumer = self._consumer()
        self._topic_ids.clear()
        assigned: set[TopicPartition] = set()
        looked = 0.0
        under_way: _UnderWay | None = None
        try:
            while not self._ending.is_set():
                if time.monotonic() - looked > _DISCOVER_SECONDS:
                    looked = time.monotonic()
                    there = _feeds(consumer)
                    if there != assigned:
                        # Positions start at what is committed: nothing may be under way.
                        if under_way is not None:
                            self._settle(consumer, under_way)
                            under_way = None
                        consumer.assign(sorted(there))
                        assigned = there
                        self._know(consumer, assigned)
                        log.info("feeds_assigned partitions=%d", len(assigned))
                if not assigned:
                    self._ending.wait(_DISCOVER_SECONDS / 4)
                    continue
                found = consumer.poll(timeout_ms=0 if under_way else 500)
                lot = self._judge(found) if found else None
                # One lot is on its way to Kafka while the next is judged; never more, in order.
                if under_way is not None:
                    self._settle(consumer, under_way)
                    under_way = None
                if lot is not None:
                    under_way = self._publish(lot, found)
        finally:
            consumer.close(autocommit=False)

    def _know(self, consumer: KafkaConsumer, assigned: set[TopicPartition]) -> None:
        """Which receipts there are, so that they can be shown to their platform."""
        self._topic_ids.clear()
        ends = consumer.end_offsets(list(assigned))
        for partition, end in ends.items():
            topic_id = self._topic_id(partition.topic)
            for offset in range(0, end + 1, _SEGMENT):
                receipt = feed_receipt(partition.topic, topic_id, partition.partition, offset)
                self._receipts[receipt.hex()] = feed_platform(partition.topic) or ""

    def _judge(self, found) -> _Lot:
        """All records of a poll as one chunk."""
        epoch = self._publisher.epoch
        assert epoch is not None
        requests = [
            r for partition, records in found.items() for r in self._requests(partition, records)
        ]
        work = tracing.NOTHING
        if tracing.on():
            parents = [parent for request in requests for parent in request.parents]
            work = tracing.work("process feeds", parents, "consumer", root=True)
            for request in requests:
                request.parents = request.parents or work.parents
        now_ms = time.time_ns() // 1_000_000
        chunk = judge(requests, self._index, epoch.partitions, now_ms, epoch.slot_function)
        chunk.dead = list(chunk.dead)
        return _Lot(chunk, epoch.epoch, requests, work)

    def _requests(self, partition: TopicPartition, records) -> Iterator[Request]:
        platform = feed_platform(partition.topic)
        assert platform is not None
        topic_id = self._topic_id(partition.topic)
        begin = 0
        while begin < len(records):
            segment = records[begin].offset // _SEGMENT
            stop = len(records)
            if records[-1].offset // _SEGMENT != segment:
                stop = next(
                    i for i in range(begin, stop) if records[i].offset // _SEGMENT != segment
                )
            part = records[begin:stop] if begin or stop < len(records) else records
            receipt = feed_receipt(partition.topic, topic_id, partition.partition, part[0].offset)
            self._receipts[receipt.hex()] = platform
            values = [record.value or b"" for record in part]
            ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
            starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
            data = np.frombuffer(b"".join(values) or b"\0", np.uint8)
            offsets = np.fromiter((record.offset for record in part), np.int64, len(part))
            yield Request(
                receipt=receipt,
                sender=platform,
                format="kafka",
                columns=json_rows.read(data, starts, ends),
                row=(offsets % _SEGMENT).astype(np.uint32),
                parents=_parents(part),
            )
            begin = stop

    def _topic_id(self, topic: str) -> str:
        if topic not in self._topic_ids:
            admin = KafkaAdminClient(
                **client_options(self._settings.kafka), reconnect_backoff_max_ms=1_000
            )
            try:
                (described,) = admin.describe_topics([topic])
                self._topic_ids[topic] = str(described["topic_id"])
            finally:
                admin.close()
        return self._topic_ids[topic]

    def _publish(self, lot: _Lot, found) -> _UnderWay:
        ends = {
            partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)
            for partition, records in found.items()
        }
        return _UnderWay(lot, ends, self._send(lot))

    def _send(self, lot: _Lot):
        records = messages(lot.chunk, lot.epoch, lot.requests, lot.work)
        return asyncio.run_coroutine_threadsafe(self._publisher.send(records), self._loop)

    def _settle(self, consumer: KafkaConsumer, under_way: _UnderWay) -> None:
        """Returns when Kafka has it all; what is unavailable is tried again, for ever."""
        sent = under_way.sent
        while True:
            try:
                sent.result()
                break
            except Unavailable as error:
                log.warning("feeds_wait %s", error)
                if self._ending.wait(_RETRY_SECONDS):
                    return
                epoch = self._publisher.epoch
                if epoch is None or epoch.epoch != under_way.lot.epoch:
                    raise ValueError("the log was made anew meanwhile") from error
                sent = self._send(under_way.lot)
        under_way.lot.work.end()
        for outcome in under_way.lot.chunk.outcomes:
            count_entries("kafka", "kafka", outcome)
        count_refused("kafka", under_way.lot.chunk.refused)
        consumer.commit(under_way.ends, timeout_ms=10_000)


@dataclass(frozen=True)
class _Lot:
    """What one poll has become."""

    chunk: Chunk
    epoch: int
    requests: list[Request]
    work: tracing.Work


class _UnderWay:
    def __init__(self, lot: _Lot, ends, sent) -> None:
        self.lot, self.ends, self.sent = lot, ends, sent


def _feeds(consumer: KafkaConsumer) -> set[TopicPartition]:
    """Partitions of every feed that there is now."""
    return {
        TopicPartition(topic, number)
        for topic in consumer.topics()
        if feed_platform(topic) is not None
        for number in consumer.partitions_for_topic(topic) or ()
    }


def _parents(records) -> tuple[str, ...]:
    """The first traces that the platform's own records name."""
    found: dict[str, None] = {}
    for record in records:
        if record.headers:
            found |= dict.fromkeys(traces.of_kafka(record.headers)[:1])
            if len(found) >= traces.TRACES_MOST:
                break
    return tuple(found)

"""The Kafka door: `feed.<platform>.v1`, one JSON entry a record, the same validation.

    records = poll()                      # kafka-python, in a thread of its own
    chunk = judge(records)                # each record is one row
    publish(chunk)                        # entries and dead letters durable
    commit(offsets)                       # only then

A crash between the last two reads the records again: the same receipt and row, so metrics knows
them as delivered before.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Iterator

import numpy as np
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import CommitFailedError, KafkaError
from kafka.structs import OffsetAndMetadata

from services.ingest import telemetry
from services.ingest.classify import MerchantIndex
from services.ingest.formats import json_rows
from services.ingest.judging import Chunk, Request, judge
from services.ingest.publish import Publisher, Unavailable
from services.ingest.receipts import feed_receipt
from services.ingest.rounds import messages
from yumai.broker.topics import FEED_PREFIX, FEED_SUFFIX, feed_platform
from yumai.settings import Settings

log = logging.getLogger("yumai.ingest")

GROUP = "yumai-ingest-feeds"
_PATTERN = f"^{re.escape(FEED_PREFIX)}.+{re.escape(FEED_SUFFIX)}$"
_DISCOVER_MS = 2_000
_RETRY_SECONDS = 0.5
_POLL_RECORDS = 20_000
_SEGMENT = 1 << 20
_TRACE = "traceparent"


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
            bootstrap_servers=self._settings.kafka_bootstrap,
            client_id="yumai-ingest-feeds",
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            metadata_max_age_ms=_DISCOVER_MS,
            max_poll_records=_POLL_RECORDS,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            fetch_max_wait_ms=100,
            session_timeout_ms=int(self._settings.session_timeout * 1000),
            heartbeat_interval_ms=int(self._settings.session_timeout * 1000 / 3),
            reconnect_backoff_max_ms=1_000,
            metrics_enabled=False,
        )

    def _read(self) -> None:
        consumer = self._consumer()
        self._topic_ids.clear()
        try:
            consumer.subscribe(pattern=_PATTERN, listener=_Forgets(self._topic_ids))
            under_way: _UnderWay | None = None
            while not self._ending.is_set():
                found = consumer.poll(timeout_ms=0 if under_way else 500)
                chunk = self._judge(found) if found else None
                # One lot is on its way to Kafka while the next is judged; never more, in order.
                if under_way is not None:
                    self._settle(consumer, under_way)
                    under_way = None
                if chunk is not None:
                    under_way = self._publish(chunk, found)
        finally:
            consumer.close(autocommit=False)

    def _judge(self, found) -> tuple[Chunk, int]:
        """All records of a poll as one chunk."""
        epoch = self._publisher.epoch
        assert epoch is not None
        requests = [r for partition, records in found.items() for r in self._requests(partition, records)]
        chunk = judge(requests, self._index, epoch.partitions, time.time_ns() // 1_000_000)
        return chunk, epoch.epoch

    def _requests(self, partition: TopicPartition, records) -> Iterator[Request]:
        platform = feed_platform(partition.topic)
        assert platform is not None
        topic_id = self._topic_id(partition.topic)
        begin = 0
        while begin < len(records):
            segment = records[begin].offset // _SEGMENT
            stop = len(records)
            if records[-1].offset // _SEGMENT != segment:
                stop = next(i for i in range(begin, stop) if records[i].offset // _SEGMENT != segment)
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
                traceparent=_trace(part[0]),
            )
            begin = stop

    def _topic_id(self, topic: str) -> str:
        if topic not in self._topic_ids:
            admin = KafkaAdminClient(bootstrap_servers=self._settings.kafka_bootstrap)
            try:
                (described,) = admin.describe_topics([topic])
                self._topic_ids[topic] = str(described["topic_id"])
            finally:
                admin.close()
        return self._topic_ids[topic]

    def _publish(self, judged: tuple[Chunk, int], found) -> _UnderWay:
        chunk, epoch = judged
        ends = {
            partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)
            for partition, records in found.items()
        }
        return _UnderWay(chunk, epoch, ends, self._send(chunk, epoch))

    def _send(self, chunk: Chunk, epoch: int):
        return asyncio.run_coroutine_threadsafe(
            self._publisher.send(messages(chunk, epoch)), self._loop
        )

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
                if epoch is None or epoch.epoch != under_way.epoch:
                    raise ValueError("the log was made anew meanwhile") from error
                sent = self._send(under_way.chunk, under_way.epoch)
        for outcome in under_way.chunk.outcomes:
            telemetry.ENTRIES.labels("kafka", "kafka", "accepted").inc(outcome.accepted)
            telemetry.ENTRIES.labels("kafka", "kafka", "rejected").inc(outcome.rejected)
        try:
            consumer.commit(under_way.ends, timeout_ms=10_000)
        except CommitFailedError as error:
            # The partitions have moved on: whoever has them now reads these records again.
            log.warning("feeds_moved %s", error)


class _UnderWay:
    def __init__(self, chunk: Chunk, epoch: int, ends, sent) -> None:
        self.chunk, self.epoch, self.ends, self.sent = chunk, epoch, ends, sent


class _Forgets(ConsumerRebalanceListener):
    """A topic may have been made anew since its id was asked for."""

    def __init__(self, topic_ids: dict[str, str]) -> None:
        self._topic_ids = topic_ids

    def on_partitions_revoked(self, revoked) -> None:
        self._topic_ids.clear()

    def on_partitions_assigned(self, assigned) -> None:
        self._topic_ids.clear()


def _trace(record) -> str | None:
    for key, value in record.headers or ():
        if key == _TRACE and value:
            return value.decode("latin-1")
    return None

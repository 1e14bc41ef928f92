"""Reading small topics: the registry as it grows, and the receipts of the last day at the start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over

log = logging.getLogger("yumai.ingest")

_RETRY_SECONDS = 0.5


def reader(bootstrap: Bootstrap, topic: str) -> tuple[KafkaConsumer, TopicPartition]:
    """A consumer of a topic's only partition, without a group. Raises KafkaError."""
    consumer = KafkaConsumer(
        **client_options(bootstrap),
        client_id="yumai-ingest",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        max_poll_records=5_000,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        reconnect_backoff_max_ms=1_000,
        metrics_enabled=False,
    )
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    return consumer, partition


class Follower(threading.Thread):
    """Applies every record of a topic in order, from its beginning, for ever.

    `apply(key, value, end)`: `end` is the offset after the record. Runs in the thread.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        topic: str,
        apply: Callable[[bytes, bytes | None, int], None],
        moved: Callable[[int], None],
    ) -> None:
        super().__init__(name=f"follow-{topic}", daemon=True)
        self._servers, self._topic, self._apply, self._moved = bootstrap, topic, apply, moved
        self._ending = threading.Event()
        self.position = 0
        self.caught_up = threading.Event()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._follow()
            except (KafkaError, OSError, ValueError, AssertionError) as error:
                log.warning("follow_retry topic=%s %s", self._topic, error)
                self._ending.wait(_RETRY_SECONDS)
            except Exception:
                log.exception("follow_failed topic=%s", self._topic)
                self._ending.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        consumer, partition = reader(self._servers, self._topic)
        try:
            end = consumer.end_offsets([partition])[partition]
            if end < self.position:  # the topic was made anew
                self.position = 0
            consumer.seek(partition, self.position)
            while not self._ending.is_set():
                for records in consumer.poll(timeout_ms=500).values():
                    for record in records:
                        try:
                            self._apply(record.key, record.value, record.offset + 1)
                        except Exception as error:
                            passed_over(self._topic, record.offset, error)
                self.position = consumer.position(partition)
                if not self.caught_up.is_set() and self.position >= end:
                    self.caught_up.set()
                self._moved(self.position)
        finally:
            consumer.close()


def read_tail(
    bootstrap: Bootstrap, topic: str, records: int, since_ms: int, seconds: float
) -> list[tuple[int, bytes | None]]:
    """(offset, value) of the last `records` offsets that are not older than `since_ms`, oldest first.

    Stops after `seconds` with what it has. Raises KafkaError.
    """
    consumer, partition = reader(bootstrap, topic)
    try:
        deadline = time.monotonic() + seconds
        begin = consumer.beginning_offsets([partition])[partition]
        end = consumer.end_offsets([partition])[partition]
        at_time = consumer.offsets_for_times({partition: since_ms})[partition]
        begin = max(begin, end - records, at_time.offset if at_time else end)
        consumer.seek(partition, begin)
        values: list[tuple[int, bytes | None]] = []
        while consumer.position(partition) < end and time.monotonic() < deadline:
            for found in consumer.poll(timeout_ms=500).values():
                values.extend((record.offset, record.value) for record in found)
        return values
    finally:
        consumer.close()

"""The plan's own targets on `targets.v1`, there from the start. Blocking; part of the set-up step."""

from __future__ import annotations

import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from contracts.targets.codec import encode
from yumai import targets
from yumai.broker.security import Bootstrap, client_options
from yumai.topics import MESSAGE_MAX_BYTES, TARGETS

READ_SECONDS = 30.0


def seed(bootstrap: Bootstrap) -> int:
    """Writes the plan's city targets that the topic does not hold; how many. Safe to run twice.

    Raises KafkaError, or TimeoutError where the topic can't be read to its end.
    """
    fresh = targets.missing(keys(bootstrap), targets.plan_targets(int(time.time() * 1000)))
    if fresh:
        producer = KafkaProducer(
            **client_options(bootstrap), acks="all", retries=10, client_id="yumai-target-seeds"
        )
        try:
            sent = [producer.send(TARGETS.name, encode(t), t.key.encode()) for t in fresh]
            for future in sent:
                future.get(timeout=60)
        finally:
            producer.close(timeout=10)
    return len(fresh)


def keys(bootstrap: Bootstrap) -> set[str]:
    """Keys that the topic holds a target of.

    Raises KafkaError, or TimeoutError where the topic can't be read to its end.
    """
    partition = TopicPartition(TARGETS.name, 0)
    consumer = KafkaConsumer(
        **client_options(bootstrap),
        client_id="yumai-target-seeds",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MESSAGE_MAX_BYTES,
    )
    known: set[str] = set()
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        deadline = time.monotonic() + READ_SECONDS
        while consumer.position(partition) < end:
            for record in consumer.poll(timeout_ms=500).get(partition, ()):
                key = (record.key or b"").decode(errors="replace")
                (known.discard if record.value is None else known.add)(key)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{TARGETS.name} can't be read to offset {end}")
    finally:
        consumer.close()
    return known

"""The plan's own targets on `targets.v1`, there from the start. Blocking; part of the set-up step."""

from __future__ import annotations

import time

from aiokafka import ConsumerRecord
from kafka import KafkaProducer

from contracts.targets.codec import encode
from yumai.broker.reader import Reader, read_all
from yumai.broker.security import Bootstrap, client_options
from yumai.targets import plan
from yumai.topics import TARGETS

READ_SECONDS = 30.0


def seed(bootstrap: Bootstrap) -> int:
    """Writes the plan's city targets that the topic does not hold; how many. Safe to run twice.

    Raises KafkaError, or TimeoutError where the topic can't be read to its end.
    """
    fresh = plan.missing(keys(bootstrap), plan.plan_targets(int(time.time() * 1000)))
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
    known: set[str] = set()

    def take(record: ConsumerRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        (known.discard if record.value is None else known.add)(key)

    read_all(Reader(bootstrap, [TARGETS], take, "yumai-target-seeds"), READ_SECONDS)
    return known

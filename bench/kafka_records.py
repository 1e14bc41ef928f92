"""Records put straight into a topic: what a platform's own producer would have sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

BATCH_BYTES = 64 * 1024
"""What a producer collects before it sends."""
SECONDS = 300


def make_topic(kafka: Mapping[str, Any], name: str, partitions: int) -> None:
    admin = KafkaAdminClient(**kafka, client_id="bench")
    try:
        with contextlib.suppress(TopicAlreadyExistsError):
            admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        admin.close()


def fill(kafka: Mapping[str, Any], values: Mapping[tuple[str, int], Sequence[bytes]]) -> None:
    """Appends all values, by topic and partition. Raises TimeoutError and a KafkaError."""
    asyncio.run(asyncio.wait_for(_fill(kafka, values), SECONDS))


async def _fill(
    kafka: Mapping[str, Any], values: Mapping[tuple[str, int], Sequence[bytes]]
) -> None:
    producer = AIOKafkaProducer(**kafka, acks="all", max_batch_size=BATCH_BYTES, client_id="bench")
    await producer.start()
    try:
        await asyncio.gather(*(_append(producer, *at, rows) for at, rows in values.items()))
    finally:
        await producer.stop()


async def _append(
    producer: AIOKafkaProducer, topic: str, partition: int, values: Sequence[bytes]
) -> None:
    sent = []
    batch = producer.create_batch()
    for value in values:
        if batch.append(key=None, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=None, value=value, timestamp=None)
    if batch.record_count():
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    for future in sent:
        await future

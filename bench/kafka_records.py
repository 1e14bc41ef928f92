"""Records put straight into a topic: what a platform's own producer would have sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer

from yumai.broker import topics

BATCH_BYTES = 64 * 1024
"""What a producer collects before it sends."""
SECONDS = 300


def make_topic(bootstrap: str, name: str, partitions: int) -> None:
    topics.ensure(bootstrap, (topics.Topic(name, partitions, "none", "the bench's events"),))


def fill(bootstrap: str, values: Mapping[tuple[str, int], Sequence[bytes]]) -> None:
    """Appends all values, by topic and partition. Raises TimeoutError and a KafkaError."""
    asyncio.run(asyncio.wait_for(_fill(bootstrap, values), SECONDS))


async def _fill(bootstrap: str, values: Mapping[tuple[str, int], Sequence[bytes]]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES, client_id="bench"
    )
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

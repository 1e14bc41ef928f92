"""Records to the topics that alerts write; one is told when the broker has it on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from yumai.broker.security import Bootstrap, client_options
from yumai.topics import Topic


class ProducerRecord(NamedTuple):
    topic: Topic
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Publisher:
    """One idempotent producer, connected when it is first needed. Raises KafkaError."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def tell(self, records: Iterable[ProducerRecord]) -> None:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._bootstrap),
                    client_id="yumai-alerts",
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=10_000,
                )
                await producer.start()
                self._producer = producer
            producer = self._producer
        sent = [
            await producer.send(
                record.topic.name,
                record.value,
                record.key.encode(),
                partition=0,
                headers=list(record.headers),
            )
            for record in records
        ]
        await asyncio.gather(*sent)

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

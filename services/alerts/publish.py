"""Steps to `alerts.v1`; a step is told when the broker has it on disk."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer

from contracts.alerts import codec
from yumai.broker.topics import ALERTS


class Publisher:
    """One idempotent producer, connected when it is first needed. Raises KafkaError."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def tell(self, steps: list[codec.Step]) -> None:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id="yumai-alerts",
                acks="all",
                enable_idempotence=True,
                request_timeout_ms=10_000,
            )
            await producer.start()
            self._producer = producer
        sent = [
            await self._producer.send(
                ALERTS.name, codec.encode(step), key=step.id.encode(), partition=0
            )
            for step in steps
        ]
        await asyncio.gather(*sent)

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

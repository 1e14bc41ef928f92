"""The two topics that alerts remember by: `targets.v1` and its own `alerts.v1`, read from the start.

Nothing is kept on disk: the log is the memory, so a lost disk, a restart and another worker all
come to the same state.
"""

from __future__ import annotations

import logging

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from contracts.alerts import codec as alerts_codec
from contracts.targets import codec as targets_codec
from services.alerts.lifecycle import Alerts, applied
from yumai.broker.consumers import let_go
from yumai.broker.topics import ALERTS, MESSAGE_MAX_BYTES, TARGETS

log = logging.getLogger("yumai.alerts")

STOP_SECONDS = 1.0
PARTITIONS = (TopicPartition(TARGETS.name, 0), TopicPartition(ALERTS.name, 0))
_Targets = dict[int, dict[str, int]]


class Journal:
    """State as the log tells it. Raises KafkaError while the broker is away."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self.alerts: Alerts = {}
        self.targets: _Targets = {}
        """Year -> district -> fen, all services."""

    async def open(self) -> None:
        """Reads both topics from the start to their ends."""
        await self.close()
        self.alerts.clear()
        self.targets.clear()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id="yumai-alerts-journal",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=10_000,
            max_partition_fetch_bytes=MESSAGE_MAX_BYTES,
            fetch_max_wait_ms=100,
        )
        self._consumer = consumer
        await consumer.start()
        consumer.assign(list(PARTITIONS))
        await consumer.seek_to_beginning(*PARTITIONS)
        await self.catch_up()

    async def close(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await let_go(consumer, STOP_SECONDS)

    async def catch_up(self) -> set[str]:
        """Reads to where the topics end now; districts whose target changed."""
        assert self._consumer is not None
        changed: set[str] = set()
        ends = await self._consumer.end_offsets(list(PARTITIONS))
        for tp, end in ends.items():
            while await self._consumer.position(tp) < end:
                found = await self._consumer.getmany(tp, timeout_ms=200)
                for record in found.get(tp, ()):
                    changed |= self._take(record)
        return changed

    def _take(self, record: ConsumerRecord) -> set[str]:
        try:
            if record.topic == ALERTS.name:
                if record.value is not None:
                    applied(self.alerts, alerts_codec.decode(record.value))
                return set()
            return self._take_target(record)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("%s offset %d can't be read: %s", record.topic, record.offset, error)
            return set()

    def _take_target(self, record: ConsumerRecord) -> set[str]:
        """An empty record takes the target of its key away."""
        if record.value is None:
            year, district, sector = (record.key or b"").decode().split("/")
            if sector in ("", "*") and year.isdigit():
                self.targets.get(int(year), {}).pop(district, None)
            return {district}
        target = targets_codec.decode(record.value)
        if target.sector or target.district == targets_codec.CITY or target.target_fen is None:
            return set()
        self.targets.setdefault(target.year, {})[target.district] = target.target_fen
        return {target.district}

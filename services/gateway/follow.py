"""Follows `commits.v1` and `alerts.v1` from their ends, without a group; waits while Kafka is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts import traces
from contracts.alerts import codec as alerts_codec
from contracts.commits import codec as commits_codec
from yumai.broker.consumers import let_go
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.topics import ALERTS, COMMITS

log = logging.getLogger("yumai.gateway")

BEHIND = 256
"""Commits read again at the start, to learn how far each partition is told."""
RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
STEP_SECONDS = 8.0
"""What one step of a consumer may take, and reading may bring nothing of what is there: then it is made anew."""
PARTITIONS = (TopicPartition(COMMITS.name, 0), TopicPartition(ALERTS.name, 0))


class Follower:
    """Hands on what is new; `learned` gets the commits from before the start."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        committed: Callable[[commits_codec.Commit, tuple[str, ...]], None],
        learned: Callable[[commits_codec.Commit], object],
        alerted: Callable[[alerts_codec.Step, tuple[str, ...]], None],
        whole: Callable[[], None],
    ) -> None:
        """What is new comes with its traces. `whole`: the commits are read from the first on."""
        self._bootstrap = bootstrap
        self._committed = committed
        self._learned = learned
        self._alerted = alerted
        self._whole = whole
        self._next: dict[TopicPartition, int] = {}
        self._new_from: dict[TopicPartition, int] = {}
        self.problem = "not connected yet"

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            consumer = AIOKafkaConsumer(
                **client_options(self._bootstrap),
                client_id="yumai-gateway",
                enable_auto_commit=False,
                auto_offset_reset="latest",
                request_timeout_ms=10_000,
                metadata_max_age_ms=30_000,
                retry_backoff_ms=200,
                fetch_max_wait_ms=200,
            )
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await consumer.start()
                    await self._place(consumer)
                self.problem = ""
                await self._follow(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                self.problem = f"Kafka: {str(error) or type(error).__name__}"[:200]
                log.warning("following waits: %s", self.problem)
            finally:
                await let_go(consumer, RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _place(self, consumer: AIOKafkaConsumer) -> None:
        """Where it was, within what the log holds; the first time at the end."""
        consumer.assign(list(PARTITIONS))
        begins = await consumer.beginning_offsets(list(PARTITIONS))
        ends = await consumer.end_offsets(list(PARTITIONS))
        for tp in PARTITIONS:
            if tp not in self._next or self._next[tp] > ends[tp]:
                self._new_from[tp] = ends[tp]
                back = BEHIND if tp.topic == COMMITS.name else 0
                self._next[tp] = ends[tp] - back
            self._next[tp] = max(self._next[tp], begins[tp])
            if tp.topic == COMMITS.name and self._next[tp] == 0:
                self._whole()
            consumer.seek(tp, self._next[tp])

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        behind: float | None = None
        while True:
            found = await consumer.getmany(timeout_ms=int(PROBE_SECONDS * 1000))
            if found:
                behind = None
            else:
                # A consumer without records does not notice that the broker has gone.
                async with asyncio.timeout(PROBE_SECONDS * 2):
                    ends = await consumer.end_offsets(list(PARTITIONS))
                    places = {tp: await consumer.position(tp) for tp in PARTITIONS}
                now = asyncio.get_running_loop().time()
                behind = behind or now if any(places[tp] < ends[tp] for tp in PARTITIONS) else None
                if behind is not None and now - behind > STEP_SECONDS:
                    raise TimeoutError("records are there, and none comes")
                if any(self._next[tp] > ends[tp] for tp in PARTITIONS):
                    raise TimeoutError("a topic ends before what was read of it")
            self.problem = ""
            for tp, records in found.items():
                for record in records:
                    self._hand_on(tp, record)
                    self._next[tp] = record.offset + 1

    def _hand_on(self, tp: TopicPartition, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        try:
            if tp.topic == ALERTS.name:
                step = alerts_codec.decode(record.value)
                self._alerted(step, traces.of_kafka(record.headers))
            elif record.offset >= self._new_from[tp]:
                commit = commits_codec.decode(record.value)
                self._committed(commit, traces.of_kafka(record.headers))
            else:
                self._learned(commits_codec.decode(record.value))
        except Exception as error:
            passed_over(tp.topic, record.offset, error)

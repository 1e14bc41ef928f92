"""Feeds taking turns: a Kafka consumer that hands out record batches, decoded, a partition at a time.

kafka-python brings connections, metadata and commits; which bytes are unpacked, how far, and what
becomes of those that can't be is decided here. One partition's fault is that partition's: it is set
aside or waits, and the next has its turn.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.structs import OffsetAndMetadata

from services.ingest.doors import feed_batches
from services.ingest.doors.feed_batches import Batch, Rows, Undecodable

log = logging.getLogger("yumai.ingest")

TURN_BYTES = 16 * 1024 * 1024
"""Unpacked; the batch that passes it ends the turn."""
TURN_ROWS = 20_000
FETCH_BYTES = 1024 * 1024
"""Bytes of the log (compressed) that one turn takes; a larger batch is a turn by itself."""
WAIT_SECONDS = 5.0
"""What a partition that can't be fetched is left alone for."""


@dataclass(frozen=True)
class Aside:
    """What of the log was passed over, from `first` to `last`, and why. `raw`: as it stood there."""

    first: int
    last: int
    code: str
    detail: str
    raw: bytes = b""
    size: int = 0


@dataclass
class Turn:
    """One partition's share: what was read from `begin` to below `end`."""

    partition: TopicPartition
    begin: int
    end: int
    rows: list[Rows] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)


class FeedConsumer(KafkaConsumer):
    """`poll` gives turns instead of records: {partition: [Turn]}, one at a time."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(
            **configs,
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
            metrics_enabled=False,
        )
        self._fetcher = FeedFetcher(self._client, self._subscription, **self.config)

    def turn(self, timeout_ms: int) -> Turn | None:
        for turns in self.poll(timeout_ms=timeout_ms, max_records=1).values():
            return turns[0]
        return None

    def wake(self) -> None:
        """Partitions that were left alone for long enough are tried again."""
        now = time.monotonic()
        for partition, until in list(self._fetcher.left_alone.items()):
            if now >= until:
                del self._fetcher.left_alone[partition]
                if partition in self.assignment():
                    self.resume(partition)


class FeedFetcher(Fetcher):
    """The part of the consumer that makes of fetched bytes what a poll gives."""

    def __init__(self, *args: Any, **configs: Any) -> None:
        super().__init__(*args, **configs)
        self.left_alone: dict[TopicPartition, float] = {}

    def fetched_records(
        self, max_records: int | None = None, update_offsets: bool = True
    ) -> tuple[dict[TopicPartition, list[Turn]], bool]:
        """The next turn of those that are here. Never raises for one partition's sake."""
        waiting: deque[CompletedFetch] = self._completed_fetches
        while waiting:
            fetch = waiting.popleft()
            partition = fetch.topic_partition
            try:
                turn = self._turn(fetch)
            except Exception as error:
                log.warning("feed_waits %s/%d: %s %s", *partition, type(error).__name__, error)
                self.left_alone[partition] = time.monotonic() + WAIT_SECONDS
                if self._subscriptions.is_assigned(partition):
                    self._subscriptions.pause(partition)
                continue
            if turn is not None:
                self._subscriptions.assignment[partition].position = OffsetAndMetadata(
                    turn.end, "", -1
                )
                self._subscriptions.move_partition_to_end(partition)
                return {partition: [turn]}, bool(waiting)
        return {}, False

    def _turn(self, fetch: CompletedFetch) -> Turn | None:
        # Says whether there was an error, asks for metadata or another offset where there was.
        if self._parse_fetched_data(fetch) is None:
            return None
        return take_turn(
            fetch.topic_partition,
            fetch.fetched_offset,
            fetch.partition_data.records or b"",
            [
                (one.first_offset, one.producer_id)
                for one in fetch.partition_data.aborted_transactions or ()
            ],
        )


def take_turn(
    partition: TopicPartition, begin: int, data: bytes, aborted: list[tuple[int, int]]
) -> Turn | None:
    """What stands in fetched bytes from `begin` on, until the turn is over; None: nothing new. Pure.

    `aborted`: (first offset, producer) of transactions that came to nothing; a producer's marker
    ends its transaction either way.
    """
    turn = Turn(partition, begin, begin)
    coming = deque(sorted(aborted))
    undone: set[int] = set()
    spent = count = 0
    for batch in feed_batches.split(data):
        while coming and coming[0][0] <= batch.last:
            undone.add(coming.popleft()[1])
        if batch.is_control:
            undone.discard(batch.producer_id)
        elif batch.last >= begin and not (batch.is_transactional and batch.producer_id in undone):
            try:
                rows = feed_batches.rows(batch).since(begin)
                spent += len(rows.data)
                count += len(rows)
                if len(rows):
                    turn.rows.append(rows)
            except Undecodable as error:
                turn.aside.append(_aside(batch, begin, error))
                spent += TURN_BYTES  # what it may have cost is not given to it twice
        turn.end = max(turn.end, batch.last + 1)
        if spent >= TURN_BYTES or count >= TURN_ROWS:
            break
    return turn if turn.end > begin else None


def _aside(batch: Batch, begin: int, error: Undecodable) -> Aside:
    first = max(batch.first, begin)
    return Aside(first, batch.last, error.code, str(error), bytes(batch.raw), len(batch.raw))

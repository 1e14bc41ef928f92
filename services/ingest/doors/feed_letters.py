"""Dead letters of what a feed holds and the door can't decode: with the place in the log. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import pyarrow as pa
from kafka import TopicPartition

from contracts.dead_letters import codec
from contracts.reasons import REASONS
from services.ingest.doors.feed_turns import Aside
from services.ingest.receipts import feed_receipt

_RECORD_ROWS = 32
"""At most 2 MiB of kept bytes a record."""


def records(
    partition: TopicPartition, topic_id: str, platform: str, asides: Iterable[Aside], at_ms: int
) -> Iterator[pa.Buffer]:
    """Values of `dead-letters.v1`; a batch is one row, that of its first record."""
    waiting = list(asides)
    for begin in range(0, len(waiting), _RECORD_ROWS):
        rows = [
            _row(partition, topic_id, platform, aside, at_ms)
            for aside in waiting[begin : begin + _RECORD_ROWS]
        ]
        yield codec.encode(pa.RecordBatch.from_pylist(rows, schema=codec.SCHEMA))


def _row(
    partition: TopicPartition, topic_id: str, platform: str, aside: Aside, at_ms: int
) -> dict[str, object]:
    reason = REASONS[aside.code]
    place = f"{partition.topic}/{partition.partition} offsets {aside.first}–{aside.last}"
    return {
        "receipt": feed_receipt(partition.topic, topic_id, partition.partition, aside.first),
        "row": aside.first % (1 << 20),
        "platform": platform,
        "code": aside.code,
        "field": "",
        "message": f"{reason.en} ({aside.detail}; {place}) / {reason.zh}",
        "at": at_ms,
        "size": aside.size,
        "sha256": hashlib.sha256(aside.raw).digest(),
        "bytes": aside.raw[: codec.KEPT_BYTES],
    }

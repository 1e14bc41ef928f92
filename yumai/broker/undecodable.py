"""Batches that the client libraries can't unpack: read past, where a library would fail for ever.

kafka-python 3.0 and aiokafka 0.14 raise inside their fetchers, at a header key that is not UTF-8 or a body that does
not decompress, and fetch the same batch again. Both ask a batch for its records in one place: there it is wrapped.

small topics    what can't be read of a batch is passed over, by offset (`stray`); what came before it is read
`entries.v1`    one record in its place, without a value and with the header UNREADABLE: metrics stops that partition
a feed          the same: who looks how old it is goes on. What is taken over is read without these libraries
                (`services/ingest/doors/feed_batches.py`)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yumai.broker.stray import passed_over
from yumai.topics import ENTRIES, feed_platform

UNREADABLE = "yumai-unreadable"
"""Header of the record that stands for what can't be read; its value says why."""


@dataclass(frozen=True)
class Unreadable:
    """A record as both libraries have them."""

    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]
    timestamp_type: int = 0
    key: None = None
    value: None = None
    checksum: None = None
    size_in_bytes: int = 0

    def validate_crc(self) -> bool:
        return True


class Batch:
    """A batch of a library whose records end where they can't be read."""

    def __init__(self, batch: Any, topic: str) -> None:
        self._batch, self._topic = batch, topic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        at = self._batch.base_offset
        try:
            for record in self._batch:
                yield record
                at = record.offset + 1
        except Exception as error:
            if self._topic == ENTRIES.name or feed_platform(self._topic) is not None:
                why = f"the batch can't be unpacked: {error!r}"[:300]
                timestamp = getattr(self._batch, "max_timestamp", None) or 0
                yield Unreadable(at, timestamp, [(UNREADABLE, why.encode())])
            else:
                passed_over(self._topic, at, error, self._batch.next_offset - 1)


class Batches:
    """The record batches that a fetch has brought of one partition."""

    def __init__(self, records: Any, topic: str) -> None:
        self._records, self._topic = records, topic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        return batch if batch is None else Batch(batch, self._topic)


def guard() -> None:
    """Wraps what is imported by now of both libraries; once."""
    fetcher = sys.modules.get("kafka.consumer.fetcher")
    if fetcher is not None:
        _wrap(fetcher.Fetcher.PartitionRecords, _kafka_python)
    fetcher = sys.modules.get("aiokafka.consumer.fetcher")
    if fetcher is not None:
        _wrap(fetcher.PartitionRecords, _aiokafka)


def _wrap(partition_records: Any, wrapped: Any) -> None:
    known = partition_records._unpack_records
    if not hasattr(known, "yumai"):
        partition_records._unpack_records = wrapped(known)
        partition_records._unpack_records.yumai = True


def _kafka_python(unpack: Any) -> Any:
    def unpack_records(self: Any, partition: Any, records: Any, *deserializers: Any) -> Any:
        return unpack(self, partition, Batches(records, partition.topic), *deserializers)

    return unpack_records


def _aiokafka(unpack: Any) -> Any:
    def unpack_records(self: Any) -> Any:
        self._records = Batches(self._records, self._tp.topic)
        return unpack(self)

    return unpack_records

"""Small topics as tables that are asked by SQL: receipts, dead letters, deliveries.

Placed by the table `projections`, not by a group, so that a lost store reads them from the start.
Each row is keyed by what it says: reading a record twice changes nothing. One worker does it (the
one with partition 0); a second would only repeat it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contracts.alerts import outbox as deliveries
from contracts.dead_letters import codec as dead_letters
from contracts.receipts import codec as receipts
from services.metrics.ledger import milliseconds, stream_bytes
from services.metrics.pump import die
from yumai import topics
from yumai.broker.security import client_options
from yumai.broker.stray import passed_over
from yumai.process.settings import Settings
from yumai.store.client import STORE_ERRORS, connect
from yumai.store.inserts import insert_rows, insert_stream
from yumai.store.migrate import APPLIED, require_schema

log = logging.getLogger("yumai.metrics.projections")

POLL_RECORDS = 500
FETCH_BYTES = 4 * 1024 * 1024
"""Of one partition at once; a larger record comes by itself."""
INSERT_BYTES = 16 * 1024 * 1024
"""Decoded: what is put together into one insert. A single record may be more, never twice."""
DECODED_MAX_BYTES = 256 * 1024 * 1024
"""A record that says that it becomes more is passed over: what ingest writes stays under a 16th of it."""
PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Message:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


def receipts_rows(messages: list[Message]) -> pa.RecordBatch:
    found = [(receipts.decode(m.value), m.offset) for m in messages if m.value]
    return pa.RecordBatch.from_pydict(
        {
            "receipt": pa.array([bytes.fromhex(r.receipt_id) for r, _ in found], pa.binary(16)),
            "platform": pa.array([r.platform_id for r, _ in found], pa.string()),
            "received": pa.array([r.received for r, _ in found], pa.uint32()),
            "accepted": pa.array([r.accepted for r, _ in found], pa.uint32()),
            "rejected": pa.array([r.rejected for r, _ in found], pa.uint32()),
            "format": pa.array([r.format for r, _ in found], pa.string()),
            "at": milliseconds(np.array([r.at for r, _ in found], dtype=np.int64)),
            "version": pa.array([offset for _, offset in found], pa.uint64()),
        }
    )


def dead_letters_rows(messages: list[Message]) -> pa.RecordBatch:
    found = []
    for m in messages:
        if m.value:
            if dead_letters.decoded_bytes(m.value) > DECODED_MAX_BYTES:
                raise ValueError("more than 256 MiB once decoded")
            found.append(dead_letters.decode(m.value))
    table = pa.Table.from_batches(found, dead_letters.SCHEMA)
    return table.combine_chunks().to_batches()[0] if table.num_rows else _nothing()


def deliveries_rows(messages: list[Message]) -> pa.RecordBatch:
    found = [(deliveries.decode_delivery(m.value), m.offset) for m in messages if m.value]

    def texts(name: str) -> pa.Array:
        return pa.array([str(getattr(d, name) or "") for d, _ in found], pa.string())

    def numbers(name: str) -> pa.Array:
        return pa.array([getattr(d, name) or 0 for d, _ in found], pa.uint32())

    def instants(name: str) -> pa.Array:
        return milliseconds(np.array([getattr(d, name) for d, _ in found], dtype=np.int64))

    return pa.RecordBatch.from_pydict(
        {
            **{
                name: texts(name)
                for name in ("id", "office", "subscription", "source", "alert_id", "state")
            },
            "seq": numbers("seq"),
            "attempts": numbers("attempts"),
            "last_error": texts("last_error"),
            "created_at": instants("created_at"),
            "at": instants("at"),
            "version": pa.array([offset for _, offset in found], pa.uint64()),
        }
    )


def _nothing() -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({})


PROJECTED: dict[str, tuple[str, Callable[[list[Message]], pa.RecordBatch]]] = {
    topics.RECEIPTS.name: ("receipts", receipts_rows),
    topics.DEAD_LETTERS.name: ("dead_letters", dead_letters_rows),
    topics.DELIVERIES.name: ("deliveries", deliveries_rows),
}

_UNFIT = frozenset((6, 26, 27, 33, 36, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 691))
"""ClickHouse's codes for data that a table can't hold: not to be tried again as it is."""


class Projections(threading.Thread):
    """Follows the small topics while `active`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="projections", daemon=True)
        self._settings = settings
        self.active = False
        self.problem = ""

    def run(self) -> None:
        while True:
            if not self.active:
                time.sleep(0.2)
                continue
            try:
                self._follow()
            except (*STORE_ERRORS, KafkaError) as error:
                self.problem = str(error)[:300]
                log.warning("projections wait: %s", self.problem)
                time.sleep(1.0)
            except Exception:
                die("a projection failed")

    def _follow(self) -> None:
        client = connect(self._settings.clickhouse_dsn, sequential=True, with_canary=True)
        consumer = KafkaConsumer(
            **client_options(self._settings.kafka),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=2 * FETCH_BYTES,
            max_poll_records=POLL_RECORDS,
            reconnect_backoff_max_ms=1_000,
        )
        try:
            require_schema(client.query(APPLIED).result_rows)
            stands = {
                topic: int(offset)
                for topic, offset in client.query(
                    "SELECT topic, next_offset FROM projections FINAL"
                ).result_rows
            }
            partitions = [TopicPartition(topic, 0) for topic in PROJECTED]
            consumer.assign(partitions)
            first = consumer.beginning_offsets(partitions)
            for tp in partitions:
                consumer.seek(tp, max(stands.get(tp.topic, 0), first[tp]))
            self.problem = ""
            while self.active:
                polled = consumer.poll(timeout_ms=500)
                for tp, records in polled.items():
                    self._project(
                        client,
                        tp.topic,
                        [Message(r.offset, r.key, r.value, r.timestamp) for r in records],
                    )
                if polled and sum(map(len, polled.values())) < POLL_RECORDS:
                    # A part a table a second, not one a request.
                    time.sleep(PAUSE_SECONDS)
        finally:
            consumer.close()
            client.close()

    def _project(self, client: Client, topic: str, messages: list[Message]) -> None:
        for piece in _pieces(topic, messages):
            self._insert(client, topic, piece)
        row: list[Any] = [topic, 0, messages[-1].offset + 1, datetime.now(UTC)]
        insert_rows(client, "projections", [row], ["topic", "part", "next_offset", "written_at"])
        # What a large record became is given back, not kept for the next one.
        pa.default_memory_pool().release_unused()

    def _insert(self, client: Client, topic: str, messages: list[Message]) -> None:
        """Inserts messages at once. A message that can't be read or kept is found by halving, and passed over."""
        table, rows = PROJECTED[topic]
        try:
            batch = rows(messages)
            if batch.num_rows:
                insert_stream(client, table, stream_bytes(batch), batch.num_rows)
        except Exception as error:
            if isinstance(error, STORE_ERRORS) and _code(error) not in _UNFIT:
                raise
            if len(messages) == 1:
                passed_over(topic, messages[0].offset, error)
                return
            middle = len(messages) // 2
            self._insert(client, topic, messages[:middle])
            self._insert(client, topic, messages[middle:])


def _pieces(topic: str, messages: list[Message]) -> Iterator[list[Message]]:
    """Messages in order, each piece up to about INSERT_BYTES once decoded."""
    piece: list[Message] = []
    size = 0
    for message in messages:
        more = _decoded_bytes(topic, message.value or b"")
        if piece and size + more > INSERT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(message)
        size += more
    if piece:
        yield piece


def _decoded_bytes(topic: str, value: bytes) -> int:
    if topic != topics.DEAD_LETTERS.name:
        return len(value)
    try:
        return dead_letters.decoded_bytes(value)
    except (pa.ArrowException, ValueError):
        return len(value)


_CODE = re.compile(r"[Cc]ode: (\d+)")


def _code(error: BaseException) -> int | None:
    """ClickHouse's number of an error that it answered; None: nobody answered."""
    match = _CODE.search(str(error))
    return int(match[1]) if match else None

"""One flush: what a round booked becomes durable, in an order in which a crash does no harm.

Runs in a thread of its own, one at a time. Every step may be repeated: each row is a pure function
of the log, under a key of its own. Infrastructure errors are retried here for ever, with backoff.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer
from kafka.errors import KafkaError

from contracts import traces
from contracts.commits import codec as commits
from contracts.dead_letters import codec as dead_letters
from services.metrics import tables
from services.metrics.ledger import stream_bytes
from services.metrics.round import PartRound, Round
from yumai import topics
from yumai.broker.security import Bootstrap, client_options
from yumai.observability import telemetry, tracing
from yumai.store.client import STORE_ERRORS, connect, is_busy
from yumai.store.inserts import insert_stream

log = logging.getLogger("yumai.metrics.flush")
T = TypeVar("T")

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
_INSERT = {"optimize_on_insert": 0}
# Rows are sorted and unique already; collapsing them at insertion halves the speed (docs/engines.md).


class Stopping(Exception):
    """The worker ends while the world is away: nothing is acknowledged."""


class StoreReplaced(Exception):
    """The store came back without this worker's rows: the worker starts again from what the store holds."""


class Flush:
    """Writes rounds. `on_wait` hears why it waits ('' when it goes on)."""

    def __init__(
        self, dsn: str, bootstrap: Bootstrap, worker: str, on_wait: Callable[[str], None]
    ) -> None:
        self._dsn = dsn
        self._bootstrap = bootstrap
        self._worker = worker
        self._on_wait = on_wait
        self._client: Client | None = None
        self._producer: KafkaProducer | None = None
        self._work = tracing.NOTHING
        self.stop = threading.Event()
        self.held: list[tuple[int, int, int]] = []
        """(epoch, part, last offset) of what is written and must be there after an outage."""

    def write(self, round_: Round, work: tracing.Work = tracing.NOTHING) -> None:
        """`work`: the round in the traces of its records. Raises Stopping, or StoreReplaced."""
        begun = time.monotonic()
        self._work = work
        # 1 ledger: after a crash here the block is read again and gives the same rows
        if round_.ledger.rows:
            with self._step("ledger"):
                self._insert("entries", round_.ledger.batch(round_.platforms))
        # 2 cells, as totals of their block: the same
        with self._step("cells"):
            touched = tables.cells_batch(round_)
            if touched.num_rows:
                self._insert("cells", touched)
        # 3 what of each receipt is booked; duplicates and conflicts, a row each
        with self._step("receipts"):
            if round_.bookings:
                self._insert("receipt_bookings", tables.bookings_batch(round_))
            if round_.verdicts:
                self._insert("verdicts", tables.verdicts_batch(round_))
        # 4 dead letters: durable before anything says that the block is
        if round_.letters or round_.foreign:
            with self._step("dead_letters"):
                for letters in tables.letter_batches(round_):
                    body = dead_letters.encode(letters)
                    self._announce(topics.DEAD_LETTERS.name, b"conflict", body)
        # 5 how far: from here the store knows
        now = int(time.time() * 1000)
        with self._step("blocks"):
            if round_.written:
                self._insert("blocks", tables.blocks_batch(round_, now))
            if round_.parts:
                self.progress(list(round_.parts.values()), now)
        # 6 tell everybody what can be queried; twice is harmless
        with self._step("announce"):
            for part, share in round_.parts.items():
                if share.last_offset >= 0:
                    with self._announcing(share) as told:
                        self._announce(
                            topics.COMMITS.name,
                            f"{share.state.epoch}/{part}".encode(),
                            commits.encode(tables.commit_of(share, self._worker, now)),
                            traces.to_kafka(told.parents),
                        )
        # 7 the caller acknowledges the complete blocks
        self._work = tracing.NOTHING
        count(round_, now)
        telemetry.METRICS_FLUSH_SECONDS.observe(time.monotonic() - begun)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        telemetry.METRICS_FLUSH_STEP_SECONDS.observe(time.monotonic() - begun, step=name)

    def _announcing(self, share: PartRound) -> tracing.Work:
        """In the traces of this partition's records only."""
        if not self._work:
            return tracing.NOTHING
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topics.COMMITS.name,
            "yumai.partition": share.state.part,
            "yumai.last_offset": share.last_offset,
        }
        name = f"send {topics.COMMITS.name}"
        return self._work.step(name, "producer", attributes, only=share.traces)

    def progress(self, shares: list[PartRound], now: int) -> None:
        """Tells the store up to when each partition's log is booked."""
        self._insert("progress", tables.progress_batch(shares, self._worker, now))

    # -- the outside ----------------------------------------------------------------------------

    def _insert(self, table: str, batch: pa.RecordBatch) -> None:
        body = stream_bytes(batch)
        with self._inserting(table, body.size):
            self._retry(
                "the store",
                lambda: insert_stream(self._store(), table, body, batch.num_rows, _INSERT),
            )

    def _inserting(self, table: str, size: int) -> tracing.Work:
        if not self._work:
            return tracing.NOTHING
        attributes: dict[str, str | int] = {
            "db.system.name": "clickhouse",
            "db.operation.name": "INSERT",
            "db.collection.name": table,
            "yumai.bytes": size,
        }
        return self._work.step(f"INSERT {table}", "client", attributes)

    def _announce(
        self,
        topic: str,
        key: bytes,
        value: bytes | pa.Buffer,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        body = value if isinstance(value, bytes) else value.to_pybytes()

        def send() -> None:
            if self._producer is None:
                self._producer = KafkaProducer(
                    **client_options(self._bootstrap),
                    acks="all",
                    max_request_size=topics.MESSAGE_MAX_BYTES,
                    client_id=self._worker,
                    reconnect_backoff_max_ms=1_000,
                )
            try:
                sent = self._producer.send(topic, key=key, value=body, headers=list(headers))
                sent.get(timeout=10)
            except KafkaError:
                self._producer.close(timeout=0)
                self._producer = None
                raise

        self._retry("Kafka", send)

    def _store(self) -> Client:
        if self._client is None:
            self._client = connect(self._dsn, timeout=300, sequential=True, with_canary=True)
        return self._client

    def _retry(self, whom: str, action: Callable[[], T]) -> T:
        attempt = 0
        while True:
            try:
                answer = action()
            except (*STORE_ERRORS, KafkaError) as error:
                if self.stop.is_set():
                    raise Stopping(str(error)) from error
                if is_busy(error):
                    # Another worker's insert into the same table of the same shard.
                    self.stop.wait(random.uniform(0.02, 0.2))
                    continue
                if attempt == 0:
                    log.warning("waiting for %s: %s", whom, str(error)[:300])
                self._on_wait(f"{whom} is away: {str(error)[:200]}")
                if isinstance(error, STORE_ERRORS):
                    self._client = None
                away = "kafka" if isinstance(error, KafkaError) else "store"
                telemetry.METRICS_RETRIES.inc(whom=away)
                self.stop.wait(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1
                continue
            if attempt:
                log.info("%s is back", whom)
                self._on_wait("")
                if whom == "the store":
                    self._same_store()
            return answer

    def _same_store(self) -> None:
        """After an outage: is it the store that this worker wrote to?"""
        for epoch, part, last_offset in self.held:
            (row,) = (
                self._store()
                .query(
                    "SELECT max(last_offset) FROM blocks WHERE epoch = {e:UInt16} AND part = {p:UInt16}",
                    parameters={"e": epoch, "p": part},
                )
                .result_rows
            )
            if int(row[0] or 0) < last_offset:
                raise StoreReplaced(f"partition {part}: {row[0]} where {last_offset} was written")

    def close(self) -> None:
        self.stop.set()
        if self._producer is not None:
            self._producer.close(timeout=1)
        if self._client is not None:
            self._client.close()


def count(round_: Round, now: int) -> None:
    """A round that is written and announced. `now`: epoch ms of the announcement."""
    telemetry.METRICS_RECORDS.inc(round_.records)
    for share in round_.parts.values():
        if share.last_offset < 0:
            continue
        telemetry.METRICS_ENTRIES.inc(share.entries, verdict="booked")
        telemetry.METRICS_ENTRIES.inc(share.duplicates, verdict="duplicate")
        telemetry.METRICS_ENTRIES.inc(share.conflicts, verdict="conflict")
        telemetry.METRICS_FRESHNESS_SECONDS.observe(max(now - share.first_timestamp, 0) / 1000)
    telemetry.METRICS_DEAD_LETTERS.inc(len(round_.letters), code="conflict")
    telemetry.METRICS_DEAD_LETTERS.inc(len(round_.foreign), code="foreign_record")

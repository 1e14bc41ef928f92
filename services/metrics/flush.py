"""One flush: what a round booked becomes durable, in an order in which a crash does no harm.

Runs in a thread of its own, one at a time. Every step may be repeated: each row is a pure function
of the log, under a key of its own. Infrastructure errors are retried here for ever, with backoff.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer
from kafka.errors import KafkaError

from contracts import traces
from contracts.commits import codec as commits
from contracts.dead_letters import codec as dead_letters
from contracts.entries import codec
from contracts.reasons import REASONS
from services.metrics import cells
from services.metrics.blocks import FUNCTION_VERSION, block_of
from services.metrics.cells import DISTRICT_CODES
from services.metrics.ledger import int128, int128_of, milliseconds, named, stream_bytes
from services.metrics.processor import PartRound, Round, sent_bytes
from yumai import topics
from yumai.broker.security import Bootstrap, client_options
from yumai.entry import BLOCK_OFFSETS
from yumai.observability import telemetry, tracing
from yumai.sectors import SECTOR_CODES
from yumai.store.client import STORE_ERRORS, connect, is_busy
from yumai.store.inserts import insert_stream

log = logging.getLogger("yumai.metrics.flush")
T = TypeVar("T")

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
LETTERS_BYTES = 4 * 1024 * 1024
LETTERS_ROWS = 4_096
"""A record of dead letters: as ingest cuts them."""
_INSERT = {"optimize_on_insert": 0}
# Rows are sorted and unique already; collapsing them at insertion halves the speed (docs/engines.md).


class Stopping(Exception):
    """The worker ends while the world is away: nothing is acknowledged."""


class StoreReplaced(Exception):
    """The store came back without what this worker wrote: start again from what it holds."""


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
            cells = cells_batch(round_)
            if cells.num_rows:
                self._insert("cells", cells)
        # 3 what of each receipt is booked; duplicates and conflicts, a row each
        with self._step("receipts"):
            if round_.bookings:
                self._insert("receipt_bookings", bookings_batch(round_))
            if round_.verdicts:
                self._insert("verdicts", verdicts_batch(round_))
        # 4 dead letters: durable before anything says that the block is
        if round_.letters or round_.foreign:
            with self._step("dead_letters"):
                for letters in letter_batches(round_):
                    body = dead_letters.encode(letters)
                    self._announce(topics.DEAD_LETTERS.name, b"conflict", body)
        # 5 how far: from here the store knows
        now = int(time.time() * 1000)
        with self._step("blocks"):
            if round_.written:
                self._insert("blocks", blocks_batch(round_, now))
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
                            commits.encode(commit_of(share, self._worker, now)),
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
        columns: dict[str, list[Any]] = {
            "epoch": [s.state.epoch for s in shares],
            "part": [s.state.part for s in shares],
            "through": [s.last_timestamp for s in shares],
            "next_offset": [s.state.next_offset for s in shares],
            "worker": [self._worker] * len(shares),
            "stopped": [s.state.stopped for s in shares],
            "written_at": [now] * len(shares),
        }
        batch = pa.RecordBatch.from_pydict(
            {
                "epoch": pa.array(columns["epoch"], pa.uint16()),
                "part": pa.array(columns["part"], pa.uint16()),
                "through": milliseconds(np.array(columns["through"], dtype=np.int64)),
                "next_offset": pa.array(columns["next_offset"], pa.uint64()),
                "worker": columns["worker"],
                "stopped": columns["stopped"],
                "written_at": milliseconds(np.array(columns["written_at"], dtype=np.int64)),
            }
        )
        self._insert("progress", batch)

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


# -- what is written, as columns; pure ------------------------------------------------------------


def cells_batch(round_: Round) -> pa.RecordBatch:
    """Over all blocks of the round; no rows if it touched no cell."""
    parts = [
        (block, last, touched) for block, last, touched in round_.cells if len(touched["hour"])
    ]
    if not parts:
        return pa.RecordBatch.from_pydict({})
    counts = [len(touched["hour"]) for _, _, touched in parts]

    def joined(name: str) -> np.ndarray:
        return cells.joined([touched[name] for _, _, touched in parts])

    def spread(values: list[int], dtype: type) -> pa.Array:
        return pa.array(np.repeat(np.array(values, dtype=dtype), counts))

    return pa.RecordBatch.from_pydict(
        {
            "period": pa.array(joined("hour") * np.uint32(3600)),
            "recorded_date": pa.array(joined("recorded_day")),
            "district": pa.array(joined("district")),
            "sector": pa.array(joined("sector")),
            "platform": named(joined("platform"), round_.platforms),
            "epoch": spread([block.epoch for block, _, _ in parts], np.uint16),
            "part": spread([block.part for block, _, _ in parts], np.uint16),
            "block": spread([block.number for block, _, _ in parts], np.uint64),
            "last_offset": spread([last for _, last, _ in parts], np.uint64),
            "entries": pa.array(joined("entries")),
            "sales_fen": int128(joined("sales")),
            "refunds_fen": int128(joined("refunds")),
            "sale_reversals_fen": int128(joined("sale_reversals")),
            "refund_reversals_fen": int128(joined("refund_reversals")),
        }
    )


def bookings_batch(round_: Round) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "receipt": pa.array([receipt for receipt, *_ in round_.bookings], pa.binary(16)),
            "epoch": pa.array([block.epoch for _, block, *_ in round_.bookings], pa.uint16()),
            "part": pa.array([block.part for _, block, *_ in round_.bookings], pa.uint16()),
            "block": pa.array([block.number for _, block, *_ in round_.bookings], pa.uint64()),
            "last_offset": pa.array([last for _, _, last, _ in round_.bookings], pa.uint64()),
            "booked": pa.array([booked for *_, booked in round_.bookings], pa.uint32()),
        }
    )


def verdicts_batch(round_: Round) -> pa.RecordBatch:
    epochs = {part: share.state.epoch for part, share in round_.parts.items()}
    return pa.RecordBatch.from_pydict(
        {
            "receipt": pa.array([v.receipt for _, v in round_.verdicts], pa.binary(16)),
            "row": pa.array([v.row for _, v in round_.verdicts], pa.uint32()),
            # seen.DUPLICATE is 2 and seen.CONFLICT 3; the table's enumeration begins with 1
            "verdict": pa.array([v.verdict - 1 for _, v in round_.verdicts], pa.int8()),
            "platform": pa.array([v.platform for _, v in round_.verdicts]),
            "epoch": pa.array([epochs[part] for part, _ in round_.verdicts], pa.uint16()),
            "part": pa.array([part for part, _ in round_.verdicts], pa.uint16()),
            "off": pa.array([v.off for _, v in round_.verdicts], pa.uint64()),
            "recorded_at": milliseconds(
                np.array([v.recorded_at for _, v in round_.verdicts], dtype=np.int64)
            ),
        }
    )


def letter_batches(round_: Round) -> Iterator[pa.RecordBatch]:
    """Conflicts with what was sent, and foreign records, each cut to what is kept; a record of the topic each."""
    recorded = {(v.receipt, v.row): v.recorded_at for _, v in round_.verdicts}
    waiting: list[dict[str, Any]] = []
    size = 0
    for letter in _letters(round_, recorded):
        waiting.append(letter)
        size += len(letter["bytes"])
        if size >= LETTERS_BYTES or len(waiting) >= LETTERS_ROWS:
            yield pa.RecordBatch.from_pylist(waiting, schema=dead_letters.SCHEMA)
            waiting, size = [], 0
    if waiting:
        yield pa.RecordBatch.from_pylist(waiting, schema=dead_letters.SCHEMA)


def _letters(round_: Round, recorded: dict[tuple[bytes, int], int]) -> Iterator[dict[str, Any]]:
    """One at a time, so that a record's rows are never decoded all at once."""
    value, sent = None, None
    for x in round_.letters:
        if x.value is not value:
            value, sent = x.value, codec.decode_sent(x.value)[0]
        whole = sent_bytes(sent, x.record_row)
        yield _letter(x.receipt, x.row, x.platform, "conflict", recorded[(x.receipt, x.row)], whole)
    for y in round_.foreign:
        place = f"{topics.ENTRIES.name}\x1f{y.part}\x1f{y.offset}"
        receipt = hashlib.sha256(place.encode()).digest()[:16]
        yield _letter(receipt, 0, "", "foreign_record", y.timestamp, y.value)


def _letter(
    receipt: bytes, row: int, platform: str, code: str, at: int, whole: bytes
) -> dict[str, Any]:
    return {
        "receipt": receipt,
        "row": row,
        "platform": platform,
        "code": code,
        "field": "entry_id" if code == "conflict" else "",
        "message": REASONS[code].en,
        "at": at,
        "size": len(whole),
        "sha256": hashlib.sha256(whole).digest(),
        "bytes": whole[: dead_letters.KEPT_BYTES],
    }


def blocks_batch(round_: Round, now: int) -> pa.RecordBatch:
    n = len(round_.written)
    return pa.RecordBatch.from_pydict(
        {
            "epoch": pa.array([w[0].epoch for w in round_.written], pa.uint16()),
            "part": pa.array([w[0].part for w in round_.written], pa.uint16()),
            "block": pa.array([w[0].number for w in round_.written], pa.uint64()),
            "last_offset": pa.array([w[1] for w in round_.written], pa.uint64()),
            "entries": pa.array([w[2] for w in round_.written], pa.uint64()),
            "net_fen": int128_of([w[3] for w in round_.written]),
            "complete": pa.array([int(w[4]) for w in round_.written], pa.uint8()),
            "function_version": pa.array([FUNCTION_VERSION] * n, pa.uint16()),
            "written_at": milliseconds(np.full(n, now, dtype=np.int64)),
        }
    )


def commit_of(share: PartRound, worker: str, now: int) -> commits.Commit:
    """What this round made queryable in one partition."""
    block_number = block_of(share.last_offset)
    touched = np.argwhere(share.changes[:, :, 1] > 0)
    return commits.Commit(
        epoch=share.state.epoch,
        partition=share.state.part,
        block=block_number,
        last_offset=share.last_offset,
        entries=share.entries,
        duplicates=share.duplicates,
        conflicts=share.conflicts,
        net_fen=share.net_fen,
        recorded_from=share.first_timestamp,
        committed_at=now,
        through=share.last_timestamp,
        complete=(share.last_offset + 1) % BLOCK_OFFSETS == 0,
        worker=worker,
        changes=[
            commits.Change(
                f"{int(DISTRICT_CODES[d]):06d}",
                SECTOR_CODES[int(s)],
                int(share.changes[d, s, 0]),
                int(share.changes[d, s, 1]),
            )
            for d, s in touched
        ],
    )

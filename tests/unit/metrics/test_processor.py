"""The books are a function of the log: rounds, restarts and evictions never show."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.entries import codec
from contracts.entries.ids import id_of
from services.metrics import blocks, tables
from services.metrics.booking import RecordColumns
from services.metrics.decoding import EntriesRecord
from services.metrics.ledger import LedgerBuffer, LedgerColumns
from services.metrics.processor import BookedBefore, Processor
from services.metrics.round import Round
from services.metrics.seen import CONFLICT, DUPLICATE, Filter
from yumai import canary

SMALL_BLOCK = 4
T0 = 1_767_196_800_000  # 2026-01-01T00:00+08:00
DISTRICTS = (500101, 500157, 0)
SIGN = {1: 1, 2: -1, 3: -1, 4: 1}


@dataclass(frozen=True)
class Row:
    name: int
    content: int
    receipt: int
    row: int
    hour: int = 0
    kind: int = 1
    amount: int = 100
    district: int = 500101
    sector: int = 1
    platform: str = "unipay"


def receipt_bytes(number: int) -> bytes:
    return number.to_bytes(8, "little") * 2


def record(
    offset: int, rows: list[Row], *, epoch: int = 1, recorded_on: str | None = None
) -> EntriesRecord:
    receipts = sorted({receipt_bytes(r.receipt) for r in rows})
    platforms = sorted({r.platform for r in rows})
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([id_of(r.platform, str(r.name)) for r in rows], pa.binary(16)),
            pa.array([r.content for r in rows], pa.uint64()),
            pa.DictionaryArray.from_arrays(
                pa.array([receipts.index(receipt_bytes(r.receipt)) for r in rows], pa.int16()),
                pa.array(receipts, pa.binary(16)),
            ),
            pa.array([r.row for r in rows], pa.uint32()),
            pa.array([T0 + r.hour * 3_600_000 for r in rows], pa.int64()),
            pa.array([r.kind for r in rows], pa.int8()),
            pa.array([r.amount for r in rows], pa.int64()),
            pa.array([r.district for r in rows], pa.uint32()),
            pa.array([r.sector for r in rows], pa.int8()),
            pa.DictionaryArray.from_arrays(
                pa.array([platforms.index(r.platform) for r in rows], pa.int16()),
                pa.array(platforms, pa.string()),
            ),
            pa.array([r.name for r in rows], pa.uint64()),
            pa.array([17] * len(rows), pa.uint8()),
            pa.array([1] * len(rows), pa.uint32()),
        ],
        schema=codec.JUDGED,
    )
    sent = pa.array([f"bytes of {r.name}/{r.row}".encode() for r in rows], pa.binary())
    header = codec.Header(epoch, len(rows), recorded_on)
    return EntriesRecord(
        0, offset, T0 + offset, dict(header.to_kafka()),
        codec.encode(batch, sent, {"format": "ndjson"}).to_pybytes(),
    )  # fmt: skip


class Store:
    """What a flush would have written, keyed as the tables key it."""

    def __init__(self) -> None:
        self.ledger: dict[tuple[int, int], dict[str, object]] = {}
        self.cells: dict[tuple, tuple[int, tuple[int, ...]]] = {}
        self.verdicts: dict[tuple[bytes, int], int] = {}
        self.bookings: dict[tuple[bytes, int], tuple[int, int]] = {}
        self.blocks: dict[int, tuple[int, int, int, bool]] = {}
        self.letters: dict[tuple[bytes, int], bytes] = {}

    def write(self, round_: Round) -> None:
        for row in round_.ledger.batch(round_.platforms).to_pylist():
            self.ledger[row["off"], row["row"]] = row
        for cell in tables.cells_batch(round_).to_pylist():
            key = tuple(
                cell[n]
                for n in ("period", "recorded_date", "district", "sector", "platform", "block")
            )
            value = tuple(
                cell[n]
                for n in ("entries", "sales_fen", "refunds_fen", "sale_reversals_fen", "refund_reversals_fen")
            )  # fmt: skip
            if key not in self.cells or self.cells[key][0] <= cell["last_offset"]:
                self.cells[key] = (cell["last_offset"], value)
        for b in tables.bookings_batch(round_).to_pylist():
            key = (b["receipt"], b["block"])
            if key not in self.bookings or self.bookings[key][0] <= b["last_offset"]:
                self.bookings[key] = (b["last_offset"], b["booked"])
        if round_.verdicts:
            for v in tables.verdicts_batch(round_).to_pylist():
                self.verdicts[v["receipt"], v["row"]] = v["verdict"]
        for letters in tables.letter_batches(round_):
            for letter in letters.to_pylist():
                self.letters[letter["receipt"], letter["row"]] = letter["bytes"]
        for b in tables.blocks_batch(round_, T0).to_pylist():
            old = self.blocks.get(b["block"])
            if old is None or old[0] <= b["last_offset"]:
                self.blocks[b["block"]] = (
                    b["last_offset"], b["entries"], b["net_fen"], bool(b["complete"]),
                )  # fmt: skip

    def start(self) -> int:
        block = 0
        while block in self.blocks and self.blocks[block][3]:
            block += 1
        return block * SMALL_BLOCK

    def look_up(self, part: int, below: int, ids: np.ndarray) -> BookedBefore:
        asked = {x.tobytes() for x in ids}
        rows = [r for (off, _), r in self.ledger.items() if off < below and r["id"] in asked]
        return BookedBefore(
            np.frombuffer(b"".join(r["id"] for r in rows), dtype=np.uint64).reshape(-1, 2),
            [str(r["platform"]) for r in rows],
            np.array([r["content"] for r in rows], dtype=np.uint64),
            np.array([r["receipt_low"] for r in rows], dtype=np.uint64),
            np.array([r["receipt_row"] for r in rows], dtype=np.uint32),
        )

    def worker(self) -> Processor:
        processor = Processor(1, self.look_up)
        start, filter_ = self.start(), Filter()
        below = [r["id"] for (off, _), r in self.ledger.items() if off < start]
        if below:
            filter_.add(np.frombuffer(b"".join(below), dtype=np.uint64).reshape(-1, 2)[:, 1])
        written = max((b[0] for b in self.blocks.values()), default=-1)
        processor.assign(0, start, filter_, written)
        return processor


def expected(log: list[EntriesRecord], rows: list[list[Row]]):
    """The books by the definition, row by row."""
    first: dict[tuple[str, int], Row] = {}
    cells: dict[tuple, list[int]] = defaultdict(lambda: [0] * 5)
    verdicts, booked = {}, defaultdict(int)
    for record_, of_record in zip(log, rows, strict=True):
        day = (record_.timestamp + 8 * 3_600_000) // 86_400_000
        for r in of_record:
            known = first.get((r.platform, r.name))
            if known is None:
                first[r.platform, r.name] = r
                cell = cells[(T0 // 1000 + r.hour * 3600, day, r.district, r.sector, r.platform)]
                cell[0] += 1
                cell[r.kind] += r.amount
                booked[receipt_bytes(r.receipt)] += 1
            elif (known.receipt, known.row) == (r.receipt, r.row):
                pass
            else:
                same = known.content == r.content
                verdicts[receipt_bytes(r.receipt), r.row] = DUPLICATE if same else CONFLICT
    return cells, verdicts, booked


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_OFFSETS", SMALL_BLOCK)
    monkeypatch.setattr(tables, "BLOCK_OFFSETS", SMALL_BLOCK)


rows_ = st.builds(
    Row,
    name=st.integers(0, 12),
    content=st.integers(0, 1),
    receipt=st.integers(0, 3),
    row=st.integers(0, 3),
    hour=st.integers(0, 2),
    kind=st.integers(1, 4),
    amount=st.sampled_from([1, 7, 10**13]),
    district=st.sampled_from(DISTRICTS),
    sector=st.sampled_from([0, 1, 99, 100, 101]),
    platform=st.sampled_from(["unipay", "daojia"]),
)

# A receipt's row is one row, however often it is delivered.
pools = st.lists(rows_, min_size=1, max_size=10, unique_by=lambda r: (r.receipt, r.row))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), pool=pools)
def test_the_books_do_not_depend_on_rounds_restarts_or_a_lost_flush(data, pool) -> None:
    draws = st.lists(st.sampled_from(pool), min_size=1, max_size=6)
    rows = data.draw(st.lists(draws, min_size=1, max_size=14))
    log = [record(offset, of_record) for offset, of_record in enumerate(rows)]
    store, buffer = Store(), LedgerBuffer(64)
    worker = store.worker()
    steps = 0
    while worker.states[0].next_offset < len(log):
        steps += 1
        position = worker.states[0].next_offset
        size = data.draw(st.integers(1, 5))
        round_ = worker.process({0: log[position : position + size]}, buffer)
        what = data.draw(st.sampled_from(["written", "written", "crash before", "crash after"]))
        if steps > 60:
            what = "written"
        if what != "crash before":
            store.write(round_)
        if what != "written":
            worker = store.worker()

    cells, verdicts, booked = expected(log, rows)
    found: dict[tuple, list[int]] = defaultdict(lambda: [0] * 5)
    for key, (_, values) in store.cells.items():
        for i, value in enumerate(values):
            found[key[:5]][i] += value
    assert found == cells
    assert store.verdicts == {k: v - 1 for k, v in verdicts.items()}
    bookings: dict[bytes, int] = defaultdict(int)
    for (receipt, _), (_, count) in store.bookings.items():
        bookings[receipt] += count
    assert bookings == booked
    assert sum(b[1] for b in store.blocks.values()) == len(store.ledger)
    assert sum(b[2] for b in store.blocks.values()) == sum(
        SIGN[r["kind"]] * r["amount_fen"] for r in store.ledger.values()
    )
    assert set(store.letters) == {k for k, v in verdicts.items() if v == CONFLICT}


def _process(processor: Processor, *records: EntriesRecord) -> Round:
    return processor.process({0: list(records)}, LedgerBuffer(64))


def test_an_id_twice_in_a_request_that_is_sent_again_is_booked_once_and_a_duplicate_once() -> None:
    store = Store()
    worker = store.worker()
    request = [Row(1, 5, receipt=9, row=0), Row(1, 5, receipt=9, row=1)]
    for offset in (0, 1):
        store.write(_process(worker, record(offset, request)))
    assert len(store.ledger) == 1
    assert store.verdicts == {(receipt_bytes(9), 1): 1}
    assert store.bookings == {(receipt_bytes(9), 0): (0, 1)}


def test_a_conflicts_dead_letter_holds_the_bytes_that_came() -> None:
    store = Store()
    worker = store.worker()
    store.write(
        _process(
            worker, record(0, [Row(1, 5, 1, 0)]), record(1, [Row(2, 5, 2, 0), Row(1, 6, 2, 1)])
        )
    )
    assert store.letters == {(receipt_bytes(2), 1): b"bytes of 1/1"}


def test_a_foreign_record_rests_in_the_dead_letters_and_the_log_goes_on() -> None:
    worker = Store().worker()
    foreign = EntriesRecord(0, 0, T0, {}, b"hello")
    round_ = _process(worker, foreign, record(1, [Row(1, 1, 1, 0)]))
    assert [(f.offset, f.value) for f in round_.foreign] == [(0, b"hello")]
    assert round_.ledger.rows == 1
    assert worker.states[0].next_offset == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.headers.update(v=b"3"),
        lambda r: r.headers.update(epoch=b"2"),
        lambda r: r.headers.update(slots=b"other"),
        lambda r: r.headers.update(slots=b"murmur3-720"),
        lambda r: r.headers.update(v=b"1"),
        lambda r: r.headers.update(entries=b"7"),
        lambda r: setattr(r, "value", r.value[:40]),
        lambda r: setattr(r, "value", None),
    ],
)
def test_a_record_of_ours_that_cannot_be_read_stops_the_partition_and_keeps_what_came_before(
    spoil,
) -> None:
    worker = Store().worker()
    bad = record(1, [Row(2, 1, 1, 1)])
    spoil(bad)
    round_ = _process(worker, record(0, [Row(1, 1, 1, 0)]), bad, record(2, [Row(3, 1, 1, 2)]))
    assert worker.states[0].stopped.startswith("offset 1:")
    assert worker.states[0].next_offset == 1
    assert round_.ledger.rows == 1


def test_an_imports_recorded_on_is_the_recorded_date_of_its_cells_and_rows() -> None:
    store = Store()
    store.write(_process(store.worker(), record(0, [Row(1, 1, 1, 0)], recorded_on="2025-03-09")))
    day = int(np.datetime64("2025-03-09", "D").astype(int))
    assert [key[1] for key in store.cells] == [day]
    assert [row["recorded_date"] for row in store.ledger.values()] == [day]


def test_an_old_duplicate_is_found_after_memory_has_turned_over() -> None:
    store = Store()
    worker = store.worker()
    worker.states[0].seen._size = 8
    worker.states[0].seen.young = type(worker.states[0].seen.young)(8)
    for offset in range(12):
        rows = [Row(offset * 4 + i, 1, offset, i) for i in range(4)]
        store.write(_process(worker, record(offset, rows)))
    assert worker.states[0].seen.keeps < 48
    store.write(_process(worker, record(12, [Row(0, 1, 99, 0), Row(1, 2, 99, 1)])))
    assert store.verdicts == {(receipt_bytes(99), 0): 1, (receipt_bytes(99), 1): 2}
    assert len(store.ledger) == 48


def test_the_canary_is_in_ledger_and_cells_and_counts_nowhere() -> None:
    rows = [
        [Row(1, 1, 1, 0), Row(2, 1, 1, 1, platform=canary.PLATFORM, sector=101, district=0)],
        [Row(2, 1, 2, 0, platform=canary.PLATFORM, sector=101, district=0), Row(3, 1, 2, 1)],
        [Row(2, 9, 3, 0, platform=canary.PLATFORM, sector=101, district=0), Row(3, 1, 3, 1)],
    ]
    store = Store()
    processor = store.worker()
    round_ = processor.process({0: [record(n, of) for n, of in enumerate(rows)]}, LedgerBuffer(64))
    store.write(round_)
    assert {row["platform"] for row in store.ledger.values()} == {"unipay", canary.PLATFORM}
    assert sum(entries for _, (entries, *_) in store.cells.values()) == 3
    assert store.blocks[0][1:3] == (2, 200)
    commit = tables.commit_of(round_.parts[0], "m", T0)
    assert (commit.entries, commit.net_fen) == (2, 200)
    assert (commit.duplicates, commit.conflicts) == (1, 0)  # the canary's one of each is not told
    assert [(c.district, c.entries, c.net_fen) for c in commit.changes] == [("500101", 2, 200)]


def test_a_records_columns_are_named_as_the_codec_names_them():
    assert list(RecordColumns._fields) == codec.JUDGED.names
    assert set(LedgerColumns._fields) - {"receipt_low", "receipt_row", "row"} < set(
        codec.JUDGED.names
    )

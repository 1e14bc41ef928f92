"""At the edges of what a record can hold: it is booked to the fen, or it stops its partition by name."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.entries import codec
from services.metrics import tables
from services.metrics.cells import CARRY_AT, DISTRICT_CODES, joined, wide
from services.metrics.decoding import EntriesRecord
from services.metrics.ledger import LedgerBuffer, int128, int128_of
from services.metrics.processor import BookedBefore, Processor
from services.metrics.seen import Filter
from yumai import bookable
from yumai.entry import AMOUNT_MAX_FEN, BATCH_MAX_ENTRIES
from yumai.sectors import SECTOR_CODES

T0 = 1_782_000_000_000
RECEIPT = bytes(range(16))


def columns(rows: int, first_id: int = 0, **said: object) -> dict[str, object]:
    return {
        "ids": np.arange(first_id, first_id + rows, dtype=np.uint64).repeat(2).reshape(-1, 2),
        "row": np.arange(rows),
        "occurred_at": np.full(rows, T0),
        "kind": np.ones(rows),
        "amount_fen": np.full(rows, 100),
        "district": np.full(rows, 500103),
        "sector": np.full(rows, 1),
        "platform": np.zeros(rows),
        "platforms": ["unipay"],
    } | said


def batch_of(c: dict[str, object]) -> pa.RecordBatch:
    rows = len(c["row"])  # type: ignore[arg-type]

    def array(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array(np.asarray(c[name]), kind)

    return pa.RecordBatch.from_arrays(
        [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), rows, [None, pa.py_buffer(np.ascontiguousarray(c["ids"]))]
            ),
            pa.array(np.arange(rows), pa.uint64()),
            pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(rows), pa.int16()), pa.array([RECEIPT], pa.binary(16))
            ),
            array("row", pa.uint32()),
            array("occurred_at", pa.int64()),
            array("kind", pa.int8()),
            array("amount_fen", pa.int64()),
            array("district", pa.uint32()),
            array("sector", pa.int8()),
            pa.DictionaryArray.from_arrays(
                pa.array(np.asarray(c["platform"]), pa.int16()), pa.array(c["platforms"], pa.string())
            ),
            pa.array(np.zeros(rows), pa.uint64()),
            pa.array(np.full(rows, 17), pa.uint8()),
            pa.array(np.zeros(rows), pa.uint32()),
        ],
        schema=codec.JUDGED,
    )  # fmt: skip


def record(
    offset: int, c: dict[str, object], recorded_on: str | None = None, **headers
) -> EntriesRecord:
    batch = batch_of(c)
    header = dict(codec.Header(1, batch.num_rows, recorded_on).to_kafka()) | headers
    sent = pa.array([b""] * batch.num_rows, pa.binary())
    value = codec.encode(batch, sent, {"format": "ndjson"}).to_pybytes()
    return EntriesRecord(0, offset, T0 + offset, header, value)


def worker() -> Processor:
    none = np.empty(0, dtype=np.uint64)
    made = Processor(
        1, lambda *_: BookedBefore(none.reshape(0, 2), [], none, none, none.astype(np.uint32))
    )
    made.assign(0, 0, Filter(expected=1_000))
    return made


def number(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "little", signed=True)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_cell_of_a_block_full_of_the_largest_amounts_is_exact(kind: int) -> None:
    made, ledger = worker(), LedgerBuffer(64)
    records = 230
    per_record = columns(
        BATCH_MAX_ENTRIES,
        amount_fen=np.full(BATCH_MAX_ENTRIES, AMOUNT_MAX_FEN),
        kind=np.full(BATCH_MAX_ENTRIES, kind),
    )
    for offset in range(records):
        ids = columns(BATCH_MAX_ENTRIES, offset * BATCH_MAX_ENTRIES)["ids"]
        round_ = made.process({0: [record(offset, per_record | {"ids": ids})]}, ledger)
    (cell,) = tables.cells_batch(round_).to_pylist()
    total = records * BATCH_MAX_ENTRIES * AMOUNT_MAX_FEN
    assert total > 2**63
    names = ["sales_fen", "refunds_fen", "sale_reversals_fen", "refund_reversals_fen"]
    assert [number(cell[name]) for name in names] == [
        total if place == kind else 0 for place in (1, 2, 3, 4)
    ]
    (block,) = tables.blocks_batch(round_, T0).to_pylist()
    assert number(block["net_fen"]) == (total if kind in (1, 4) else -total)


def test_more_platforms_than_a_city_has_are_booked() -> None:
    made, ledger = worker(), LedgerBuffer(64)
    found = {}
    for offset in range(3):
        names = [f"p{offset * 4096 + n}" for n in range(BATCH_MAX_ENTRIES)]
        c = columns(
            BATCH_MAX_ENTRIES, offset * 4096,
            platforms=names, platform=np.arange(BATCH_MAX_ENTRIES), amount_fen=np.arange(1, 4097),
        )  # fmt: skip
        round_ = made.process({0: [record(offset, c)]}, ledger)
        found |= {c["platform"]: c["sales_fen"] for c in tables.cells_batch(round_).to_pylist()}
    assert not made.states[0].stopped
    assert found == {f"p{n}": n % 4096 + 1 for n in range(3 * 4096)}


@given(st.lists(st.tuples(st.integers(0, CARRY_AT - 1), st.integers(0, 40)), min_size=1))
def test_a_wide_sum_is_the_number_it_stands_for(sums: list[tuple[int, int]]) -> None:
    low = np.array([one for one, _ in sums], dtype=np.int64)
    carry = np.array([times for _, times in sums], dtype=np.uint16)
    expected = [one + times * CARRY_AT for one, times in sums]
    assert [number(v) for v in int128(wide(low, carry)).to_pylist()] == expected
    plain = wide(low, np.zeros_like(carry))
    assert [number(v) for v in int128(joined([plain, wide(low, carry)])).to_pylist()] == [
        *low.tolist(), *expected,
    ]  # fmt: skip
    assert [number(v) for v in int128_of([-v for v in expected]).to_pylist()] == [
        -v for v in expected
    ]


EDGES = {
    "the first hour": {"occurred_at": 0},
    "the last hour": {"occurred_at": bookable.OCCURRED_BELOW_MS - 1},
    "the smallest amount": {"amount_fen": 1},
    "the largest amount": {"amount_fen": AMOUNT_MAX_FEN},
    "no district": {"district": 0},
    **{f"sector {code}": {"sector": value} for value, code in SECTOR_CODES.items()},
}
BEYOND = {
    "before 1970": {"occurred_at": -1},
    "after the last hour": {"occurred_at": bookable.OCCURRED_BELOW_MS},
    "nothing": {"amount_fen": 0},
    "a sign": {"amount_fen": -1},
    "more than the largest amount": {"amount_fen": AMOUNT_MAX_FEN + 1},
    "a district of nowhere": {"district": 500999},
    "a district that ends like one of ours": {"district": 990103},
    "a sector between": {"sector": 13},
    "a negative sector": {"sector": -1},
    "a kind of nothing": {"kind": 0},
    "a fifth kind": {"kind": 5},
}


@pytest.mark.parametrize("said", EDGES.values(), ids=EDGES)
def test_what_stands_at_an_edge_is_booked(said: dict[str, int]) -> None:
    made = worker()
    c = columns(3) | {name: np.full(3, value) for name, value in said.items()}
    round_ = made.process({0: [record(0, c)]}, LedgerBuffer(64))
    assert not made.states[0].stopped
    (cell,) = tables.cells_batch(round_).to_pylist()
    assert cell["entries"] == 3
    assert cell["sales_fen"] == 3 * said.get("amount_fen", 100)
    assert cell["period"] == said.get("occurred_at", T0) // 3_600_000 * 3_600
    assert (cell["sector"], cell["district"]) == (
        said.get("sector", 1),
        said.get("district", 500103),
    )


@pytest.mark.parametrize("said", BEYOND.values(), ids=BEYOND)
def test_what_lies_beyond_stops_the_partition_and_keeps_what_came_before(said) -> None:
    made = worker()
    beyond = columns(3, 10) | {
        name: np.array([columns(1)[name][0], value, value]) for name, value in said.items()
    }
    log = [record(0, columns(2)), record(1, beyond), record(2, columns(2, 20))]
    round_ = made.process({0: log}, LedgerBuffer(64))
    assert made.states[0].stopped.startswith("offset 1: ")
    assert round_.parts[0].entries == 2


@pytest.mark.parametrize("day", ["1970-01-01", "2024-02-29", "2149-06-06"])
def test_a_recorded_date_at_an_edge_is_kept(day: str) -> None:
    made = worker()
    round_ = made.process({0: [record(0, columns(1), recorded_on=day)]}, LedgerBuffer(64))
    (cell,) = tables.cells_batch(round_).to_pylist()
    assert cell["recorded_date"] == (date.fromisoformat(day) - date(1970, 1, 1)).days


BAD_DATES = ["1969-12-31", "2149-06-07", "2026-W45-1", "20261105", "2026-2-3", "2026-02-30", "9999-12-31", "٢٠٢٦-٠١-٠١"]  # fmt: skip


@pytest.mark.parametrize("day", BAD_DATES)
def test_a_recorded_date_that_can_t_be_kept_is_neither_written_nor_read(day: str) -> None:
    with pytest.raises(ValueError, match=r"recorded-on|day"):
        codec.Header(1, 1, day).to_kafka()
    headers = dict(codec.Header(1, 1).to_kafka()) | {"recorded-on": day.encode()}
    with pytest.raises(codec.UnreadableRecord):
        codec.Header.from_kafka(headers)


header_bytes = st.none() | st.binary(max_size=40) | st.sampled_from([b"1", b"murmur3-720", b"-1", b"99999999999"])  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["v", "epoch", "slots", "entries", "recorded-on", "x"]), header_bytes
        )
    )
)
@settings(max_examples=300)
def test_whatever_headers_a_record_has_it_is_ours_foreign_or_unreadable(headers) -> None:
    try:
        found = codec.Header.from_kafka(headers)
    except (codec.ForeignRecord, codec.UnreadableRecord):
        return
    assert dict(codec.Header.from_kafka(found.to_kafka()).__dict__) == found.__dict__


@pytest.mark.parametrize(
    "headers",
    [[("v", None), ("epoch", None), ("slots", None)], [("v", b"1"), ("epoch", b"1"), ("slots", None)], []],
)  # fmt: skip
def test_a_record_whose_headers_say_nothing_is_foreign(headers) -> None:
    made = worker()
    stray = EntriesRecord(0, 0, T0, dict(headers), None)
    round_ = made.process({0: [stray, record(1, columns(2))]}, LedgerBuffer(64))
    assert [one.offset for one in round_.foreign] == [0]
    assert round_.parts[0].entries == 2


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_damaged_body_is_unreadable_or_as_it_was(start: bytes, at: int, put: bytes) -> None:
    made = worker()
    good = record(0, columns(4))
    body = good.value or b""
    at = len(body) * at // 400
    good.value = start or body[:at] + put + body[at + len(put) :]
    round_ = made.process({0: [good]}, LedgerBuffer(64))
    if not made.states[0].stopped:
        for cell in tables.cells_batch(round_).to_pylist():
            assert cell["district"] in DISTRICT_CODES

"""The recount itself, by cases counted by hand: it judges everything else."""

import gzip
import io
import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recount import Recount, _csv_records

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
REGISTRY = [
    {"platform_id": "p1", "merchant_id": "m1", "district_code": "500103", "mcc": "5812", "valid_from": "2023-01-01"},
    {"platform_id": "p1", "merchant_id": "old", "district_code": "500105", "mcc": "0742", "valid_from": "2023-01-01"},
    {"platform_id": "p1", "merchant_id": "new", "district_code": "500157", "mcc": "5812", "valid_from": "2023-01-01"},
    {"platform_id": "p1", "merchant_id": "industry", "district_code": "500101", "mcc": "5812", "industry": "H6110",
     "valid_from": "2023-01-01", "valid_to": "2025-12-31"},
    {"platform_id": "p1", "merchant_id": "gym", "district_code": "500101", "industry": "R8911", "mcc": "5812",
     "valid_from": "2023-01-01"},
    {"platform_id": "p1", "merchant_id": "mute", "district_code": "500101", "valid_from": "2023-01-01"},
]  # fmt: skip


def entry(number: int | str, **fields: object) -> dict[str, object]:
    row: dict[str, object] = {
        "entry_id": str(number), "platform_id": "p1", "merchant_id": "m1", "kind": "sale", "amount_fen": 100,
        "occurred_at": "2026-01-31T13:30:00+08:00",
    }  # fmt: skip
    row.update(fields)
    return {name: value for name, value in row.items() if value is not ...}


def lines(*rows: dict[str, object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def recount() -> Recount:
    return Recount(REGISTRY, NOW)


def test_four_kinds_make_one_cell(recount: Recount) -> None:
    answer = recount.request(
        "p1", "ndjson",
        lines(
            entry(1, amount_fen=1000),
            entry(2, kind="refund", amount_fen=300, refers_to="1"),
            entry(3, kind="sale_reversal", amount_fen=50),
            entry(4, kind="refund_reversal", amount_fen=7),
        ),
    )  # fmt: skip
    assert (answer.status, answer.received, answer.accepted, answer.booked) == (200, 4, 4, 4)
    cells = recount.cells("day")
    assert list(cells) == [("2026-01-31", "500103", "S01", "p1")]
    cell = cells["2026-01-31", "500103", "S01", "p1"]
    assert (cell.net_fen, cell.sales_fen, cell.refunds_fen, cell.entries) == (657, 1000, 300, 4)
    assert list(recount.cells("hour")) == [("2026-01-31T13:00+08:00", "500103", "S01", "p1")]
    assert list(recount.cells("year")) == [("2026", "500103", "S01", "p1")]
    totals = recount.control_totals("p1", "2026-01-31")
    assert (totals.entries, totals.sales_fen, totals.refunds_fen, totals.reversals_fen, totals.net_fen) == (
        4, 1000, 300, 57, 657,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"merchant_id": "old", "occurred_at": "2025-12-31T23:59:59.999+08:00"}, ("500105", "S99")),
        ({"merchant_id": "old", "occurred_at": "2025-12-31T16:00:00Z"}, ("500157", "S99")),
        ({"merchant_id": "new", "occurred_at": 1_767_196_799_999}, ("000000", "S01")),
        ({"merchant_id": "new", "occurred_at": 1_767_196_800_000}, ("500157", "S01")),
        ({"merchant_id": "none", "district_code": "500112"}, ("500157", "U00")),
        ({"merchant_id": "none", "district_code": "500112", "occurred_at": "2025-06-01T00:00:00Z"}, ("500112", "U00")),
        ({"merchant_id": "none", "district_code": "500157", "occurred_at": "2025-06-01T00:00:00Z"}, ("000000", "U00")),
        ({"merchant_id": "none", "mcc": "8211"}, ("000000", "S09")),
        ({"merchant_id": "none", "mcc": "1111"}, ("000000", "U00")),
        ({"merchant_id": "none"}, ("000000", "U00")),
        # the registry goes before what the entry says, field by field
        ({"district_code": "500101", "mcc": "8211"}, ("500103", "S01")),
        ({"merchant_id": "mute", "district_code": "500240", "mcc": "8211"}, ("500101", "S09")),
        # the industry class goes before the MCC; spans end
        ({"merchant_id": "gym"}, ("500101", "S05")),
        ({"merchant_id": "industry", "occurred_at": "2025-12-31T12:00:00Z", "mcc": "8211"}, ("500101", "S01")),
        ({"merchant_id": "industry", "district_code": "500240", "mcc": "8211"}, ("500240", "S09")),
    ],
)  # fmt: skip
def test_place_and_sector(
    recount: Recount, fields: dict[str, object], place: tuple[str, str]
) -> None:
    assert recount.request("p1", "ndjson", lines(entry(1, **fields))).booked == 1
    assert [key[1:3] for key in recount.cells()] == [place]


def test_a_later_registry_row_replaces_what_it_overlaps_and_only_later_entries(
    recount: Recount,
) -> None:
    recount.request("p1", "ndjson", lines(entry(1)))
    recount.put_merchants(
        [{"platform_id": "p1", "merchant_id": "m1", "district_code": "500240", "mcc": "8211",
          "valid_from": "2026-01-31", "valid_to": "2026-01-31"}]
    )  # fmt: skip
    recount.request(
        "p1", "ndjson",
        lines(entry(2), entry(3, occurred_at="2026-01-30T00:00:00Z"), entry(4, occurred_at="2026-02-01T00:00:00Z")),
    )  # fmt: skip
    assert {key[:3] for key in recount.cells()} == {
        ("2026-01-31", "500103", "S01"), ("2026-01-31", "500240", "S09"),
        ("2026-01-30", "500103", "S01"), ("2026-02-01", "500103", "S01"),
    }  # fmt: skip


def test_the_first_is_booked_an_equal_one_is_a_duplicate_another_a_conflict(
    recount: Recount,
) -> None:
    answer = recount.request(
        "p1", "ndjson",
        lines(
            entry(1, scene_tags=["b", "a"]),
            # the same, said otherwise
            entry(1, scene_tags=["a", "b"], occurred_at="2026-01-31T05:30:00.0009Z", mcc=None),
            entry(1, scene_tags=["a", "b"], amount_fen=101),
            entry(2),
        ),
    )  # fmt: skip
    assert (answer.booked, answer.duplicates, answer.conflicts) == (2, 1, 1)
    assert (answer.duplicate_rows, answer.conflict_rows) == ([1], [2])
    later = recount.request(
        "p1", "json",
        json.dumps([entry(2), entry(2, merchant_id="mute"), entry(2, occurred_at="2025-10-01T00:00:00Z"),
                    entry(2, mcc="5812")]).encode(),
    )  # fmt: skip
    assert (later.accepted, later.booked, later.duplicates, later.conflicts) == (4, 0, 1, 3)
    assert sum(cell.net_fen for cell in recount.cells().values()) == 200


def test_the_same_id_of_another_platform_is_another_entry(recount: Recount) -> None:
    answer = recount.request(None, "ndjson", lines(entry(1), entry(1, platform_id="p2")))
    assert answer.booked == 2
    assert {key[3] for key in recount.cells()} == {"p1", "p2"}


def test_a_repeated_request_is_a_redelivery_and_not_a_duplicate(recount: Recount) -> None:
    body = lines(entry(1), entry(1), entry(1, amount_fen=9), entry(2, amount_fen=0))
    first = recount.request("p1", "ndjson", body, key="k")
    again = recount.request("p1", "ndjson", gzip.compress(body), key="k", encoding="gzip")
    assert again.repeated
    assert (again.booked, again.duplicates, again.conflicts, again.rejected) == (1, 1, 1, 1)
    assert (first.accepted, len(recount.dead)) == (3, 1)
    assert sum(cell.entries for cell in recount.cells().values()) == 1
    # without a key, or with another: a receipt of its own, and so a duplicate
    assert recount.request("p1", "ndjson", body).duplicates == 2
    assert recount.request("p1", "ndjson", body, key="other").duplicates == 2
    assert recount.request("p1", "ndjson", lines(entry(3)), key="k").key_reused


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"amount_fen": 0}, ("amount_fen", "out_of_range")),
        ({"amount_fen": 10**13 + 1}, ("amount_fen", "out_of_range")),
        ({"amount_fen": 1.0}, ("amount_fen", "wrong_type")),
        ({"amount_fen": True}, ("amount_fen", "wrong_type")),
        ({"amount_fen": "5"}, ("amount_fen", "wrong_type")),
        ({"amount_fen": None}, ("amount_fen", "missing_field")),
        ({"kind": ...}, ("kind", "missing_field")),
        ({"kind": "gift"}, ("kind", "invalid_value")),
        ({"entry_id": ""}, ("entry_id", "invalid_value")),
        ({"entry_id": "x" * 65}, ("entry_id", "too_long")),
        ({"platform_id": "p2"}, ("platform_id", "platform_mismatch")),
        ({"payer": "someone"}, ("payer", "unknown_field")),
        ({"mcc": 742}, ("mcc", "wrong_type")),
        ({"mcc": "742"}, ("mcc", "invalid_value")),
        ({"district_code": "599999"}, ("district_code", "unknown_district")),
        ({"district_code": "000000"}, ("district_code", "unknown_district")),
        ({"channel": "phone"}, ("channel", "invalid_value")),
        ({"scene_tags": ["a"] * 17}, ("scene_tags", "invalid_value")),
        ({"subsidy_fen": -1}, ("subsidy_fen", "out_of_range")),
        ({"occurred_at": "2026-01-31T13:30:00"}, ("occurred_at", "invalid_time")),
        ({"occurred_at": "2026-02-29T13:30:00Z"}, ("occurred_at", "invalid_time")),
        ({"occurred_at": "1767196800000"}, ("occurred_at", "invalid_time")),
        ({"occurred_at": "2026-03-01T04:05:00.001Z"}, ("occurred_at", "in_future")),
        ({"occurred_at": "2021-03-01T03:59:59.999Z"}, ("occurred_at", "too_old")),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_alone(
    recount: Recount, fields: dict[str, object], fault: tuple[str, str]
) -> None:
    answer = recount.request("p1", "ndjson", lines(entry(1), entry(2, **fields), entry(3)))
    assert (answer.received, answer.accepted, answer.rejected, answer.booked) == (3, 2, 1, 2)
    assert answer.bad[0].index == 1
    assert answer.bad[0].faults == (fault,)


@pytest.mark.parametrize(
    "fields",
    [
        {"occurred_at": "2026-03-01T04:05:00Z"}, {"occurred_at": "2021-03-01T04:00:00Z"},
        {"amount_fen": 10**13}, {"scene_tags": ["a"] * 16}, {"subsidy_fen": 0}, {"entry_id": "餐" * 64},
        {"occurred_at": "2026-01-31t13:30:00.123456789-03:30"}, {"mcc": None, "refers_to": None},
    ],
)  # fmt: skip
def test_what_is_just_allowed(recount: Recount, fields: dict[str, object]) -> None:
    assert recount.request("p1", "ndjson", lines(entry(1, **fields))).booked == 1


def test_rows_that_cannot_be_parsed_spoil_no_neighbour_and_keep_their_bytes(
    recount: Recount,
) -> None:
    bad = [b'{"entry_id":', b"[1]", b'{"entry_id":"\xff"}', b"NaN"]
    body = (
        b"\xef\xbb\xbf" + lines(entry(1)) + b"\r\n\n" + b"\r\n".join(bad) + b"\n" + lines(entry(2))
    )
    answer = recount.request("p1", "ndjson", body)
    assert (answer.received, answer.booked) == (6, 2)
    assert [(row.index, row.raw) for row in answer.bad] == list(zip(range(1, 5), bad, strict=True))
    array = (
        b"[" + lines(entry(3)).strip() + b' , 7,null,["\xff"], ' + lines(entry(4)).strip() + b"]"
    )
    answer = recount.request("p1", "json", array)
    assert (answer.received, answer.booked) == (5, 2)
    assert [row.raw for row in answer.bad] == [b"7", b"null", b'["\xff"]']


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("json", b'[{"a":1},'), ("json", b"7"), ("json", b'"text"'), ("json", b'{"a":'), ("json", b"[1]]"),
        ("json", b"[1,]"),
        ("json", b'[{"a":1},{"b":}]'), ("arrow", b"nonsense"), ("parquet", b"PAR1nonsense"),
        ("csv", b"entry_id,payer\n1,2\n"), ("csv", b"entry_id,platform_id\n1,p1\n"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_decoded_books_nothing(
    recount: Recount, form: str, body: bytes
) -> None:
    assert recount.request("p1", form, body).status == 400


@pytest.mark.parametrize(
    ("form", "body"),
    [("json", b""), ("json", b"[]"), ("ndjson", b""), ("csv", b""), ("arrow", b""), ("parquet", b""),
     ("csv", b"entry_id,platform_id,merchant_id,occurred_at,kind,amount_fen\r\n")],
)  # fmt: skip
def test_an_empty_body_is_no_rows(recount: Recount, form: str, body: bytes) -> None:
    answer = recount.request("p1", form, body)
    assert (answer.status, answer.received) == (200, 0)


def test_a_broken_compressed_body_is_undecodable(recount: Recount) -> None:
    broken = gzip.compress(lines(entry(1)))[:-9]
    assert recount.request("p1", "ndjson", broken, encoding="gzip").status == 400
    assert recount.request("p1", "ndjson", b"x", encoding="zstd").status == 400
    assert recount.request("p1", "ndjson", b" " * (64 * 1024 * 1024 + 1)).status == 413


def test_csv(recount: Recount) -> None:
    body = (
        b"\xef\xbb\xbfentry_id,platform_id,merchant_id,occurred_at,kind,amount_fen,scene_tags,mcc\r\n"
        b'1,p1,m1,1769837400000,sale,100,a|b,\r\n'
        b'\r\n'
        b'"2,\r\n""x""",p1,m1,2026-01-31T13:30:00+08:00,sale,100,,\r\n'
        b'3,p1,m1,2026-01-31T13:30:00+08:00,sale,1.5,,\n'
        b'4,p1,m1,2026-01-31T13:30:00+08:00,sale,100\n'
        b'5,p1,m\xff,2026-01-31T13:30:00+08:00,sale,100,,\n'
        b'6,p1,"m1,2026-01-31T13:30:00+08:00,sale,100,,\n'
        b'7,p1,m1,2026-01-31T13:30:00+08:00,sale,100,,0742'
    )  # fmt: skip
    answer = recount.request("p1", "csv", body)
    assert (answer.received, answer.booked) == (7, 3)
    assert [(row.index, row.faults[0][1]) for row in answer.bad] == [
        (2, "wrong_type"), (3, "field_count"), (4, "not_utf8"), (5, "not_csv"),
    ]  # fmt: skip
    assert answer.bad[1].raw == b"4,p1,m1,2026-01-31T13:30:00+08:00,sale,100"
    same = [entry(1, scene_tags=["b", "a"]), entry('2,\r\n"x"'), entry(7, mcc="0742")]
    assert recount.request("p1", "ndjson", lines(*same)).duplicates == 3


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns", "int", "text"])
def test_columns_mean_what_lines_mean(recount: Recount, form: str, unit: str) -> None:
    ms = 1_769_837_400_123
    types = {"int": pa.int64(), "text": pa.string()}
    when = {"int": ms, "text": "2026-01-31T13:30:00.123+08:00"}.get(
        unit, datetime.fromtimestamp(ms / 1000, UTC)
    )
    table = pa.table(
        {
            "entry_id": ["1", "2", None, "4"], "platform_id": ["p1"] * 4, "merchant_id": ["m1"] * 4,
            "occurred_at": pa.array([when] * 4, types.get(unit) or pa.timestamp(unit, "UTC")),
            "kind": pa.array(["sale"] * 4).dictionary_encode(), "amount_fen": pa.array([100, 0, 100, 100], pa.int32()),
            "scene_tags": [None, None, None, ["b", "a"]],
        }
    )  # fmt: skip
    answer = recount.request("p1", form, columnar(table, form))
    assert [(row.index, row.faults) for row in answer.bad] == [
        (1, (("amount_fen", "out_of_range"),)), (2, (("entry_id", "missing_field"),)),
    ]  # fmt: skip
    same = lines(entry(1, occurred_at=ms), entry(4, occurred_at=ms, scene_tags=["a", "b"]))
    assert recount.request("p1", "ndjson", same).duplicates == 2
    naive = table.set_column(3, "occurred_at", pa.array([0] * 4, pa.timestamp("ms")))
    assert recount.request("p1", form, columnar(naive, form)).status == 400
    assert (
        recount.request(
            "p1", form, columnar(table.append_column("payer", table["kind"]), form)
        ).status
        == 400
    )


def columnar(table: pa.Table, form: str) -> bytes:
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def test_the_kafka_door(recount: Recount) -> None:
    record = lines(entry(1)).strip()
    assert [recount.feed("p1", r) for r in (record, record, b"[]", lines(entry(1, amount_fen=2)))] == [
        "booked", "duplicate", "rejected", "conflict",
    ]  # fmt: skip
    assert recount.feed("p2", lines(entry(9))) == "rejected"


def test_recorded_until_sees_only_what_was_imported_by_then(recount: Recount) -> None:
    recount.request(None, "ndjson", lines(entry(1)), recorded_on="2026-01-31")
    recount.request(None, "ndjson", lines(entry(2)), recorded_on="2026-02-02")
    recount.request(None, "ndjson", lines(entry(3)))
    assert [sum(c.entries for c in recount.cells(recorded_until=day).values())
            for day in ("2026-01-30", "2026-01-31", "2026-02-02", None)] == [0, 1, 2, 3]  # fmt: skip


@given(
    st.lists(st.lists(st.text('ab,"\r\n é', max_size=5), min_size=2, max_size=4), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_quoted_csv_comes_back_as_it_was_written(rows: list[list[str]], end: str) -> None:
    text = end.join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    cells = [[cell.decode() for cell in found or []] for found, _ in _csv_records(text.encode())]
    assert cells == rows


@given(st.datetimes(datetime(2022, 1, 1), datetime(2026, 2, 1)), st.integers(-720, 720))
def test_an_instant_is_the_same_in_every_offset(at: datetime, offset: int) -> None:
    recount = Recount([], NOW)
    at = at.replace(tzinfo=UTC)
    ms = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    local = (at + timedelta(minutes=offset)).replace(tzinfo=None).isoformat(timespec="microseconds")
    text = f"{local}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    answer = recount.request(
        "p1", "ndjson", lines(entry(1, occurred_at=ms), entry(1, occurred_at=text))
    )
    assert answer.duplicates == 1
    assert recount.days() == [
        (date(1970, 1, 1) + timedelta(milliseconds=ms + 28_800_000)).isoformat()
    ]

"""Records: one partition each, never too many rows or bytes, many requests side by side."""

import json
from collections import Counter

from contracts.entries import codec
from contracts.entries.ids import id_of
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge
from yumai.entry import BATCH_MAX_ENTRIES


def request(receipt: int, rows: list[dict], sender: str | None = None) -> Request:
    body = "\n".join(json.dumps(row) for row in rows).encode()
    columns = formats.read("ndjson", body).columns
    assert columns is not None
    return Request(bytes([receipt]) * 16, sender, "ndjson", columns)


def test_requests_share_records_and_keep_their_own_receipts_rows_and_errors(entry, now_ms):
    requests = [
        request(1, [entry(entry_id="a"), entry(entry_id="b", kind="x"), entry(entry_id="c")]),
        request(2, [entry(entry_id="d", platform_id="p2"), entry(entry_id="e", phone="1")], "p2"),
        request(3, [entry(entry_id="f", platform_id="p2")], "p1"),
    ]
    chunk = judge(requests, MerchantIndex(), 4, now_ms)
    assert [(o.received, o.accepted) for o in chunk.outcomes] == [(3, 2), (2, 1), (1, 0)]
    assert [[(e.index, e.field, e.code) for e in o.errors] for o in chunk.outcomes] == [
        [(1, "kind", "invalid_value")],
        [(1, "phone", "unknown_field")],
        [(0, "platform_id", "platform_mismatch")],
    ]
    rows = [row for record in chunk.entries for row in codec.decode(record.value).to_pylist()]
    assert sorted((r["receipt"][0], r["row"], r["platform"]) for r in rows) == [
        (1, 0, "p1"),
        (1, 2, "p1"),
        (2, 0, "p2"),
    ]
    assert {platform for platform, _ in chunk.dead} == {"p1", "p2"}


def test_an_entry_stands_in_its_partition_and_order_of_arrival_is_kept(entry, now_ms):
    rows = [entry(entry_id=str(n % 700), amount_fen=n + 1) for n in range(5_000)]
    for partitions in (1, 4, 7):
        chunk = judge([request(1, rows)], MerchantIndex(), partitions, now_ms)
        seen: Counter[int] = Counter()
        last: dict[bytes, int] = {}
        for record in chunk.entries:
            batch = codec.decode(record.value)
            assert batch.num_rows == record.entries <= BATCH_MAX_ENTRIES
            for row in batch.to_pylist():
                assert (
                    int.from_bytes(row["id"][:8], "little") % 720 % partitions == record.partition
                )
                assert last.get(row["id"], -1) < row["row"]
                last[row["id"]] = row["row"]
                seen[row["row"]] += 1
        assert seen == Counter(range(5_000))
        assert id_of("p1", "5") in last


def test_records_are_cut_by_bytes_too(entry, now_ms):
    padded = [json.dumps(entry(entry_id=str(n))) + " " * 60_000 for n in range(400)]
    columns = formats.read("ndjson", "\n".join(padded).encode()).columns
    assert columns is not None
    chunk = judge([Request(bytes(16), "p1", "ndjson", columns)], MerchantIndex(), 1, now_ms)
    assert sum(record.entries for record in chunk.entries) == 400
    for record in chunk.entries:
        sent, _ = codec.decode_sent(record.value)
        assert sent.nbytes < 5 * 1024 * 1024
    assert len(chunk.entries) >= 5


def test_a_hundred_requests_of_as_many_platforms_fit_one_record(entry, now_ms):
    requests = [
        request(n, [entry(entry_id=str(n), platform_id=f"p{n}")], f"p{n}") for n in range(200)
    ]
    chunk = judge(requests, MerchantIndex(), 1, now_ms)
    (record,) = chunk.entries
    rows = codec.decode(record.value).to_pylist()
    assert {(r["receipt"][0], r["platform"]) for r in rows} == {(n, f"p{n}") for n in range(200)}

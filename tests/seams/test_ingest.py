"""The HTTP door against a real broker: receipts, the log, dead letters, and being killed.

One file, since all of it asks one door that is started once.
"""

import gzip
import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from kafka import KafkaProducer

from contracts.days import SHANGHAI
from contracts.entries.ids import id_of
from tests.seams.ingest_place import Place, entry, ndjson, place_of, wait
from yumai.store.client import connect


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Place]:
    with place_of(tmp_path_factory.mktemp("ingest"), f"{store}/ingest_http") as place:
        yield place


def test_a_200_means_good_rows_in_the_log_and_bad_rows_in_the_dead_letters(place: Place, unique):
    bad = b'{"entry_id": "x", \xff}'
    body = ndjson(
        *(entry(f"{unique}-{n}") for n in range(300)), bad, entry(f"{unique}-l", kind="x")
    )
    answer = place.post(body)
    assert answer.status_code == 200
    receipt = answer.json()
    assert (receipt["received"], receipt["accepted"], receipt["rejected"]) == (302, 300, 2)
    assert [(e["index"], e["field"], e["code"]) for e in receipt["errors"]] == [
        (300, None, "not_utf8"), (301, "kind", "invalid_value"),
    ]  # fmt: skip
    assert receipt["errors_truncated"] is False
    rows = place.rows(receipt["receipt_id"])
    assert [row["row"] for row in rows] == list(range(300))
    for record in place.log(receipt["receipt_id"]):
        assert (record.headers["v"], record.headers["slots"]) == ("2", "sha256-720")
        assert record.headers["epoch"] == "1"
        assert int(record.headers["entries"]) == len(record.rows)
        assert "recorded-on" not in record.headers
        assert record.metadata == {"format": "ndjson"}
        for row, sent in zip(record.rows, record.sent.to_pylist(), strict=True):
            entry_id = json.loads(sent)["entry_id"]
            assert row["id"] == id_of("p1", entry_id)
            assert int.from_bytes(row["id"][:8], "little") % 720 % 4 == record.partition
    dead = place.dead(receipt["receipt_id"])
    assert [(d["row"], d["platform"], d["bytes"]) for d in dead] == [
        (300, "p1", bad), (301, "p1", json.dumps(entry(f"{unique}-l", kind="x")).encode()),
    ]  # fmt: skip
    assert dead[0]["sha256"] == hashlib.sha256(bad).digest()


def test_every_format_arrives_as_the_same_entries(place: Place, unique):
    rows = [entry(f"{unique}-{n}", amount_fen=n + 1) for n in range(50)]
    table = pa.Table.from_pylist(rows)
    arrow, parquet = pa.BufferOutputStream(), io.BytesIO()
    with pa.ipc.new_stream(arrow, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, parquet)
    names = list(rows[0])
    csv = "\r\n".join([",".join(names), *(",".join(str(r[n]) for n in names) for r in rows)])
    seen = []
    for body, media_type in (
        (json.dumps(rows).encode(), "application/json; charset=utf-8"),
        (ndjson(*rows), "application/x-ndjson"),
        (csv.encode(), "text/csv"),
        (arrow.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream"),
        (parquet.getvalue(), "application/vnd.apache.parquet"),
    ):
        receipt = place.post(body, media_type).json()
        assert receipt["accepted"] == 50, receipt
        found = place.rows(receipt["receipt_id"])
        seen.append([(r["id"], r["content"], r["amount_fen"], r["row"]) for r in found])
    assert all(rows == seen[0] for rows in seen)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_the_same_key_and_body_have_one_receipt_in_any_encoding(place: Place, unique, pack):
    body = ndjson(entry(f"{unique}-1"), b"broken")
    first = place.post(body, Idempotency_Key=unique)
    name = "gzip" if pack is gzip.compress else "zstd"
    again = place.post(pack(body), Idempotency_Key=unique, Content_Encoding=name)
    assert first.json() == again.json()
    assert len(place.rows(first.json()["receipt_id"])) == 1
    other = place.post(body + b"\n", Idempotency_Key=unique)
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "key_reused")
    # Another sender's key of the same name is another key.
    theirs = place.post(body, key=place.other_key, Idempotency_Key=unique)
    assert theirs.json()["receipt_id"] != first.json()["receipt_id"]


def test_without_a_key_every_request_is_a_receipt_of_its_own(place: Place, unique):
    body = ndjson(entry(unique))
    assert place.post(body).json()["receipt_id"] != place.post(body).json()["receipt_id"]


def test_the_same_request_at_the_same_time_is_booked_once(place: Place, unique):
    body = ndjson(*(entry(f"{unique}-{n}") for n in range(2_000)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: place.post(body, Idempotency_Key=unique), range(8)))
    assert {a.status_code for a in answers} == {200}
    (receipt_id,) = {a.json()["receipt_id"] for a in answers}
    assert len(place.rows(receipt_id)) == 2_000


def test_small_requests_share_records_and_do_not_wait(place: Place, unique):
    took = []

    def send(number: int) -> str:
        begun = time.monotonic()
        receipt = place.post(ndjson(entry(f"{unique}-{number}"))).json()
        took.append(time.monotonic() - begun)
        return receipt["receipt_id"]

    with ThreadPoolExecutor(32) as pool:
        receipts = set(pool.map(send, range(320)))
    records = [r for r in place.log() if {row["receipt"].hex() for row in r.rows} & receipts]
    assert sum(len(r.rows) for r in records) == 320
    assert len(records) < 320
    assert sorted(took)[len(took) // 2] < 1.0


def test_a_record_has_at_most_4096_rows(place: Place, unique):
    receipt = place.post(ndjson(*(entry(f"{unique}-{n}") for n in range(40_000)))).json()
    sizes = [len(record.rows) for record in place.log(receipt["receipt_id"])]
    assert sum(sizes) == 40_000
    assert max(sizes) <= 4_096


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": ""}, b"", 401, "unauthorized"),
        ({"Authorization": "Bearer yk_forged", "Content-Type": "text/plain"}, b"", 401, "unauthorized"),
        ({"Content-Type": "text/plain"}, b"x" * (65 << 20), 415, "unsupported_media_type"),
        ({"Content-Encoding": "br"}, b"", 415, "unsupported_media_type"),
        ({}, b" " * ((64 << 20) + 1), 413, "too_large"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b" " * ((64 << 20) + 1)), 413, "too_large"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"{}", mtime=0)[:-3], 400, "body_undecodable"),
        ({"Content-Encoding": "zstd"}, b"nonsense", 400, "body_undecodable"),
        ({"Content-Encoding": "zstd"}, zstandard.compress(b"{}" * 99)[:-3], 400, "body_undecodable"),
        ({"Content-Type": "application/json"}, b"[{}", 400, "body_undecodable"),
        ({"Content-Type": "text/csv"}, b"a,b\n1,2", 400, "unknown_column"),
        ({"Recorded-On": "2025-01-01"}, b"", 403, "forbidden"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_as_a_whole_is_refused_in_order(place, headers, body, status, code):
    said = {
        "Authorization": f"Bearer {place.key}",
        "Content-Type": "application/x-ndjson",
    } | headers
    answer = place.http.post("/v1/entries", content=body, headers=said)
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert error["code"] == code
    assert error["index"] is None


def test_a_path_or_method_that_is_not_there_is_refused_in_the_same_shape(place: Place):
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/entries", 405),
        ("OPTIONS", "/v1/entries", 405),
    ):
        answer = place.http.request(method, path)
        assert answer.status_code == status
        assert [e["code"] for e in answer.json()["errors"]] == ["not_found"]
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("media_type", [
    "application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
])  # fmt: skip
def test_nothing_sent_is_200_with_nothing(place: Place, media_type):
    for headers in ({}, {"Content_Encoding": "gzip"}):
        receipt = place.post(b"", media_type, **headers).json()
        assert (receipt["received"], receipt["errors"]) == (0, [])
        assert place.get(f"/v1/receipts/{receipt['receipt_id']}").json()["state"] == "booked"


def test_64_mib_exactly_are_taken_and_several_members_are_one_body(place: Place, unique):
    row = ndjson(entry(unique)) + b"\n"
    body = row + b" " * ((64 << 20) - len(row))
    assert place.post(body).json()["accepted"] == 1
    packed = gzip.compress(row) + gzip.compress(ndjson(entry(unique + "2")))
    assert place.post(packed, Content_Encoding="gzip").json()["accepted"] == 2
    frames = zstandard.compress(row) + zstandard.compress(ndjson(entry(unique + "3")))
    assert place.post(frames, Content_Encoding="zstd").json()["accepted"] == 2


def test_recorded_on_is_the_bureaus_and_earlier_than_today(place: Place, unique):
    today = datetime.now(SHANGHAI).date()
    body = ndjson(entry(unique), entry(unique, platform_id="p2"))
    receipt = place.post(body, key=place.bureau, Recorded_On="2025-03-01").json()
    assert receipt["accepted"] == 2
    assert {r.headers["recorded-on"] for r in place.log(receipt["receipt_id"])} == {"2025-03-01"}
    for wrong in (today.isoformat(), (today + timedelta(1)).isoformat(), "2025-3-1", "soon"):
        assert place.post(body, key=place.bureau, Recorded_On=wrong).status_code == 422
    a, b = (
        place.post(body, key=place.bureau, Recorded_On=day, Idempotency_Key=f"{unique}{day}").json()
        for day in ("2025-03-01", "2025-03-02")
    )
    assert a["receipt_id"] != b["receipt_id"]


def test_a_receipt_tells_what_became_of_it_and_only_to_its_sender(place: Place, unique):
    body = ndjson(*(entry(f"{unique}-{n}") for n in range(4)), b"broken")
    receipt = place.post(body, Idempotency_Key=unique).json()
    path = f"/v1/receipts/{receipt['receipt_id']}"
    assert place.get(path).json()["state"] == "queued"
    assert place.get(path, key=place.other_key).status_code == 404
    assert place.get("/v1/receipts/" + "0" * 32).status_code == 404
    assert place.get(path, key=place.bureau).status_code == 200
    client = connect(place.dsn)
    hexed = receipt["receipt_id"]
    client.command(f"INSERT INTO receipt_bookings VALUES (unhex('{hexed}'), 1, 0, 0, 5, 2)")
    client.command(
        "INSERT INTO verdicts VALUES"
        f" (unhex('{hexed}'), 2, 'duplicate', 'p1', 1, 0, 5, now64(3)),"
        f" (unhex('{hexed}'), 3, 'conflict', 'p1', 1, 0, 5, now64(3))"
    )
    client.close()
    told = place.get(path).json()
    assert (told["state"], told["booked"], told["duplicates"], told["conflicts"]) == (
        "booked",
        2,
        1,
        1,
    )
    rows = place.get(f"{path}/rows").json()["data"]
    assert [(r["index"], r["code"]) for r in rows] == [
        (2, "duplicate"),
        (3, "conflict"),
        (4, "not_json"),
    ]
    assert [r["index"] for r in place.get(f"{path}/rows", verdict="rejected").json()["data"]] == [4]
    csv = place.get(f"{path}/rows", verdict="conflict", format="csv").text
    assert csv.splitlines()[1].startswith("3,,conflict,")
    assert place.get(f"{path}/rows", key=place.other_key).status_code == 404
    assert place.get(f"{path}/rows", verdict="x").status_code == 422
    newest = place.get("/v1/receipts", limit="1").json()["data"]
    assert [r["receipt_id"] for r in newest] == [receipt["receipt_id"]]


def test_rows_that_were_never_acknowledged_are_incomplete(place: Place):
    hexed = "ab" * 16
    client = connect(place.dsn)
    client.command(
        f"INSERT INTO verdicts VALUES (unhex('{hexed}'), 2, 'duplicate', 'p1', 1, 0, 5, now64(3))"
    )
    client.close()
    assert place.get(f"/v1/receipts/{hexed}").json()["state"] == "incomplete"
    assert place.get(f"/v1/receipts/{hexed}", key=place.other_key).status_code == 404


def test_control_totals_are_the_days_as_booked(place: Place):
    client = connect(place.dsn)
    client.command(
        "INSERT INTO cells VALUES ('2026-01-31 10:00:00', '2026-02-01', 500103, 'S01', 'p1',"
        " 1, 0, 0, 5, 4, 1000, 200, 30, 4)"
    )
    client.close()
    totals = place.get("/v1/control-totals", date="2026-01-31").json()
    assert {k: totals[k] for k in ("date", "entries", "sales_fen", "refunds_fen", "reversals_fen", "net_fen")} == {
        "date": "2026-01-31", "entries": 4, "sales_fen": 1000, "refunds_fen": 200,
        "reversals_fen": 34, "net_fen": 774,
    }  # fmt: skip
    assert place.get("/v1/control-totals", date="2026-01-30").json()["entries"] == 0
    assert place.get("/v1/control-totals", date="x").status_code == 422
    assert place.get("/v1/control-totals", date="2026-01-31", platform="p2").status_code == 403
    theirs = place.get("/v1/control-totals", key=place.bureau, date="2026-01-31", platform="p1")
    assert theirs.json() == totals


def test_a_200_for_the_registry_classifies_the_next_entry(place: Place, unique):
    merchant = {"platform_id": "p1", "merchant_id": unique, "valid_from": "2025-01-01"}
    for n, (district, number) in enumerate([("500103", 500103), ("500105", 500157)]):
        answer = place.put_merchants([merchant | {"district_code": district, "industry": "H62"}])
        assert answer.status_code == 200
        receipt = place.post(ndjson(entry(f"{unique}-{n}", merchant_id=unique))).json()
        (row,) = place.rows(receipt["receipt_id"])
        assert (row["district"], row["sector"], row["classified_by"]) == (number, 1, 0x11)
        assert row["map_version"] == answer.json()["map_version"]
    wrong = place.put_merchants(
        [merchant | {"district_code": "500106"}, merchant | {"district_code": "1"}]
    )
    assert wrong.status_code == 422
    assert [e["index"] for e in wrong.json()["errors"]] == [1]
    history = place.get("/v1/merchants", merchant_id=unique).json()["data"]
    assert [s["district_code"] for s in history] == ["500105"]
    assert place.put_merchants([], key=place.key).status_code == 403
    assert (
        place.get(
            "/v1/merchants", platform_id="p1", merchant_id=unique, key=place.other_key
        ).status_code
        == 403
    )


def test_a_sender_that_stops_in_the_middle_blocks_nobody(place: Place, unique):
    import socket

    with socket.create_connection(("127.0.0.1", place.port)) as half:
        head = f"POST /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {place.key}\r\n"
        half.sendall(f"{head}Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\nentry".encode())
        assert place.post(ndjson(entry(unique))).json()["accepted"] == 1


def test_a_killed_ingest_knows_its_receipts_and_its_registry(place: Place, unique):
    merchant = {"platform_id": "p1", "merchant_id": unique, "valid_from": "2025-01-01"}
    place.put_merchants([merchant | {"district_code": "500106"}])
    body = ndjson(entry(unique, merchant_id=unique), b"broken")
    before = place.post(body, Idempotency_Key=unique).json()
    place.kill("ingest")
    place.start_ingest()
    assert place.post(body, Idempotency_Key=unique).json() == before
    assert place.post(body + b" ", Idempotency_Key=unique).status_code == 422
    assert len(place.rows(before["receipt_id"])) == 1
    receipt = place.post(ndjson(entry(unique + "2", merchant_id=unique))).json()
    assert place.rows(receipt["receipt_id"])[0]["district"] == 500106


def test_stray_receipts_are_passed_over_at_the_start(place: Place, unique):
    body = ndjson(entry(unique))
    before = place.post(body, Idempotency_Key=unique).json()
    nested = b'{"errors":' + b"[" * 5_000
    producer = KafkaProducer(bootstrap_servers=place.bootstrap)
    for value in (None, b"", b"[1]", b"null", b'{"receipt_id":"\xff"}', b'{"at":1e400}', nested):
        producer.send("receipts.v1", key=b"\xff", value=value).get(10)
    producer.close()
    place.kill("ingest")
    place.start_ingest()
    assert place.post(body, Idempotency_Key=unique).json() == before
    assert 'yumai_stray_records_total{topic="receipts.v1"} 7' in place.get("/metrics").text


def test_without_kafka_it_is_503_and_afterwards_everything_goes_on(place: Place, unique):
    place.kill("broker")
    begun = time.monotonic()
    answers = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(
                place.post(ndjson(entry(f"{unique}-{n}")), Idempotency_Key=f"{unique}-{n}")
            )
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    assert place.http.get("/health/live").status_code == 200
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 20
    assert {a.status_code for a in answers} == {503}
    assert all(int(a.headers["Retry-After"]) > 0 for a in answers)
    assert place.http.get("/health/ready").status_code == 503
    place.start_broker()
    wait(place.is_ready, 60)
    receipts = {
        place.post(ndjson(entry(f"{unique}-{n}")), Idempotency_Key=f"{unique}-{n}").json()[
            "receipt_id"
        ]
        for n in range(6)
    }
    for receipt_id in receipts:
        assert {row["row"] for row in place.rows(receipt_id)} == {0}


def test_what_was_acknowledged_while_the_broker_is_killed_is_in_the_log_once(place: Place, unique):
    acknowledged: dict[str, int] = {}
    stop = threading.Event()

    def send(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"{unique}-{worker}-{number}"
            body = ndjson(*(entry(f"{key}-{n}") for n in range(50)))
            while True:
                answer = place.post(body, Idempotency_Key=key)
                if answer.status_code == 200:
                    acknowledged[answer.json()["receipt_id"]] = 50
                    break
                assert answer.status_code == 503
                time.sleep(0.2)

    workers = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    time.sleep(1)
    place.kill("broker")
    time.sleep(0.5)
    place.start_broker()
    time.sleep(3)
    stop.set()
    for worker in workers:
        worker.join()
    assert len(acknowledged) > 20
    found: dict[str, set[int]] = {}
    for record in place.log():
        for row in record.rows:
            found.setdefault(row["receipt"].hex(), set()).add(row["row"])
    for receipt_id, rows in acknowledged.items():
        assert found[receipt_id] == set(range(rows))

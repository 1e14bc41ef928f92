"""Accepted requests at the log's edge values, by every door, headers too: the books go on, and to the fen.

`YUMAI_E2E_EDGES` requests (default 200; 10,000 is the bar), beside them stray records in every small topic.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer

from contracts.days import SHANGHAI
from simulation.columns import SCHEMA
from simulation.formats import MEDIA_TYPES
from tests.e2e import comparison, senders
from tests.e2e.comparison import Books
from tests.e2e.harness import Yumai
from tests.e2e.senders import Feed, Sent
from tests.recount import Cell, Recount
from tests.seams.raw_produce import batch, produce, record
from yumai import topics
from yumai.districts import districts
from yumai.entry import AGE_MAX_YEARS, AMOUNT_MAX_FEN, KINDS, TEXT_MAX
from yumai.store.client import connect
from yumai.store.figures import NET

REQUESTS = int(os.environ.get("YUMAI_E2E_EDGES", "200"))
SEED = int(os.environ.get("YUMAI_E2E_SEED", "7"))
AT_ONCE = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + REQUESTS // 4)]

NOW = datetime.now(UTC)
TODAY = datetime.now(SHANGHAI).date()
OLDEST = NOW.replace(year=NOW.year - AGE_MAX_YEARS, day=min(NOW.day, 28)) + timedelta(days=2)
PLATFORMS = ["A", "a", "0", "9" * 64, "x" * 64, "a.b", "a_b", "a-b", "Z..", "m-", "edge"]
TEXTS = ["x", "渝" * TEXT_MAX, "\U0001f600" * TEXT_MAX, "a\u0301", "\u202e=1+1", "=HYPERLINK(1)", " ", "\x7f", "'", '"', "\\"]  # fmt: skip
RECORDED = [date(1970, 1, 1), date(1999, 12, 31), date(2024, 2, 29), TODAY - timedelta(days=1)]
KEYS = [b"k", b"\xff\xe9 ~", b"a,b", b"%00"]
FORMS = ("ndjson", "json", "csv", "arrow", "parquet")
MCCS = ["0000", "5812", "9999", None]


def row(rng: random.Random, number: int, platform: str) -> dict[str, Any]:
    at = rng.choice([OLDEST, NOW - timedelta(milliseconds=1), NOW + timedelta(minutes=1)])
    made: dict[str, Any] = {
        "entry_id": f"{number}-{rng.random()}"[: TEXT_MAX - 1],
        "platform_id": platform,
        "merchant_id": rng.choice([*TEXTS, f"m{rng.randrange(9)}"]),
        "occurred_at": int(at.timestamp() * 1000),
        "kind": rng.choice(list(KINDS)),
        "amount_fen": rng.choice([1, 2, AMOUNT_MAX_FEN - 1, AMOUNT_MAX_FEN, AMOUNT_MAX_FEN]),
    }
    for name, values in {
        "refers_to": TEXTS,
        "district_code": sorted(districts()),
        "mcc": MCCS,
        "channel": ["online", "offline"],
        "program_id": TEXTS,
        "subsidy_fen": [0, 1, AMOUNT_MAX_FEN],
    }.items():
        if rng.random() < 0.4 and (said := rng.choice(values)) is not None:
            made[name] = said
    return made


def requests(rng: random.Random) -> Iterator[tuple[str, list[dict[str, Any]], str | None, bytes]]:
    """(form, rows, recorded on, Idempotency-Key)"""
    for number in range(REQUESTS):
        rows = []
        for n in range(rng.choice([1, 1, 2, 5])):
            platform = rng.choice(PLATFORMS) if rng.random() < 0.7 else f"p{number}.{n}"
            rows.append(row(rng, number * 10 + n, platform))
        recorded = rng.choice(RECORDED).isoformat() if rng.random() < 0.4 else None
        yield rng.choice(FORMS), rows, recorded, rng.choice(KEYS) + str(number).encode()
    many = [row(rng, 10**9 + n, f"many-{n}") for n in range(5_000)]
    yield "ndjson", many, (TODAY - timedelta(days=40)).isoformat(), b"many"


def rendered(rows: list[dict[str, Any]], form: str) -> bytes:
    if form == "ndjson":
        return b"\n".join(json.dumps(one).encode() for one in rows)
    if form == "json":
        return json.dumps(rows, ensure_ascii=False).encode()
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, list(dict.fromkeys(n for one in rows for n in one)))
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue().encode()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, SCHEMA) as writer:
            writer.write_table(table)
    return sink.getvalue()


STRAYS = [
    b"[1]", b"null", b"1", b'"x"', b"{}", b"", b"\xff", b"[" * 100_000, b'{"id":1e400}', None,
    b'{"id":"x","record":"action","kind":"explain","at":-1,"by":[]}',
    b'{"id":"a","seq":1,"at":99999999999999999999,"year":-5,"district":"x","kind":"opened","state":"open"}',
    b'{"platform_id":"p","merchant_id":"m","spans":[{"district_code":"999999","valid_from":"0001-01-01"}]}',
    b'{"item":"i","event":"e","at":1,"by":"b","kind":"created","fields":{"milestones":3}}',
    b'{"epoch":-1,"topic_id":3,"partitions":"x"}',
]  # fmt: skip


def strays(yumai: Yumai) -> None:
    producer = KafkaProducer(**yumai.kafka())
    for topic in topics.TOPICS:
        for value in STRAYS:
            for key in (b"k", b"\xff\xfe", None):
                if topic.settings.get("cleanup.policy") == "compact" and key is None:
                    continue  # the broker refuses it itself
                if value is None and (key is None or topic is topics.ENTRIES):
                    continue
                headers = [("v", b""), ("v", b"\xff"), ("x" * 9_000, b"y" * 90_000)]
                producer.send(topic.name, value, key, headers, partition=0)
    producer.flush(60)
    producer.close()
    # No client sends a header without a value; the log takes it.
    nulls = record(0, b"x", [(b"v", None), (b"epoch", None), (b"slots", None)])
    for topic in topics.TOPICS:
        if topic.settings.get("cleanup.policy") != "compact":
            internal = yumai.kafka()
            produce(
                internal["bootstrap_servers"],
                topic.name,
                batch(nulls, 1),
                context=internal["ssl_context"],
            )


def restarts(yumai: Yumai) -> dict[str, int]:
    return {name: one.get("restarts", 0) for name, one in yumai.processes().items()}


def test_the_books_go_on_at_the_edges(yumai: Yumai) -> None:
    rng = random.Random(SEED)
    books = Books(Recount([], int(time.time() * 1000)))
    before = restarts(yumai)
    spans = [
        {"platform_id": "edge", "merchant_id": f"m{n}", "district_code": code,
         "valid_from": first, "valid_to": last}
        for n, (code, first, last) in enumerate([
            ("500101", "0001-01-01", "9999-12-31"), ("500157", "1970-01-01", "1970-01-01"),
            ("500112", "2021-01-01", None), ("500105", "9999-12-31", None),
        ])
    ]  # fmt: skip
    client = senders.Client(yumai, None, yumai.token())
    client.put_merchants(spans)
    books.take(client.done)
    strays(yumai)

    def send(one: tuple[str, list[dict[str, Any]], str | None, bytes]) -> Sent:
        form, rows, recorded, key = one
        body = rendered(rows, form)
        headers = {
            b"Authorization": f"Bearer {yumai.token()}".encode(),
            b"Content-Type": MEDIA_TYPES[form].encode(),
            b"Idempotency-Key": key,
        }
        if recorded:
            headers[b"Recorded-On"] = recorded.encode()
        answer = http.post(f"{yumai.ingest}/v1/entries", content=body, headers=headers)
        assert answer.status_code == 200, (answer.text, rows[:2])
        said = answer.json()
        assert said["rejected"] == 0, (said["errors"][:3], rows[:2])
        return Sent(None, form, body, key.decode("latin-1"), None, recorded, said, 1)

    with httpx.Client(timeout=60, trust_env=False) as http, ThreadPoolExecutor(AT_ONCE) as pool:
        for sent in pool.map(send, requests(rng)):
            books.take([sent])
    yumai.key("edge")
    feed = Feed(yumai, "edge")
    feed.send(
        json.dumps(row(rng, 2 * 10**9 + n, "edge")).encode() for n in range(max(REQUESTS // 10, 20))
    )
    books.take_feed(feed, feed.records())

    yumai.settle(300 + REQUESTS / 20)
    found = stored(yumai)
    expected = {at: (cell.net_fen, cell.entries) for at, cell in books.recount.cells("day").items()}
    assert {at: (c.net_fen, c.entries) for at, c in found.items()} == expected
    comparison.audit(yumai)
    assert restarts(yumai) == before
    assert httpx.get(f"{yumai.gateway}/health/ready", trust_env=False).status_code == 200
    print(
        f"\n{REQUESTS} requests, {len(expected)} cells, {sum(n for _, n in expected.values())} entries"
    )


def stored(yumai: Yumai) -> dict[tuple[str, str, str, str], Cell]:
    """As `Yumai.cells` by day: thousands of platforms are more than one answer of the API."""
    store = connect(yumai.dsn, timeout=60)
    rows = store.query(
        "SELECT toString(toDate(period)) AS day, leftPad(toString(district), 6, '0'), toString(sector),"
        f" platform, sum({NET}), sum(entries) FROM cells FINAL GROUP BY ALL"
    ).result_rows
    store.close()
    return {
        (day, district, sector, platform): Cell(net_fen=int(net), entries=int(entries))
        for day, district, sector, platform, net, entries in rows
    }

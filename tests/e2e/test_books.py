"""The books after many requests over all doors: equal to the recount, to the fen.

The tests of this module follow each other on one Yumai, as a long day would. `YUMAI_E2E_ENTRIES`
(default 80,000) makes it larger: 2,000,000 is the bar. `YUMAI_E2E_SEED` makes it another one.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from contracts.days import SHANGHAI
from simulation.city import PLATFORMS, City
from simulation.flow import Flow
from simulation.formats import render
from tests.e2e import comparison, harness, senders
from tests.e2e.comparison import Books
from tests.e2e.harness import Together, Yumai
from tests.e2e.senders import Client, Feed
from tests.recount import Recount

ENTRIES = int(os.environ.get("YUMAI_E2E_ENTRIES", "80000"))
SEED = int(os.environ.get("YUMAI_E2E_SEED", "7"))
LARGE = ENTRIES > 200_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if LARGE else 420)]

FORMS = ("ndjson", "arrow", "csv", "parquet", "json")
ENCODINGS = (None, "gzip", "zstd", None)
TODAY = datetime.now(SHANGHAI).date()
CHANGE = (date(2025, 12, 1), date(2026, 1, 20))
RECENT = (TODAY - timedelta(days=12), TODAY - timedelta(days=1))
SMALL_REQUESTS = 300
"""Of each of four senders, with 24 rows, some in every partition: more than a block of 1,024 records."""
BLOCK = 1_024


@dataclass
class Day:
    """What happened to this Yumai so far."""

    yumai: Yumai
    flow: Flow
    books: Books
    clients: dict[str | None, Client]
    keys: dict[str, str]
    feeds: list[Feed] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    number: int = 0

    def client(self, platform: str | None) -> Client:
        if platform is not None and platform not in self.keys:
            self.keys[platform] = self.yumai.key(platform)
        if platform not in self.clients:
            token = self.yumai.token() if platform is None else self.keys[platform]
            self.clients[platform] = Client(self.yumai, platform, token)
        return self.clients[platform]

    def push(
        self, platform: str | None, batch: pa.RecordBatch, *, recorded_on: str | None = None, again: bool = False
    ) -> None:  # fmt: skip
        """One request in the next format and encoding, and the recount of it."""
        client = self.client(platform)
        form = FORMS[self.number % len(FORMS)]
        encoding = ENCODINGS[self.number // len(FORMS) % len(ENCODINGS)]
        self.number += 1
        body = render(batch, form, malformed=0.005, seed=SEED * 1_000_003 + self.number)
        body = dressed(body, form, self.rng)
        client.send(form, body, encoding=encoding, recorded_on=recorded_on)
        if again:  # the same rows under another key: all of them are duplicates
            client.send(form, body)
        self.take(client)

    def push_by_platform(self, batch: pa.RecordBatch) -> None:
        names = batch.column("platform_id")
        for platform in PLATFORMS:
            rows = batch.filter(pa.compute.equal(names, platform))
            if len(rows):
                self.push(platform, rows, again=self.rng.random() < 0.04)

    def put_merchants(self, rows: list[dict[str, Any]]) -> None:
        client = self.client(None)
        client.put_merchants(rows)
        self.take(client)

    def take(self, client: Client) -> None:
        self.books.recount.now_ms = int(time.time() * 1000)
        self.books.take(client.done)
        client.done = []

    def check(self) -> None:
        self.yumai.settle(600 if LARGE else 120)
        comparison.compare(self.yumai, self.books, self.keys)


def dressed(body: bytes, form: str, rng: random.Random) -> bytes:
    """The same rows as another program would write them: CRLF, BOM, blank lines, no last line end."""
    how = rng.randrange(6)
    if form in ("ndjson", "csv"):
        if how == 0:
            return body.replace(b"\n", b"\r\n")
        if how == 1:
            return b"\xef\xbb\xbf" + body
        if how == 2:
            return body.replace(b"\n", b"\n\n", 3)
        if how == 3:
            return body[:-1]
    if form == "json" and how == 1:
        return b"\xef\xbb\xbf" + body.replace(b",\n{", b" ,\r\n\t{", 5)
    return body


def moved(rows: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """A registry that learned something: other districts, trades and spans, and merchants it lacked."""
    changed = []
    for row in rng.sample(rows, min(len(rows) // 5, 800)):
        new = {k: v for k, v in row.items() if k not in ("valid_to", "industry")}
        new["district_code"] = rng.choice(
            ["500101", "500105", "500112", "500113", "500157", "500243"]
        )
        new["valid_from"] = rng.choice(["2025-12-15", "2026-01-01", "2026-01-08", "2023-06-01"])
        new["mcc"] = rng.choice(["5812", "0742", "5411", "7832", "9999"])
        if rng.random() < 0.3:
            new["industry"] = rng.choice(["H61", "R88", "F52", "O804"])
        if rng.random() < 0.3:
            new["valid_to"] = "2026-06-30"
        changed.append(new)
    return changed


@pytest.fixture(scope="module")
def day(yumai: Yumai) -> Day:
    city = City(SEED, 3_000)
    flow = Flow(
        city, SEED, refunds=0.03, reversals=0.008, late=0.02, duplicates=0.01, conflicts=0.001,
        since=CHANGE[0],
    )  # fmt: skip
    recount = Recount([], int(time.time() * 1000))
    return Day(yumai, flow, Books(recount), {}, {})


def chunks(flow: Flow, span: tuple[date, date], total: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Some `rows` rows a chunk, and a large one now and then."""
    for when, count in flow.counts(*span, total).items():
        for number, piece in enumerate(senders.pieces(flow.day(when, count), rows)):
            yield piece if number % 3 else piece.take(pa.array(range(len(piece))))


def test_every_cell_receipt_total_and_dead_letter_equals_the_recount(day: Day) -> None:
    registry = day.flow.city.registry()
    day.put_merchants(registry[: len(registry) * 9 // 10])
    rows = max(ENTRIES // 30, 500)

    # platforms by their own keys, both sides of the division change, the registry changed between
    batches = list(chunks(day.flow, CHANGE, ENTRIES * 4 // 10, rows))
    for number, batch in enumerate(batches):
        if number == len(batches) // 2:
            day.put_merchants(moved(registry, day.rng))
        day.push_by_platform(batch)

    # the bureau: rows of all platforms in one request, of recent days
    bureau = replace(day.flow, salt="bureau", since=RECENT[0])
    for batch in chunks(bureau, RECENT, ENTRIES * 2 // 10, rows):
        day.push(None, batch)
    day.put_merchants(moved(registry, day.rng))

    # the Kafka door: entries of its own, among them some that came over HTTP before
    feed = Feed(day.yumai, "unipay")
    kafka = replace(day.flow, salt="kafka", platform="unipay", since=RECENT[0])
    lines: list[bytes] = []
    for number, batch in enumerate(chunks(kafka, RECENT, ENTRIES * 15 // 100, rows)):
        body = render(batch, "ndjson", malformed=0.005, seed=number)
        lines += [line for line in body.split(b"\n") if line]
    first = next(r for r, _ in day.books.requests if r.sender == "unipay" and r.form == "ndjson")
    lines += [line for line in first.body.replace(b"\r", b"").split(b"\n") if line[:1] == b"{"]
    foreign = {
        "entry_id": "of-another",
        "platform_id": "wandian",
        "merchant_id": "m",
        "kind": "sale",
    }
    foreign |= {"occurred_at": 1_770_000_000_000, "amount_fen": 1}
    lines += [
        b"",
        b" ",
        b"[]",
        b"\xff\xfe",
        b"x" * 70_000,
        b"[" * 3_000,
        json.dumps(foreign).encode(),
    ]
    feed.send(lines)
    records = feed.records()
    assert sorted(records) == sorted(lines)
    day.books.take_feed(feed, records)
    day.feeds.append(feed)

    # single entries, and what holds none
    client = day.client("wandian")
    for n in range(20):
        row = {
            "entry_id": f"single-{n}", "platform_id": "wandian", "merchant_id": "nobody",
            "occurred_at": f"2026-01-01T00:00:00.{n:03d}+08:00", "kind": "sale", "amount_fen": 10**13 - n,
            "district_code": "500105", "mcc": "0742", "channel": "online",
        }  # fmt: skip
        client.send("json", json.dumps(row).encode())
    for form, empty in (("json", b"[]"), ("json", b""), ("ndjson", b"\n\n"), ("csv", b"")):
        assert client.send(form, empty).answer["received"] == 0
    whole = b'{"entry_id":"' + b"x" * 200_000
    assert client.send("ndjson", whole + b"\n" + whole[:65_536]).answer["rejected"] == 2
    day.take(client)

    day.check()
    books = day.books
    assert books.total("conflicts") > 0
    assert books.total("duplicates") > ENTRIES * 0.005
    assert books.total("rejected") > ENTRIES * 0.002
    assert {"500105", "500157", "000000"} <= {at[1] for at in books.recount.cells()}


def test_the_same_requests_with_the_same_keys_change_nothing(day: Day) -> None:
    before = day.yumai.status()["counts"]
    for sent, _ in day.books.requests:
        assert day.client(sent.sender).again(sent) == sent.answer
    # known in memory until now; after a crash from the log
    day.yumai.kill("ingest")
    day.yumai.works(60)
    for sent, _ in day.rng.sample(day.books.requests, min(len(day.books.requests), 60)):
        assert day.client(sent.sender).again(sent) == sent.answer
    day.yumai.settle()
    after = day.yumai.status()["counts"]
    assert after == before | {"booked": before["booked"] + 1}  # the canary
    comparison.compare_cells(day.yumai, day.books)
    comparison.audit(day.yumai)


def test_as_of_a_closed_day_stays_what_it_was(day: Day) -> None:
    """Only the import of history, which says so, changes what was known on a day."""
    known = [(TODAY - timedelta(days=n)).isoformat() for n in (30, 10, 2)]
    history = replace(day.flow, salt="history")
    span = (date(2025, 11, 1), date(2025, 11, 20))
    batches = list(chunks(history, span, ENTRIES // 20, max(ENTRIES // 200, 200)))
    for number, batch in enumerate(batches):
        day.push(None, batch, recorded_on=known[number % len(known)])
    day.yumai.settle()

    def as_of() -> dict[str, Any]:
        asked = [*known, (TODAY - timedelta(days=20)).isoformat()]
        return {when: day.yumai.cells("day", as_of=when) for when in asked}

    before = as_of()
    for when, cells in before.items():
        expected = day.books.recount.cells("day", recorded_until=when)
        comparison.assert_cells(cells, expected, f"as of {when}")
    assert len({len(cells) for cells in before.values()}) >= 3

    later = replace(day.flow, salt="later")
    for batch in chunks(later, span, ENTRIES // 40, max(ENTRIES // 200, 200)):
        day.push_by_platform(batch)
    day.yumai.settle()
    assert as_of() == before
    closed = day.yumai.get(f"{day.yumai.gateway}/v1/cells")["meta"]["as_of_closed"]
    assert closed == (datetime.now(SHANGHAI).date() - timedelta(days=1)).isoformat()

    comparison.compare_cells(day.yumai, day.books)


def test_a_backup_taken_while_workers_write_and_the_log_come_to_equal_books(day: Day) -> None:
    """Identities are kept beside it; a restore touches nothing while a worker writes."""
    together = Together()
    flow = replace(day.flow, salt="meanwhile", platform="unipay", since=RECENT[0])
    client = day.client("unipay")
    meanwhile = list(senders.pieces(flow.day(RECENT[1], 4_000), 200))
    together.go(_push_small, client, "arrow", meanwhile)
    told = day.yumai.json("backup", "--name", "yesterday")
    together.wait(100)
    day.take(client)
    assert told["ok"], told
    assert told["rows"]["entries"] > 0
    kept = day.yumai.state.directory / "backups" / "yesterday.identity" / "keys.json"
    assert kept.read_bytes() == (day.yumai.state.directory / "identity" / "keys.json").read_bytes()

    for batch in chunks(replace(day.flow, salt="since"), RECENT, 1_000, 500):
        day.push_by_platform(batch)
    day.yumai.settle()
    counts = day.yumai.status()["counts"]
    assert (
        "workers" in day.yumai.command("restore", "yesterday", "--replace", code=2).stderr.decode()
    )

    day.yumai.scale("metrics", 0)

    def restored() -> dict[str, Any] | None:
        told = day.yumai.json("restore", "yesterday", "--replace", code=None)
        return told if told["ok"] else None

    assert harness.until(restored, 90, "restored", 2.0)["entries"] < counts["booked"]
    day.yumai.scale("metrics", 1)
    day.yumai.settle()
    assert day.yumai.status()["counts"] == counts
    day.check()


def test_a_lost_store_is_made_anew_from_the_log(day: Day) -> None:
    """Books, receipts, dead letters, keys and registry are as before."""
    day.yumai.settle()
    letters = day.yumai.json("dead-letters", "list", "--bytes")
    counts = day.yumai.status()["counts"]
    who = {"platform_id": "unipay", "merchant_id": _registered(day)}
    registry = day.yumai.get(f"{day.yumai.ingest}/v1/merchants", **who)["data"]
    assert registry

    day.yumai.stop()
    day.yumai.forget_store()
    day.yumai.start()

    day.check()

    def by_row(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda letter: (letter["receipt_id"], letter["row"]))

    assert by_row(day.yumai.json("dead-letters", "list", "--bytes")) == by_row(letters)
    assert day.yumai.status()["counts"] == counts
    assert day.yumai.get(f"{day.yumai.ingest}/v1/merchants", **who)["data"] == registry
    sent, _ = day.books.requests[0]
    assert day.client(sent.sender).again(sent) == sent.answer


def _registered(day: Day) -> str:
    rows = day.flow.city.registry()
    return next(row["merchant_id"] for row in rows if row["platform_id"] == "unipay")


def test_a_log_cut_below_the_open_blocks_stops_nothing(day: Day) -> None:
    """Many small requests from four senders at once, until a block is complete in every partition."""
    together = Together()
    spans = {"json": "unipay", "ndjson": "wandian", "csv": "lvyou", "arrow": "daojia"}
    clients = []
    for number, (form, platform) in enumerate(spans.items()):
        flow = replace(day.flow, salt=f"small{number}", platform=platform, since=RECENT[0])
        batches = list(senders.pieces(flow.day(RECENT[1], SMALL_REQUESTS * 24), 24))
        client = day.client(platform)
        clients.append(client)
        together.go(_push_small, client, form, batches)
    together.wait(200)
    for client in clients:
        day.take(client)
    ends = day.yumai.log_ends()
    assert min(ends.values()) > BLOCK, ends
    day.yumai.settle()

    open_blocks = {part: end // BLOCK * BLOCK for part, end in ends.items()}
    admin = KafkaAdminClient(**day.yumai.kafka())
    try:
        admin.delete_records({TopicPartition("entries.v1", p): n for p, n in open_blocks.items()})
    finally:
        admin.close()
    day.yumai.stop()
    day.yumai.start()

    bureau = replace(day.flow, salt="after", since=RECENT[0])
    for batch in chunks(bureau, RECENT, max(ENTRIES // 40, 500), 500):
        day.push(None, batch)
    day.check()


def _push_small(client: Client, form: str, batches: list[pa.RecordBatch]) -> None:
    for number, batch in enumerate(batches):
        client.send(form, render(batch, form, malformed=0.002, seed=number))

"""The gateway in its own process, on the real engine and the real broker.

One file, since all of it asks one gateway that is started once.
"""

import contextlib
import csv
import io
import json
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer

from contracts.alerts import codec as alerts
from contracts.alerts.outbox import decode_subscriptions
from contracts.commits import codec as commits
from tests import documented
from tests.conftest import free_port, running
from yumai import topics
from yumai.access import Identity
from yumai.broker import provision
from yumai.districts import districts_of
from yumai.sealing import Sealer
from yumai.sectors import SECTOR_CODES
from yumai.store.client import connect
from yumai.store.migrate import migrate

SHANGHAI = ZoneInfo("Asia/Shanghai")
CELLS = [
    "period",
    "recorded_date",
    "district",
    "sector",
    "platform",
    "epoch",
    "part",
    "block",
    "last_offset",
    "entries",
    "sales_fen",
    "refunds_fen",
    "sale_reversals_fen",
    "refund_reversals_fen",
]
LEDGER = ["epoch", "part", "off", "row", "id", "content", "receipt_low", "receipt_row"]
LEDGER += ["recorded_date", "occurred_at", "kind", "amount_fen", "district", "sector"]
LEDGER += ["platform", "merchant", "classified_by", "map_version"]
CODES = ["000000", "500101", "500105", "500157", "500243"]
PLATFORMS = ["p1", "p2", "p-3"]


@dataclass
class World:
    """One gateway and what it stands on."""

    url: str
    dsn: str
    kafka: str
    identity: Identity

    def get(self, path: str, role: str | None = "bureau", **parameters: str) -> httpx.Response:
        headers = {}
        if role is not None:
            headers["Authorization"] = f"Bearer {self.identity.issue_token(role)}"
        answer = httpx.get(f"{self.url}{path}", params=parameters, headers=headers, timeout=60)
        documented.check("gateway", answer)
        return answer

    def commit(
        self, last_offset: int, changes: list[tuple[str, str, int, int]], part: int = 0
    ) -> None:
        now = int(time.time() * 1000)
        record = commits.Commit(
            1,
            part,
            0,
            last_offset,
            1,
            0,
            0,
            0,
            now,
            now,
            now,
            False,
            "metrics-1",
            [commits.Change(*change) for change in changes],
        )
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        producer.send(topics.COMMITS.name, commits.encode(record), f"1/{part}".encode()).get(30)
        producer.close()


@contextmanager
def world(kafka: str, store: str, folder: Path, service_urls: str = "") -> Iterator[World]:
    """A gateway over a database of its own."""
    port, database = free_port(), f"t{uuid4().hex[:12]}"
    made = World(
        f"http://127.0.0.1:{port}", f"{store}/{database}", kafka, Identity(folder / "identity")
    )
    migrate(made.dsn)
    provision.ensure(kafka)
    environment = {
        "KAFKA_BOOTSTRAP": kafka,
        "CLICKHOUSE_DSN": made.dsn,
        "YUMAI_IDENTITY_DIR": str(folder / "identity"),
        "YUMAI_PORT": str(port),
        "YUMAI_SERVICE_URLS": service_urls,
    }
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with running(["services.gateway"], folder / "gateway.log", lambda: _answers(made.url)):
            os.environ.clear()
            os.environ.update(before)
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def book_progress(dsn: str, through: list[datetime], partitions: int = 2) -> None:
    client = connect(dsn)
    client.insert(
        "epochs",
        [[1, "x", partitions, "murmur3-720"]],
        ["epoch", "topic_id", "partitions", "slot_function"],
    )
    names = ["epoch", "part", "through", "next_offset", "worker", "stopped", "written_at"]
    now = datetime.now(UTC)
    client.insert(
        "progress", [[1, part, at, 1, "m", "", now] for part, at in enumerate(through)], names
    )
    client.close()


def random_cells(seed: int, many: int) -> list[list]:
    """Partial cells: some in several blocks, some rewritten at a higher offset."""
    draw = random.Random(seed)
    rows = []
    for _ in range(many):
        at = datetime(2024, 12, 28, tzinfo=SHANGHAI) + timedelta(hours=draw.randrange(24 * 370))
        amounts = [
            draw.choice([0, draw.randrange(10**6), draw.randrange(10**17)]) for _ in range(4)
        ]
        recorded = date(2026, 1, draw.randrange(1, 28))
        key = [at, recorded, int(draw.choice(CODES)), draw.choice(list(SECTOR_CODES.values()))]
        key += [draw.choice(PLATFORMS), 1, draw.randrange(2), draw.randrange(3)]
        rows.append([*key, draw.randrange(1, 1000), draw.randrange(1, 9), *amounts])
    return rows


def recount(rows: list[list], bucket: Callable[[datetime], str], dimensions: list[int]) -> dict:
    """Sums of the last write of each partial cell, by hand."""
    last: dict[tuple, list] = {}
    for row in rows:
        key = tuple(row[:8])
        if key not in last or row[8] >= last[key][8]:
            last[key] = row
    sums: dict = defaultdict(lambda: [0, 0, 0, 0])
    for row in last.values():
        entries, sales, refunds, sale_reversals, refund_reversals = row[9:14]
        into = sums[(bucket(row[0]), *(row[d] for d in dimensions))]
        into[0] += sales - refunds - sale_reversals + refund_reversals
        into[1] += sales
        into[2] += refunds
        into[3] += entries
    return dict(sums)


@pytest.fixture(scope="module")
def rows() -> list[list]:
    made = random_cells(7, 6_000)
    # Two writes of one partial cell at one offset would leave open which is the last.
    return list({(*row[:9],): row for row in made}.values())


@pytest.fixture(scope="module")
def gateway(kafka, store, tmp_path_factory, rows) -> Iterator[World]:
    with world(kafka, store, tmp_path_factory.mktemp("gateway")) as made:
        client = connect(made.dsn)
        for part in range(3):
            client.insert("cells", rows[part::3], CELLS)
        client.close()
        closed = datetime(2026, 2, 3, 16, 30, tzinfo=UTC)  # 4 February, 00:30 in Shanghai
        book_progress(made.dsn, [closed, datetime.now(UTC)])
        yield made


BUCKETS = {
    "hour": lambda at: at.strftime("%Y-%m-%dT%H:00+08:00"),
    "day": lambda at: at.strftime("%Y-%m-%d"),
    "month": lambda at: at.strftime("%Y-%m"),
    "year": lambda at: at.strftime("%Y"),
}


@pytest.mark.parametrize("grain", BUCKETS)
@pytest.mark.parametrize(
    "group_by", ["", "district", "sector,platform", "platform,district,sector"]
)
def test_cells_equal_a_recount_to_the_fen(gateway, rows, grain, group_by):
    answer = gateway.get("/v1/cells", grain=grain, group_by=group_by, **{"from": "2020-01-01"})
    assert answer.status_code == 200
    names = [d for d in ("district", "sector", "platform") if d in group_by]
    expected = recount(
        rows, BUCKETS[grain], [{"district": 2, "sector": 3, "platform": 4}[n] for n in names]
    )
    got = {}
    for cell in answer.json()["data"]:
        assert set(cell) == {"period", *names, "net_fen", "sales_fen", "refunds_fen", "entries"}
        key = [cell["period"]] + [int(cell[n]) if n == "district" else cell[n] for n in names]
        if "district" in names:
            assert len(cell["district"]) == 6
        got[tuple(key)] = [cell[n] for n in ("net_fen", "sales_fen", "refunds_fen", "entries")]
    assert got == expected
    periods = [cell["period"] for cell in answer.json()["data"]]
    assert periods == sorted(periods)
    if group_by == "" and grain == "year":
        assert max(cell["sales_fen"] for cell in answer.json()["data"]) > 2**63


def test_from_and_to_are_inclusive_shanghai_days(gateway, rows):
    answer = gateway.get("/v1/cells", group_by="", **{"from": "2025-03-01", "to": "2025-03-02"})
    assert {cell["period"] for cell in answer.json()["data"]} <= {"2025-03-01", "2025-03-02"}
    inside = [r for r in rows if r[0].date() in (date(2025, 3, 1), date(2025, 3, 2))]
    assert sum(c["entries"] for c in answer.json()["data"]) == sum(
        sums[3] for sums in recount(inside, BUCKETS["day"], []).values()
    )


def test_csv_holds_the_same_rows(gateway):
    asked = {"from": "2025-01-01", "to": "2025-06-30", "grain": "month"}
    data = gateway.get("/v1/cells", **asked).json()["data"]
    answer = gateway.get("/v1/cells", format="csv", **asked)
    assert answer.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(answer.text)))
    assert read == [{name: str(value) for name, value in cell.items()} for cell in data]
    empty = gateway.get("/v1/cells", format="csv", **{"from": "2030-01-01", "to": "2030-01-02"})
    assert len(empty.text.strip().splitlines()) == 1


def test_as_of_shows_what_was_recorded_by_the_end_of_that_day(gateway, rows):
    answer = gateway.get(
        "/v1/cells", grain="year", group_by="", as_of="2026-01-10", **{"from": "2020-01-01"}
    )
    known = [row for row in rows if row[1] <= date(2026, 1, 10)]
    got = {cell["period"]: cell["net_fen"] for cell in answer.json()["data"]}
    assert got == {key[0]: sums[0] for key, sums in recount(known, BUCKETS["year"], []).items()}


def test_meta_says_what_is_closed_and_how_fresh_it_is(gateway):
    meta = gateway.get("/v1/cells", as_of="2031-01-01").json()["meta"]
    assert meta["as_of_closed"] == "2026-02-03"
    assert meta["freshness"]["lag_seconds"] > 0
    assert meta["basis"] == "transaction_estimate"
    assert (meta["grain"], meta["group_by"]) == ("day", [])


def test_without_or_with_a_forged_token_nothing_is_told(gateway, tmp_path):
    for path in (
        "/v1/cells",
        "/v1/alerts",
        "/v1/stream",
        "/v1/overview",
        "/v1/map",
        "/v1/none",
        "/v1",
    ):
        assert gateway.get(path, role=None).status_code == 401
        forged = httpx.get(f"{gateway.url}{path}", headers={"Authorization": "Bearer yk_x"})
        assert forged.status_code == 401
    other = Identity(tmp_path)
    forged = httpx.get(
        f"{gateway.url}/v1/cells",
        headers={"Authorization": f"Bearer {other.issue_token('bureau')}"},
    )
    assert forged.status_code == 401


def test_the_token_in_the_address_counts_on_the_stream_only(gateway):
    token = gateway.identity.issue_token("bureau")
    assert httpx.get(f"{gateway.url}/v1/cells", params={"token": token}).status_code == 401
    with httpx.stream("GET", f"{gateway.url}/v1/stream", params={"token": token}) as answer:
        assert answer.status_code == 200


def test_a_district_sees_its_own_and_a_platform_its_own(gateway):
    everything = {"from": "2020-01-01", "grain": "year", "group_by": "district,platform"}
    own = gateway.get("/v1/cells", role="district:500101", **everything).json()["data"]
    assert {cell["district"] for cell in own} == {"500101"}
    own = gateway.get("/v1/cells", role="platform:p1", **everything).json()["data"]
    assert {cell["platform"] for cell in own} == {"p1"}
    text = gateway.get("/v1/cells", role="platform:p1", format="csv", **everything).text
    assert '"p2"' not in text
    assert (
        gateway.get("/v1/cells", role="district:500101", district="500101,500157").status_code
        == 403
    )
    assert (
        gateway.get("/v1/cells", role="platform:p1", platform="p2", format="csv").status_code == 403
    )
    assert gateway.get("/v1/alerts", role="district:500101", district="500102").status_code == 403
    assert gateway.get("/v1/alerts", role="platform:p1").status_code == 403


def test_the_overview_keeps_within_the_scope(gateway):
    district = gateway.get("/v1/overview", role="district:500101").json()["data"]
    assert [d["code"] for d in district["districts"]] == ["500101"]
    platform = gateway.get("/v1/overview", role="platform:p1").json()["data"]
    assert {d["pace"] for d in platform["districts"]} == {None}
    assert platform["alerts"] == []
    bureau = gateway.get("/v1/overview").json()["data"]
    assert {d["code"] for d in bureau["districts"]} == {
        *districts_of(datetime.now(SHANGHAI).year),
        "000000",
    }


def test_the_map_and_the_dimensions_follow_the_year(gateway):
    for year, many in (("2025", 38), ("2026", 37)):
        shapes = gateway.get("/v1/map", role="platform:p1", year=year).json()
        listed = gateway.get("/v1/districts", role="platform:p1", year=year).json()["data"]
        assert len(shapes["features"]) == len(listed) == many
        assert {f["properties"]["adcode"] for f in shapes["features"]} == {
            d["code"] for d in listed
        }
    assert gateway.get("/v1/map", year="2026").json()["meta"]["approximate"]


def test_alerts_are_told_as_their_last_step_left_them(gateway):
    """In a year of their own: the log is shared with other tests."""
    figures = {"target_fen": 10**16 + 1, "attained_fen": 1, "expected_fen": 2, "pace": 0.5}
    producer = KafkaProducer(bootstrap_servers=gateway.kafka)
    for district, seq, kind, state, level in [
        ("500101", 1, "opened", "open", "yellow"),
        ("500101", 2, "worsened", "open", "red"),
        ("500102", 1, "opened", "open", "yellow"),
        ("500102", 2, "resolved", "resolved", "green"),
        # Another worker's record of the same name, too late.
        ("500102", 2, "worsened", "open", "red"),
    ]:
        id_ = alerts.alert_id(2019, district)
        step = alerts.Step(id_, seq, seq, 2019, district, kind, state, level, figures)
        producer.send(topics.ALERTS.name, alerts.encode(step), id_.encode()).get(30)
    producer.close()
    deadline = time.monotonic() + 20
    while len(data := gateway.get("/v1/alerts", year="2019").json()["data"]) < 2 or any(
        a["seq"] < 2 for a in data
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    found = {a["id"]: a for a in data}
    assert (found["2019-500101"]["state"], found["2019-500101"]["level"]) == ("open", "red")
    assert found["2019-500101"]["figures"]["target_fen"] == 10**16 + 1
    assert found["2019-500102"]["state"] == "resolved"
    asked = gateway.get("/v1/alerts", state="open", year="2019").json()["data"]
    assert [a["district"] for a in asked] == ["500101"]
    own = gateway.get("/v1/alerts", role="district:500102", year="2019").json()["data"]
    assert [a["district"] for a in own] == ["500102"]
    assert gateway.get("/v1/alerts", year="2018").json()["data"] == []
    answer = gateway.get("/v1/alerts/2019-500101", role="district:500101")
    history = answer.json()["data"]["history"]
    assert [(h["seq"], h["kind"], h["by"]) for h in history] == [
        (1, "opened", "system"),
        (2, "worsened", "system"),
    ]
    assert _same(gateway, "/v1/alerts/2019-500101", "/v1/alerts/2019-500103")
    assert gateway.get("/v1/alerts/2019-500103").status_code == 404


def _same(gateway: World, *paths: str) -> bool:
    """To a district what is another's looks like what is not there."""
    answers = [gateway.get(path, role="district:500102") for path in paths]
    texts = {
        a.text.replace(p.rpartition("/")[2], "ID") for a, p in zip(answers, paths, strict=True)
    }
    return {a.status_code for a in answers} == {404} and len(texts) == 1


class Stream:
    """Events of one reader, gathered in a thread."""

    def __init__(self, made: World, role: str) -> None:
        self.events: list[tuple[str, dict]] = []
        self.ready = threading.Event()
        token = made.identity.issue_token(role)
        threading.Thread(target=self._read, args=(made.url, token), daemon=True).start()
        assert self.ready.wait(10)

    def _read(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": "1-0-3"}
        kind = ""
        # The gateway is killed when the test is over.
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("GET", f"{url}/v1/stream", headers=headers, timeout=60) as answer,
        ):
            for line in answer.iter_lines():
                self.ready.set()
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.events.append((kind, json.loads(line.removeprefix("data: "))))

    def wait(self, many: int, seconds: float = 5.0) -> list[tuple[str, dict]]:
        deadline = time.monotonic() + seconds
        while len(self.events) < many and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.events


def test_the_stream_tells_each_reader_its_own_within_five_seconds(gateway):
    base = int(time.time())
    gateway.commit(base, [])
    time.sleep(1.0)
    bureau, district = Stream(gateway, "bureau"), Stream(gateway, "district:500101")
    platform = Stream(gateway, "platform:p1")
    now = datetime.now(UTC)
    ledger = [
        [
            1,
            0,
            base + 1,
            row,
            bytes([row] * 16),
            1,
            1,
            row,
            now.date(),
            now,
            kind,
            fen,
            500101,
            "S01",
            of,
            1,
            1,
            1,
        ]
        for row, (kind, fen, of) in enumerate(
            [("sale", 500, "p1"), ("refund", 100, "p1"), ("sale", 9, "p2")]
        )
    ]
    client = connect(gateway.dsn)
    client.insert("entries", ledger, LEDGER)
    client.close()
    changes = [("500101", "S01", 409, 3), ("500157", "G00", 5, 1)]
    gateway.commit(base + 1, changes)
    gateway.commit(base + 1, changes)
    assert [(k, e["district"], e["net_fen"]) for k, e in bureau.wait(2)] == [
        ("cells", "500101", 409),
        ("cells", "500157", 5),
    ]
    assert [e["district"] for _, e in district.wait(1)] == ["500101"]
    assert [(e["district"], e["net_fen"], e["entries"]) for _, e in platform.wait(1)] == [
        ("500101", 400, 2)
    ]
    time.sleep(0.7)
    assert (len(bureau.events), len(district.events), len(platform.events)) == (2, 1, 1)


class _Ready(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_it_is_ready_only_when_all_four_services_are(kafka, store, tmp_path):
    class Metrics(_Ready):
        pass

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (_Ready, Metrics)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ok, metrics = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    gone = f"http://127.0.0.1:{free_port()}"
    urls = f"ingest={ok},metrics-1={metrics},metrics-2={gone},alerts-1={ok}"
    with world(kafka, store, tmp_path, urls) as made:
        assert _until(made, 200) == {}
        Metrics.status = 503
        assert "metrics-1" in _until(made, 503)
        Metrics.status = 200
        assert _until(made, 200) == {}
        assert httpx.get(f"{made.url}/health/live").status_code == 200
        assert "yumai_gateway_freshness_lag_seconds" in httpx.get(f"{made.url}/metrics").text
        meta = made.get("/v1/cells").json()["meta"]
        assert (meta["as_of_closed"], meta["freshness"]["lag_seconds"]) == (None, None)
    for server in servers:
        server.shutdown()


def _until(made: World, status: int) -> dict:
    deadline = time.monotonic() + 15
    while True:
        answer = httpx.get(f"{made.url}/health/ready", timeout=10)
        documented.check("gateway", answer)
        if answer.status_code == status or time.monotonic() > deadline:
            assert answer.status_code == status, answer.text
            return answer.json()["waiting_for"]
        time.sleep(0.2)


def test_without_a_store_it_says_so_at_once(kafka, tmp_path):
    provision.ensure(kafka)
    port = free_port()
    before = dict(os.environ)
    os.environ.update(
        {
            "KAFKA_BOOTSTRAP": kafka,
            "CLICKHOUSE_DSN": f"http://127.0.0.1:{free_port()}/none",
            "YUMAI_IDENTITY_DIR": str(tmp_path),
            "YUMAI_PORT": str(port),
        }
    )
    made = World(f"http://127.0.0.1:{port}", "", kafka, Identity(tmp_path))
    try:
        with running(["services.gateway"], tmp_path / "log", lambda: _answers(made.url)):
            begun = time.monotonic()
            # Alerts come from the log: they are answered without it.
            assert made.get("/v1/alerts").status_code == 200
            for path in ("/v1/cells", "/v1/overview"):
                answer = made.get(path)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - begun < 10
            assert httpx.get(f"{made.url}/health/ready", timeout=10).status_code == 503
            assert httpx.get(f"{made.url}/").status_code == 200
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_key_that_is_taken_back_ends_its_stream(gateway):
    key = gateway.identity.issue_key("p9")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{gateway.url}/v1/stream", headers=headers, timeout=20) as answer:
        parts = answer.iter_raw()
        assert next(parts)
        assert gateway.identity.revoke_keys("p9") == 1
        begun = time.monotonic()
        assert b"".join(parts).replace(b": heartbeat\n\n", b"") == b""
        assert time.monotonic() - begun < 5
    assert httpx.get(f"{gateway.url}/v1/cells", headers=headers).status_code == 401


def test_a_replaced_signing_key_ends_streams_and_tokens(kafka, store, tmp_path):
    with world(kafka, store, tmp_path) as made:
        token = made.identity.issue_token("bureau")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.stream("GET", f"{made.url}/v1/stream", headers=headers, timeout=20) as answer:
            parts = answer.iter_raw()
            assert next(parts)
            fresh = tmp_path / "identity" / "fresh"
            fresh.write_text("a fresh key of more than thirty-two bytes")
            fresh.replace(tmp_path / "identity" / "signing.key")
            begun = time.monotonic()
            assert b"".join(parts).replace(b": heartbeat\n\n", b"") == b""
            assert time.monotonic() - begun < 5
        assert httpx.get(f"{made.url}/v1/districts", headers=headers).status_code == 401
        assert made.get("/v1/districts").status_code == 200


def test_secrets_of_subscriptions_are_sealed_in_the_log_and_told_once(kafka, store, tmp_path):
    with world(kafka, store, tmp_path) as made:
        headers = {"Authorization": f"Bearer {made.identity.issue_token('district:500104')}"}
        mine = [
            {"id": "w", "channel": "webhook", "address": "https://8.8.8.8/hook-path"},
            {
                "id": "m",
                "channel": "email",
                "address": "mailtos://li:p4ssw0rd@8.8.8.8?from=a@b.example&to=a@b.example",
            },
        ]

        def put(body: list[dict]) -> list[dict]:
            answer = httpx.put(
                f"{made.url}/v1/subscriptions", json=body, headers=headers, timeout=30
            )
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]

        secret = put(mine)[0]["secret"]
        assert secret.startswith("whsec_")
        shown = made.get("/v1/subscriptions", role="district:500104").json()["data"]
        assert [s["secret"] for s in shown] == [None, None]
        assert "p4ssw0rd" not in str(shown)
        # What GET gives changes nothing when it is put back.
        assert put(shown)[0]["secret"] == secret
        consumer = KafkaConsumer(
            topics.SUBSCRIPTIONS.name,
            bootstrap_servers=kafka,
            auto_offset_reset="earliest",
            consumer_timeout_ms=3_000,
        )
        records = [r.value for r in consumer if r.key == b"district:500104"]
        consumer.close()
        assert len(records) == 2
        for value in records:
            for part in (secret[6:].encode(), b"p4ssw0rd", b"hook-path", b"8.8.8.8"):
                assert part not in value
        sealer = Sealer("", tmp_path / "identity")
        opened = [sealer.opened(s) for s in decode_subscriptions(records[-1]).subscriptions]
        assert [s.address for s in opened] == [m["address"] for m in mine]
        assert opened[0].secret == secret

"""A gateway, alerts workers and a receiver of webhooks, on the real broker and the real engine."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from contracts.alerts import codec as alerts
from contracts.commits import codec as commits
from contracts.targets import codec as targets
from tests import documented
from tests.conftest import free_port, running
from yumai import topics
from yumai.access import Identity
from yumai.broker import provision
from yumai.methods.festival import each_day
from yumai.store.client import connect
from yumai.store.migrate import migrate

SHANGHAI = ZoneInfo("Asia/Shanghai")
TODAY = datetime.now(SHANGHAI).date()
DAILY_FEN = 1_000_000
YEAR_FEN = DAILY_FEN * 365
CELLS = ["period", "recorded_date", "district", "sector", "platform", "epoch", "part", "block"]
CELLS += [
    "last_offset",
    "entries",
    "sales_fen",
    "refunds_fen",
    "sale_reversals_fen",
    "refund_reversals_fen",
]
ANSWERED = 200


def cell(
    day: Any, district: int, fen: int, block: int = 0, sector: str = "S01", offset: int = 1
) -> list:
    at = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return [at, day, district, sector, "p1", 1, 0, block, offset, 1, fen, 0, 0, 0]


class Receiver:
    """A webhook's other end: what came, in order; it answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any], bytes]] = []
        self.status = ANSWERED
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == ANSWERED:
                    headers = {k.lower(): v for k, v in self.headers.items()}
                    receiver.got.append((headers, json.loads(raw), raw))
                self.send_response(receiver.status)
                if receiver.status in (301, 302, 307):
                    self.send_header("Location", f"{receiver.url}/else")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def types(self, alert: str | None = None) -> list[str]:
        """Kinds in the order in which they came, repetitions (same id) left out."""
        seen: dict[str, str] = {}
        for headers, body, _ in self.got:
            if alert is None or body["data"]["alert_id"] == alert:
                seen.setdefault(headers["webhook-id"], body["type"])
        return list(seen.values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Place:
    url: str
    dsn: str
    kafka: str
    identity: Identity
    environment: dict[str, str]
    folder: Path
    offset: int = 1
    processes: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        role: str = "bureau",
        name: str | None = None,
        **query: str,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.identity.issue_token(role, name)}"}
        answer = httpx.request(
            method, f"{self.url}{path}", json=body, params=query, headers=headers, timeout=60
        )
        documented.check("gateway", answer)
        return answer

    def get(self, path: str, role: str = "bureau", **query: str) -> Any:
        answer = self.call("GET", path, role=role, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def history(self, district: str) -> list[dict[str, Any]]:
        answer = self.call("GET", f"/v1/alerts/{TODAY.year}-{district}")
        return answer.json()["data"]["history"] if answer.status_code == 200 else []

    def kinds(self, district: str) -> list[str]:
        return [step["kind"] for step in self.history(district)]

    def until(self, so: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := so()):
            assert time.monotonic() < deadline, "never so"
            time.sleep(0.1)
        return found

    def send(self, topic: str, key: str, value: bytes) -> None:
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        producer.send(topic, value, key.encode()).get(30)
        producer.close()

    def set_target(self, district: str, fen: int, year: int = TODAY.year) -> None:
        known = self._versions(f"{year}/{district}/")
        fresh = targets.Version(
            len(known) + 1, "amount", fen, fen, at=int(time.time() * 1000), by="bureau"
        )
        target = targets.of_versions(year, district, None, (*known, fresh))
        self.send(topics.TARGETS.name, target.key, targets.encode(target))

    def _versions(self, key: str) -> tuple[targets.Version, ...]:
        found: tuple[targets.Version, ...] = ()
        for record in self.records(topics.TARGETS.name):
            if record.key.decode() == key:
                found = targets.decode(record.value).versions
        return found

    def records(self, topic: str) -> list[Any]:
        consumer = KafkaConsumer(bootstrap_servers=self.kafka)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        found: list[Any] = []
        while consumer.position(partition) < end:
            for records in consumer.poll(200).values():
                found += records
        consumer.close()
        return found

    def steps(self, district: str) -> list[alerts.Step]:
        found = [alerts.decode(r.value) for r in self.records(topics.ALERTS.name)]
        return [s for s in found if s.district == district]

    def book(self, district: int, fen: int, block: int, day: Any = None) -> None:
        """Entries of a day, and the commit that says so."""
        self.offset += 1
        client = connect(self.dsn)
        row = cell(day or TODAY, district, fen, block, offset=self.offset)
        client.insert("cells", [row], CELLS)
        book_block(client, block, self.offset)
        client.close()
        self.progress()
        now = int(time.time() * 1000)
        change = [commits.Change(f"{district:06d}", "S01", fen, 1)]
        commit = commits.Commit(
            1, 0, 0, self.offset, 1, 0, 0, fen, now, now, now, False, "m", change
        )
        self.send(topics.COMMITS.name, "1/0", commits.encode(commit))

    def progress(self) -> None:
        now = datetime.now(UTC)
        client = connect(self.dsn)
        names = ["epoch", "part", "through", "next_offset", "worker", "stopped", "written_at"]
        client.insert("progress", [[1, 0, now, 1, "m", "", now]], names)
        client.close()

    def _start(self, module: str, name: str, port: int, ready: str) -> ExitStack:
        stack = ExitStack()
        url = f"http://127.0.0.1:{port}"
        environment = self.environment | {
            "YUMAI_PORT": str(port),
            "YUMAI_WORKER": name,
            "YUMAI_WORK_DIR": str(self.folder / f"{name}-{uuid4().hex[:6]}"),
        }
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            process = stack.enter_context(
                running(
                    [module],
                    self.folder / f"{name}.log",
                    lambda: _answers(f"{url}/health/{ready}"),
                    60,
                )
            )
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.processes[name], self.ports[name] = process, url
        return stack

    @contextmanager
    def worker(self, name: str = "alerts-1") -> Iterator[Any]:
        """A worker that judges nothing yet may be ready too; killed at the end."""
        port = int(self.environment["ALERTS_PORT"]) if name == "alerts-1" else free_port()
        with self._start("services.alerts", name, port, "ready"):
            yield self.processes[name]

    def kill(self, name: str) -> None:
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def place(kafka: str, store: str, folder: Path, **settings: str) -> Iterator[Place]:
    """A city of three districts with the same sales every day of last year and this."""
    dsn = f"{store}/t{uuid4().hex[:12]}"
    migrate(dsn)
    fresh_topics(kafka)
    days = [d for year in (TODAY.year - 1, TODAY.year) for d in each_day(year) if d < TODAY]
    client = connect(dsn)
    rows = [cell(d, code, DAILY_FEN) for d in days for code in (500101, 500102, 500103)]
    client.insert("cells", rows, CELLS)
    names = ["epoch", "topic_id", "partitions", "slot_function"]
    client.insert("epochs", [[1, "x", 1, "m"]], names)
    book_block(client, 0, 1)
    client.close()
    port, alerts_port = free_port(), free_port()
    environment = {
        "KAFKA_BOOTSTRAP": kafka,
        "CLICKHOUSE_DSN": dsn,
        "YUMAI_IDENTITY_DIR": str(folder / "identity"),
        "YUMAI_SESSION_TIMEOUT": "3",
        "YUMAI_SERVICE_URLS": f"alerts-1=http://127.0.0.1:{alerts_port}",
        "YUMAI_GATEWAY_URL": f"http://127.0.0.1:{port}",
        "ALERTS_PORT": str(alerts_port),
        "WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        **settings,
    }
    made = Place(
        f"http://127.0.0.1:{port}", dsn, kafka, Identity(folder / "identity"), environment, folder
    )
    made.progress()
    with made._start("services.gateway", "gateway", port, "live"):
        yield made


def book_block(client: Any, block: int, offset: int) -> None:
    names = ["epoch", "part", "block", "last_offset", "entries", "net_fen", "complete"]
    names += ["function_version", "written_at"]
    row = [1, 0, block, offset, 1, 1, 0, 1, datetime.now(UTC)]
    client.insert("blocks", [row], names)


def fresh_topics(kafka: str) -> None:
    """What the place before left behind is gone: alert ids are the same in each."""
    names = [
        t.name
        for t in (
            topics.ALERTS,
            topics.TARGETS,
            topics.ACTIONS,
            topics.WORK_ITEMS,
            topics.SUBSCRIPTIONS,
            topics.DELIVERIES,
            topics.FEEDS,
        )
    ]
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        there = [name for name in names if name in admin.list_topics()]
        if there:
            admin.delete_topics(there)
        deadline = time.monotonic() + 30
        while set(names) & set(admin.list_topics()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        admin.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            provision.ensure(kafka)
            break
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    time.sleep(0.3)

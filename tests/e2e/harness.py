"""A whole Yumai to kill, clients that keep what was acknowledged, and the comparison with the recount.

A client's semantics: only a 200 counts. On a broken connection or a 503 it sends the same body with the
same Idempotency-Key again, until it has its 200.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import zstandard
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from console.commands.status import processes as listed_processes
from console.running import addresses
from console.running.state import State
from embedded import certificates, secret_files
from simulation.formats import MEDIA_TYPES
from tests import recount as recounting
from tests.recount import Cell, Expected, Recount
from yumai.broker.security import Cluster, client_options

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = float(os.environ.get("YUMAI_E2E_READY_SECONDS", "120"))
SECURE = bool(os.environ.get("YUMAI_E2E_SECURE"))
"""Every suite also with Kafka's clients by TLS."""
CANARY = "canary"
"""The platform of the entries that only show that it works again."""


def until(
    question: Callable[[], Any], seconds: float, what: str | Callable[[], str], pause: float = 0.1
) -> Any:
    """The first true answer. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {seconds:.0f} s: {what() if callable(what) else what}"
            )
        time.sleep(pause)


def alive(pid: int | None) -> bool:
    """A zombie is dead."""
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- the system ------------------------------------------------------------------------------------


class Yumai:
    """`yumai up --empty` on a state directory and ports of its own; `secure`: Kafka by TLS, too."""

    def __init__(
        self,
        state: Path,
        base: int,
        *,
        metrics_workers: int = 1,
        secure: bool = SECURE,
        canary: bool = False,
    ) -> None:
        self.state, self.base, self.metrics_workers = state, base, metrics_workers
        self.secure, self.canary = secure, canary
        self._feed_users: dict[str, dict[str, Any]] = {}
        self.up: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(timeout=httpx.Timeout(60.0, connect=2.0), trust_env=False)
        self._tokens: dict[str, str] = {}

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.base}"

    @property
    def ingest(self) -> str:
        return f"http://127.0.0.1:{self.base + 1}"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.base + 2}"

    @property
    def dsn(self) -> str:
        return addresses.of(self.state).dsn

    @property
    def metrics_token(self) -> dict[str, str]:
        """The header that opens `/metrics`."""
        return {"Authorization": f"Bearer {secret_files.read(State(self.state).metrics_token)}"}

    def kafka(self) -> dict[str, Any]:
        """Options of a client that sees everything."""
        return {
            "bootstrap_servers": f"127.0.0.1:{self.base + 5}",
            "security_protocol": "SSL",
            "ssl_context": certificates.context(State(self.state).tls),
        }

    def feed_options(self, platform: str) -> dict[str, Any]:
        """Options of this platform's client at the Kafka door."""
        if platform not in self._feed_users:
            self._feed_users[platform] = self.json("keys", "kafka", "--platform", platform)
        user = self._feed_users[platform]
        return client_options(
            Cluster(
                user["bootstrap"],
                user["security_protocol"],
                user["sasl_mechanism"],
                user["username"],
                user["password"],
                Path(user["ca_file"]) if user["ca_file"] else None,
            )
        )

    # -- its life ------------------------------------------------------------------------------

    def start(self, ready: bool = True) -> float:
        """Seconds until it was ready."""
        began = time.monotonic()
        self.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "console", "up", "--empty", "--state", str(self.state)]
        command += ["--port-base", str(self.base), "--metrics-workers", str(self.metrics_workers)]
        command += ["--secure"] if self.secure else []
        command += ["--canary"] if self.canary else []
        with (self.state / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        if ready:
            self.wait_ready()
        return time.monotonic() - began

    def is_ready(self) -> bool:
        assert self.up is not None
        if self.up.poll() is not None:
            raise AssertionError(f"up ended with {self.up.returncode}: {self.log('up')}")
        try:
            return self.http.get(f"{self.gateway}/health/ready", timeout=2.0).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        until(self.is_ready, seconds, lambda: f"ready\n{self.log('up')}\n{self.why()}", 0.2)

    def stop(self, seconds: float = 40.0) -> float:
        """SIGTERM; seconds until it had ended. Raises AssertionError when it takes longer."""
        assert self.up is not None
        began = time.monotonic()
        self.up.terminate()
        try:
            code = self.up.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"up still runs {seconds} s after SIGTERM") from None
        assert code == 0, f"up ended with {code}: {self.log('up')}"
        return time.monotonic() - began

    def destroy(self) -> None:
        """Nothing of it is left running, whatever happened."""
        if self.up is not None and self.up.poll() is None:
            children = self.children()
            self.up.terminate()
            try:
                self.up.wait(40)
            except subprocess.TimeoutExpired:
                self.up.kill()
                self.up.wait()
            for pid in filter(alive, children.values()):
                os.kill(pid, signal.SIGKILL)
        self.http.close()

    def log(self, name: str, size: int = 3000) -> str:
        path = self.state / "up.log" if name == "up" else self.state / "logs" / f"{name}.log"
        return path.read_bytes()[-size:].decode(errors="replace") if path.exists() else ""

    def why(self) -> str:
        status = self.status()
        return json.dumps({k: status[k] for k in ("processes", "lag", "problems")}, indent=1)

    # -- the console ---------------------------------------------------------------------------

    def yumai(
        self, *arguments: str, seconds: float = 120.0, code: int | None = 0
    ) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "console", *arguments, "--state", str(self.state)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds)
        said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace")
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{said}"
        return done

    def json(self, *arguments: str, seconds: float = 120.0, code: int | None = 0) -> Any:
        return json.loads(self.yumai(*arguments, "--json", seconds=seconds, code=code).stdout)

    def status(self) -> dict[str, Any]:
        return self.json("status", seconds=20)

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in self.status()["processes"]}

    def listed(self) -> list[dict[str, Any]]:
        """As `status` has them, without the time that a command takes to start."""
        return listed_processes(State(self.state).read_up() or {})

    def children(self) -> dict[str, int]:
        """Name -> pid of everything that `up` runs, also what `status` does not list."""
        written = json.loads((self.state / "run" / "up.json").read_text())
        return {c["name"]: c["pid"] for c in written["children"]}

    def kill(self, name: str) -> int:
        """`kill -9` of the process that `status` names. Returns its pid."""
        pid = until(lambda: self.children().get(name), 30, f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def scale(self, service: str, workers: int) -> None:
        self.yumai("scale", service, str(workers), seconds=90)

    def key(self, platform: str) -> str:
        return json.loads(self.yumai("keys", "issue", "--platform", platform).stdout)["key"]

    def token(self, role: str = "bureau") -> str:
        if role not in self._tokens:
            self._tokens[role] = json.loads(self.yumai("token", "--role", role).stdout)["token"]
        return self._tokens[role]

    # -- asking --------------------------------------------------------------------------------

    def get(self, url: str, token: str | None = None, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        answer = self.http.get(url, params=query, headers=headers)
        assert answer.status_code == 200, f"{url} {query}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def cells(self, grain: str = "day", **query: Any) -> dict[tuple[str, str, str, str], Cell]:
        """As `Recount.cells`, without the canary's."""
        found = self.get(
            f"{self.gateway}/v1/cells",
            **{"from": "2020-01-01", "to": "2030-12-31", "grain": grain},
            group_by="district,sector,platform",
            **query,
        )
        cells = {}
        for row in found["data"]:
            if row["platform"] == CANARY:
                continue
            at = (row["period"], row["district"], row["sector"], row["platform"])
            assert at not in cells, f"a cell twice: {at}"
            cells[at] = Cell(*(row[n] for n in ("net_fen", "sales_fen", "refunds_fen", "entries")))
        return cells

    def receipt(self, receipt_id: str, token: str | None = None) -> dict[str, Any]:
        return self.get(f"{self.ingest}/v1/receipts/{receipt_id}", token)

    def settle(self, seconds: float = 120.0) -> None:
        """Until all that is in the log, and in the small topics, is queryable."""

        def settled() -> bool:
            status = self.status()
            lag = status["lag"]["records"]
            stuck = [p for p in status["problems"] if "stands still" in p]
            assert not stuck, stuck
            return lag == 0 and self.projected()

        until(settled, seconds, lambda: f"lag 0\n{self.why()}", 0.5)

    def projected(self) -> bool:
        """Receipts and dead letters have no lag of their own in `status`: asked of the store."""
        from yumai.store.client import STORE_ERRORS, connect

        consumer = None
        try:
            client = connect(self.dsn, timeout=10)
            rows = client.query("SELECT topic, next_offset FROM projections FINAL").result_rows
            client.close()
            stands = {str(topic): int(offset) for topic, offset in rows}
            consumer = KafkaConsumer(**self.kafka())
            parts = [TopicPartition(t, 0) for t in ("receipts.v1", "dead-letters.v1")]
            return all(
                stands.get(part.topic, 0) >= end
                for part, end in consumer.end_offsets(parts).items()
            )
        except STORE_ERRORS:
            return False
        finally:
            if consumer is not None:
                consumer.close()

    def forget_store(self) -> None:
        assert self.up is not None
        assert self.up.poll() is not None
        shutil.rmtree(self.state / "store")

    def log_ends(self, topic: str = "entries.v1") -> dict[int, int]:
        consumer = KafkaConsumer(**self.kafka())
        try:
            parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
            return {tp.partition: end for tp, end in consumer.end_offsets(parts).items()}
        finally:
            consumer.close()

    def works(self, seconds: float) -> float:
        """Seconds until an entry sent now is acknowledged and in the books, and everything healthy."""
        began = time.monotonic()
        deadline = began + seconds
        row = {
            "entry_id": os.urandom(12).hex(), "platform_id": CANARY, "merchant_id": "m",
            "occurred_at": int(time.time() * 1000), "kind": "sale", "amount_fen": 1,
        }  # fmt: skip
        client = Client(self, None, self.token())
        sent = client.send("json", json.dumps(row).encode(), deadline=deadline, remember=False)

        def booked() -> bool:
            try:
                return self.receipt(sent.answer["receipt_id"])["state"] == "booked"
            except (httpx.TransportError, AssertionError):
                return False

        until(booked, deadline - time.monotonic(), lambda: f"canary booked\n{self.why()}", 0.05)

        def healthy() -> bool:
            return all(p["healthy"] for p in self.listed()) and self.answers()

        until(healthy, deadline - time.monotonic(), lambda: f"all healthy\n{self.why()}", 0.1)
        return time.monotonic() - began

    def answers(self) -> bool:
        headers = {"Authorization": f"Bearer {self.token()}"}
        try:
            answer = self.http.get(
                f"{self.gateway}/v1/cells", params={"grain": "year"}, headers=headers
            )
            return answer.status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(state: Path, base: int, **options: Any) -> Iterator[Yumai]:
    yumai = Yumai(state, base, **options)
    try:
        yumai.start()
        yield yumai
    finally:
        yumai.destroy()


# -- the clients -----------------------------------------------------------------------------------


@dataclass
class Sent:
    """One acknowledged request. `body` as it was before its encoding."""

    sender: str | None
    form: str
    body: bytes
    key: str | None
    encoding: str | None
    recorded_on: str | None
    answer: dict[str, Any]
    tries: int


@dataclass
class Put:
    """Rows that the registry took."""

    rows: list[dict[str, Any]]


def encoded(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, 1)
    return zstandard.compress(body) if encoding == "zstd" else body


def decoded(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zstandard.ZstdDecompressor().decompressobj().decompress(body) if encoding else body


class Client:
    """One sender, one request after the other: the order in which it is acknowledged is the log's."""

    def __init__(self, yumai: Yumai, sender: str | None, token: str) -> None:
        self.yumai, self.sender, self.token = yumai, sender, token
        self.done: list[Sent | Put] = []
        self.http = httpx.Client(timeout=httpx.Timeout(60.0, connect=2.0), trust_env=False)

    def send(
        self,
        form: str,
        body: bytes,
        key: str | None = None,
        *,
        encoding: str | None = None,
        recorded_on: str | None = None,
        deadline: float | None = None,
        remember: bool = True,
    ) -> Sent:
        """Until it is acknowledged. Every answer but 200 and 503 is a failure."""
        headers = {
            "Content-Type": MEDIA_TYPES[form],
            "Idempotency-Key": key or os.urandom(12).hex(),
        }
        if encoding:
            headers["Content-Encoding"] = encoding
        if recorded_on:
            headers["Recorded-On"] = recorded_on
        answer, tries = self._persist(
            "POST", "/v1/entries", encoded(body, encoding), headers, deadline
        )
        sent = Sent(
            self.sender, form, body, headers["Idempotency-Key"], encoding, recorded_on, answer, tries
        )  # fmt: skip
        if remember:
            self.done.append(sent)
        return sent

    def again(self, sent: Sent) -> dict[str, Any]:
        """The same request once more, in another encoding."""
        other = {None: "gzip", "gzip": "zstd", "zstd": None}[sent.encoding]
        headers = {"Content-Type": MEDIA_TYPES[sent.form], "Idempotency-Key": str(sent.key)}
        headers |= {"Content-Encoding": other} if other else {}
        headers |= {"Recorded-On": sent.recorded_on} if sent.recorded_on else {}
        return self._persist("POST", "/v1/entries", encoded(sent.body, other), headers, None)[0]

    def put_merchants(self, rows: list[dict[str, Any]]) -> None:
        body, headers = json.dumps(rows).encode(), {"Content-Type": "application/json"}
        headers["Authorization"] = f"Bearer {self.yumai.token()}"
        self._persist("PUT", "/v1/merchants", body, headers, None)
        self.done.append(Put(rows))

    def _persist(
        self, method: str, path: str, body: bytes, headers: dict[str, str], deadline: float | None
    ) -> tuple[dict[str, Any], int]:
        deadline = deadline or time.monotonic() + 180
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        tries = 0
        while True:
            tries += 1
            try:
                answer = self.http.request(
                    method, f"{self.yumai.ingest}{path}", content=body, headers=headers
                )
                if answer.status_code == 200:
                    return answer.json(), tries
                problem = f"{answer.status_code} {answer.text[:1000]}"
                assert answer.status_code == 503, f"{method} {path}: {problem}"
                assert answer.headers.get("Retry-After"), "503 without Retry-After"
            except httpx.TransportError as error:
                problem = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: never acknowledged: {problem}"
            time.sleep(0.3)


class Feed:
    """The Kafka door of one platform. What is in the feed topic counts, however often it was sent."""

    def __init__(self, yumai: Yumai, platform: str) -> None:
        self.yumai, self.platform = yumai, platform
        self.topic = f"feed.{platform}.v1"
        self.acknowledged = 0

    def send(self, rows: Iterable[bytes], seconds: float = 180.0) -> None:
        """Rows of one entry_id to one partition, in order. Until the broker has acknowledged all."""
        waiting = [(_feed_key(row), row) for row in rows]
        deadline = time.monotonic() + seconds
        while waiting:
            assert time.monotonic() < deadline, f"{self.topic}: never acknowledged"
            producer = None
            try:
                # One in flight: what is sent again never overtakes.
                producer = KafkaProducer(
                    **self.yumai.feed_options(self.platform), acks="all", retries=0,
                    enable_idempotence=False, max_in_flight_requests_per_connection=1,
                    request_timeout_ms=8_000, delivery_timeout_ms=10_000, max_block_ms=5_000,
                    linger_ms=5,
                )  # fmt: skip
                acks = [producer.send(self.topic, row, key=key) for key, row in waiting]
                producer.flush(timeout=15)
                failed = []
                for item, ack in zip(waiting, acks, strict=True):
                    try:
                        ack.get(timeout=15)
                        self.acknowledged += 1
                    except Exception:
                        failed.append(item)
                waiting = failed
            except Exception:
                time.sleep(0.5)
            finally:
                if producer is not None:
                    producer.close(timeout=1)

    def records(self) -> list[bytes]:
        """All that stands in the topic, partition by partition."""
        consumer = KafkaConsumer(**self.yumai.kafka(), auto_offset_reset="earliest")
        try:
            parts = [TopicPartition(self.topic, n) for n in (0, 1)]
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            ends = consumer.end_offsets(parts)
            found: dict[TopicPartition, list[bytes]] = {part: [] for part in parts}
            deadline = time.monotonic() + 60
            while any(consumer.position(part) < ends[part] for part in parts):
                assert time.monotonic() < deadline
                for part, records in consumer.poll(timeout_ms=500).items():
                    found[part] += [record.value or b"" for record in records]
            return [value for part in parts for value in found[part]]
        finally:
            consumer.close()


def _feed_key(row: bytes) -> bytes:
    try:
        value = json.loads(row)
        return str(value["entry_id"]).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return hashlib.sha256(row).digest()


# -- the comparison --------------------------------------------------------------------------------


@dataclass
class Books:
    """What must stand in the books after all that was acknowledged."""

    recount: Recount
    requests: list[tuple[Sent, Expected]] = field(default_factory=list)
    feeds: dict[str, Counter[str]] = field(default_factory=dict)
    feed_dead: dict[str, list[bytes]] = field(default_factory=dict)

    def take(self, done: Iterable[Sent | Put]) -> None:
        for one in done:
            if isinstance(one, Put):
                self.recount.put_merchants(one.rows)
                continue
            expected = self.recount.request(
                one.sender, one.form, one.body, one.key, recorded_on=one.recorded_on
            )
            self.requests.append((one, expected))

    def take_feed(self, feed: Feed, records: list[bytes]) -> None:
        verdicts = self.feeds.setdefault(feed.platform, Counter())
        dead = self.feed_dead.setdefault(feed.platform, [])
        for record in records:
            verdict = self.recount.feed(feed.platform, record)
            verdicts[verdict] += 1
            if verdict in ("rejected", "conflict"):
                dead.append(record)

    def total(self, name: str) -> int:
        """`booked`, `duplicates`, `conflicts`, `rejected` over all doors, each receipt once."""
        word = {"duplicates": "duplicate", "conflicts": "conflict"}.get(name, name)
        of_feeds = sum(verdicts[word] for verdicts in self.feeds.values())
        return of_feeds + sum(getattr(e, name) for _, e in self.requests if not e.repeated)


def compare_cells(yumai: Yumai, books: Books, grains: Iterable[str] = ("day", "hour")) -> None:
    for grain in grains:
        assert_cells(yumai.cells(grain), books.recount.cells(grain), grain)


def assert_cells(found: dict[Any, Cell], expected: dict[Any, Cell], what: str) -> None:
    wrong = {
        at: (found.get(at), expected.get(at))
        for at in found.keys() | expected.keys()
        if found.get(at) != expected.get(at)
    }
    fen = sum(c.net_fen for c in found.values()) - sum(c.net_fen for c in expected.values())
    entries = sum(c.entries for c in found.values()) - sum(c.entries for c in expected.values())
    some = "\n".join(f"{at}: found {f}, recount {e}" for at, (f, e) in sorted(wrong.items())[:10])
    assert not wrong, (
        f"{what}: {len(wrong)} of {len(expected)} cells differ, in all by {fen} fen and "
        f"{entries} entries (found − recount)\n{some}"
    )


def compare_receipts(yumai: Yumai, books: Books, rows_of: int = 25) -> None:
    """Every receipt as acknowledged and as booked; of some, which rows were set aside and why."""
    with_rows = 0
    for sent, expected in books.requests:
        receipt_id = sent.answer["receipt_id"]
        for name in ("received", "accepted", "rejected"):
            assert sent.answer[name] == getattr(expected, name), (receipt_id, name, sent.form)
        indexes = [error["index"] for error in sent.answer["errors"]]
        assert indexes == [bad.index for bad in expected.bad[:100]], receipt_id
        assert sent.answer["errors_truncated"] == (expected.rejected > 100)
        for error, bad in zip(sent.answer["errors"], expected.bad, strict=False):
            assert _fits(error["field"], error["code"], bad.faults), (receipt_id, error, bad)
        found = yumai.receipt(receipt_id)
        assert found["state"] == "booked", found
        for name in ("received", "accepted", "rejected", "booked", "duplicates", "conflicts"):
            assert found[name] == getattr(expected, name), (receipt_id, name, found, sent.form)
        aside = expected.rejected + expected.duplicates + expected.conflicts
        if aside and with_rows < rows_of:
            with_rows += 1
            _compare_rows(yumai, receipt_id, expected)


def _fits(field: str | None, code: str, faults: Iterable[tuple[str | None, str]]) -> bool:
    """What is said of a row is one of the things that are wrong with it."""
    # The contract leaves open what too many tags are called.
    return (field, code) in faults or (field, code, ("scene_tags", "invalid_value") in faults) == (
        "scene_tags", "too_long", True,
    )  # fmt: skip


def _compare_rows(yumai: Yumai, receipt_id: str, expected: Expected) -> None:
    url = f"{yumai.ingest}/v1/receipts/{receipt_id}/rows"
    for verdict, rows in (
        ("rejected", [bad.index for bad in expected.bad]),
        ("duplicate", expected.duplicate_rows),
        ("conflict", expected.conflict_rows),
    ):
        data = yumai.get(url, verdict=verdict)["data"]
        assert [row["index"] for row in data] == rows, (receipt_id, verdict)


def compare_totals(yumai: Yumai, books: Books, keys: dict[str, str], most: int = 150) -> None:
    """Control totals of each platform, asked with its own key; `most` days at most, spread."""
    asked = [(p, d) for p in sorted(keys) for d in books.recount.days()]
    for platform, day in asked[:: max(len(asked) // most, 1)]:
        found = yumai.get(f"{yumai.ingest}/v1/control-totals", keys[platform], date=day)
        expected = books.recount.control_totals(platform, day)
        for name, value in vars(expected).items():
            assert found[name] == value, (platform, day, name, found, expected)


def compare_dead_letters(yumai: Yumai, books: Books) -> None:
    """Every bad row's own bytes, each (receipt, row) once; conflicts too."""
    conflict: tuple[tuple[str | None, str], ...] = (("entry_id", "conflict"), (None, "conflict"))
    wanted: dict[tuple[str, int], tuple[Any, bytes | None]] = {}
    for sent, expected in books.requests:
        receipt_id = sent.answer["receipt_id"]
        for bad in expected.bad:
            wanted[receipt_id, bad.index] = (bad.faults, bad.raw)
        if expected.conflict_rows and not expected.repeated:
            raws = [raw for _, raw in recounting._rows(sent.body, sent.form)]
            for row in expected.conflict_rows:
                wanted[receipt_id, row] = (conflict, raws[row])
    letters = [
        letter
        for letter in yumai.json("dead-letters", "list", "--bytes")
        if letter["platform_id"] != CANARY
    ]
    found = {(letter["receipt_id"], letter["row"]): letter for letter in letters}
    assert len(found) == len(letters), "a dead letter twice"
    for at, (faults, raw) in wanted.items():
        assert at in found, f"no dead letter {at} {faults} {raw!r}"
        letter = found.pop(at)
        assert _fits(letter["field"], letter["code"], faults), (at, faults, letter)
        _check_bytes(letter, raw)
    by_platform: dict[str, list[dict[str, Any]]] = {}
    for letter in found.values():
        by_platform.setdefault(letter["platform_id"], []).append(letter)
    for platform, rows in books.feed_dead.items():
        rest = by_platform.pop(platform, [])
        shas = Counter(hashlib.sha256(row).hexdigest() for row in rows)
        assert Counter(letter["sha256"] for letter in rest) == shas, platform
        raws = {hashlib.sha256(row).hexdigest(): row for row in rows}
        for letter in rest:
            _check_bytes(letter, raws[letter["sha256"]])
    left = [letter for rest in by_platform.values() for letter in rest]
    assert not left, f"{len(left)} dead letters of nothing sent: {left[:3]}"


def _check_bytes(letter: dict[str, Any], raw: bytes | None) -> None:
    held = base64.b64decode(letter["bytes"])
    if raw is None:  # of Arrow and Parquet: a stream of the one row
        if letter["size"] <= 65_536:
            with pa.ipc.open_stream(held) as reader:
                assert reader.read_all().num_rows == 1
            assert letter["sha256"] == hashlib.sha256(held).hexdigest()
        return
    assert letter["size"] == len(raw), (letter["receipt_id"], letter["row"], held[:200], raw[:200])
    assert held == raw[:65_536], (letter["receipt_id"], letter["row"], held[:200], raw[:200])
    assert letter["sha256"] == hashlib.sha256(raw).hexdigest()


def compare_counts(yumai: Yumai, books: Books) -> None:
    """`status` of the whole ledger; canaries are booked too."""
    counts = yumai.status()["counts"]
    canaries = sum(
        row["entries"]
        for row in yumai.get(f"{yumai.gateway}/v1/cells", platform=CANARY, group_by="platform")[
            "data"
        ]
    )
    assert counts == {
        "booked": books.total("booked") + canaries,
        "duplicate": books.total("duplicates"),
        "conflicting": books.total("conflicts"),
        "dead": books.total("rejected"),
    }


def audit(yumai: Yumai) -> dict[str, Any]:
    """Exit code 0, and not a fen of difference."""
    report = yumai.json("audit", seconds=600)
    assert report["difference_fen"] == 0
    return report


def compare(yumai: Yumai, books: Books, keys: dict[str, str]) -> None:
    """Everything that the recount knows."""
    compare_cells(yumai, books)
    compare_receipts(yumai, books)
    compare_totals(yumai, books, keys)
    compare_dead_letters(yumai, books)
    compare_counts(yumai, books)
    audit(yumai)


# -- what is sent ----------------------------------------------------------------------------------


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def renamed(batch: pa.RecordBatch, suffix: str) -> pa.RecordBatch:
    """The same entries of platforms of another name."""
    names = batch.column("platform_id").to_pylist()
    at = batch.schema.get_field_index("platform_id")
    return batch.set_column(at, "platform_id", pa.array([name + suffix for name in names]))


def pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches([batch])
    for start in range(0, len(batch), rows):
        yield table.slice(start, rows).combine_chunks().to_batches()[0]


class Together:
    """Threads of which a failure is not lost."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []

    def go(self, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as failure:
                self.failures.append(failure)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self.check()
        assert not any(t.is_alive() for t in self._threads), f"still at work after {seconds} s"

    def check(self) -> None:
        if self.failures:
            raise self.failures[0]

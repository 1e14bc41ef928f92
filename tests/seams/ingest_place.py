"""A broker, a store and an ingest of one's own, which may be killed, and what stands in the log."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition

from console.running import leash, probes
from contracts.dead_letters import codec as dead_codec
from contracts.entries import codec
from tests import documented
from tests.conftest import ROOT, free_port
from yumai import topics
from yumai.access import Identity
from yumai.broker import epochs, provision
from yumai.store.migrate import migrate

ENTRY = {
    "entry_id": "e1",
    "platform_id": "p1",
    "merchant_id": "m1",
    "occurred_at": "2026-01-31T13:05:06.789+08:00",
    "kind": "sale",
    "amount_fen": 1250,
}


def entry(entry_id: str, **said: Any) -> dict[str, Any]:
    return {k: v for k, v in (ENTRY | {"entry_id": entry_id} | said).items() if v is not ...}


def ndjson(*rows: dict[str, Any] | bytes) -> bytes:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return b"\n".join(lines)


def _is_documented(answer: httpx.Response) -> None:
    answer.read()
    documented.check("ingest", answer)


@dataclass
class Record:
    partition: int
    offset: int
    headers: dict[str, str]
    rows: list[dict[str, Any]]
    sent: pa.Array
    metadata: dict[str, str]


@dataclass
class Place:
    folder: Path
    dsn: str
    kafka_port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    session_timeout: str = "3"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __post_init__(self) -> None:
        self.identity = Identity(self.folder / "identity")
        self.key = self.identity.issue_key("p1")
        self.other_key = self.identity.issue_key("p2")
        self.bureau = self.identity.issue_token("bureau")
        self.http = httpx.Client(
            base_url=self.url,
            timeout=30,
            trust_env=False,
            event_hooks={"response": [_is_documented]},
        )

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        command = [sys.executable, "-I", "-S", leash.__file__, "run", str(os.getpid())]
        command += [sys.executable, "-m", *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip

    def start_broker(self) -> None:
        arguments = ["embedded.broker", "--plaintext", "--data-dir", str(self.folder / "kafka")]
        arguments += [
            "--port",
            str(self.kafka_port),
            "--controller-port",
            str(self.controller_port),
        ]
        self._start("broker", arguments, {})
        wait(lambda: probes.broker(self.bootstrap).healthy, 90)

    def start_ingest(self) -> None:
        self._start(
            "ingest",
            ["services.ingest"],
            {
                "KAFKA_BOOTSTRAP": self.bootstrap,
                "CLICKHOUSE_DSN": self.dsn,
                "YUMAI_IDENTITY_DIR": str(self.folder / "identity"),
                "YUMAI_PORT": str(self.port),
                "YUMAI_SESSION_TIMEOUT": self.session_timeout,
            },
        )
        wait(self.is_ready, 40)

    def is_ready(self) -> bool:
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        """kill -9, and everything it started."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def post(self, body: bytes, media_type: str = "application/x-ndjson", key: str | None = None,
             **headers: str) -> httpx.Response:  # fmt: skip
        said = {"Authorization": f"Bearer {key or self.key}", "Content-Type": media_type}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/v1/entries", content=body, headers=said)

    def get(self, path: str, key: str | None = None, **parameters: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return self.http.get(path, params=parameters, headers=headers)

    def put_merchants(self, rows: list[dict[str, Any]], key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.bureau}"}
        return self.http.put("/v1/merchants", json=rows, headers=headers)

    def _read(self, topic: str) -> Iterator[Any]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        try:
            numbers = consumer.partitions_for_topic(topic) or set()
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(p) < ends[p] for p in partitions):
                for records in consumer.poll(timeout_ms=500).values():
                    yield from records
        finally:
            consumer.close()

    def log(self, receipt_id: str | None = None) -> list[Record]:
        """Records of `entries.v1`, only those with rows of the receipt."""
        found = []
        for record in self._read(topics.ENTRIES.name):
            rows = codec.decode(record.value).to_pylist()
            if receipt_id and bytes.fromhex(receipt_id) not in {row["receipt"] for row in rows}:
                continue
            sent, metadata = codec.decode_sent(record.value)
            headers = {name: value.decode() for name, value in record.headers}
            found.append(Record(record.partition, record.offset, headers, rows, sent, metadata))
        return found

    def rows(self, receipt_id: str) -> list[dict[str, Any]]:
        rows = [row for record in self.log(receipt_id) for row in record.rows]
        return sorted((r for r in rows if r["receipt"].hex() == receipt_id), key=lambda r: r["row"])

    def dead(self, receipt_id: str) -> list[dict[str, Any]]:
        rows = [
            row
            for record in self._read(topics.DEAD_LETTERS.name)
            for row in dead_codec.decode(record.value).to_pylist()
        ]
        return [row for row in rows if row["receipt"].hex() == receipt_id]


def wait(done, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@contextmanager
def place_of(folder: Path, dsn: str) -> Iterator[Place]:
    place = Place(folder, dsn)
    try:
        place.start_broker()
        provision.ensure(place.bootstrap, (*topics.TOPICS, topics.feed("p1")))
        migrate(dsn)
        epochs.ensure(place.bootstrap, dsn)
        place.start_ingest()
        yield place
    finally:
        for name in list(place.processes):
            place.kill(name)

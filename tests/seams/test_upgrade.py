"""An installation whose log and ledger were written by version 1 of the record, run by today's programs.

The log holds the stored examples of version 1; the store what the programs of then made of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer

from contracts.entries import codec
from contracts.entries.ids import id_of
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge
from services.ingest.rounds import messages
from tests.conftest import ROOT, free_port
from tests.seams.ingest_place import Place, entry, ndjson, wait
from yumai import topics
from yumai.broker import epochs, provision
from yumai.entry import BLOCK_OFFSETS
from yumai.observability import tracing
from yumai.store.audit import audit
from yumai.store.client import connect
from yumai.store.migrate import migrate

EXAMPLES = ROOT / "contracts/entries/examples/version-1"
HELD: dict[str, list[dict[str, Any]]] = json.loads((EXAMPLES / "entries.json").read_text("utf-8"))
NOW_MS = 1_782_864_000_000
LATER = "kafka"
"""Of this format the entries come by today's ingest first, and then as version 1."""


class Installation(Place):
    """One partition, of an epoch that was begun with the slot function of then."""

    def begin(self) -> None:
        self.start_broker()
        one = replace(topics.ENTRIES, partitions=1)
        provision.ensure(self.bootstrap, (one, *(t for t in topics.TOPICS if t != topics.ENTRIES)))
        migrate(self.dsn)
        self.producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        topic_id, _ = epochs.topic_state(self.bootstrap)
        self.epoch = epochs.Epoch(1, topic_id, 1, "murmur3-720")
        value = json.dumps(asdict(self.epoch)).encode()
        self.producer.send(topics.EPOCHS.name, key=b"1", value=value).get(10)
        assert epochs.ensure(self.bootstrap, self.dsn) == self.epoch

    def log_example(self, name: str) -> None:
        header = codec.Header(1, len(HELD[name]), slots="murmur3-720", version="1")
        value = (EXAMPLES / f"{name}.arrows").read_bytes()
        self._append(header.to_kafka(), value)

    def log_today(self, rows: list[dict[str, Any]]) -> None:
        """As today's ingest logs these rows in this epoch."""
        columns = formats.read("ndjson", ndjson(*rows)).columns
        assert columns is not None
        request = Request(random.Random(json.dumps(rows)).randbytes(16), None, "ndjson", columns)
        chunk = judge([request], MerchantIndex(), 1, NOW_MS, self.epoch.slot_function)
        for message in messages(chunk, 1, [request], tracing.NOTHING):
            self._append(message.headers, message.value.to_pybytes())

    def _append(self, headers, value: bytes) -> None:
        self.end = self.producer.send(
            topics.ENTRIES.name, value, headers=list(headers), partition=0
        ).get(10).offset + 1  # fmt: skip

    def book(self, client: Client) -> None:
        """Runs metrics until all of the log is written."""
        environment = {
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "CLICKHOUSE_DSN": self.dsn,
            "YUMAI_WORKER": "metrics-1",
            "YUMAI_WORK_DIR": str(self.folder / "work"),
            "YUMAI_PORT": str(free_port()),
        }
        self._start("metrics", ["services.metrics"], environment)
        query = f"SELECT max(last_offset) FROM blocks FINAL WHERE block = {(self.end - 1) // BLOCK_OFFSETS}"
        try:
            wait(lambda: client.query(query).result_rows[0][0] == self.end - 1, 90)
        finally:
            self.kill("metrics")


@pytest.fixture
def installation(tmp_path: Path, store: str, unique: str) -> Iterator[Installation]:
    place = Installation(tmp_path, f"{store}/{unique}")
    try:
        place.begin()
        yield place
    finally:
        for name in list(place.processes):
            place.kill(name)


def age(client: Client, rows: list[dict[str, Any]]) -> None:
    """The store as the programs of then had left it: their ids, their function's version."""
    for row in rows:
        old = "murmurHash3_128(concat({p:String}, '\\x1f', {e:String}))"
        client.command(
            f"ALTER TABLE entries UPDATE id = {old} WHERE id = unhex({{id:String}})",
            parameters={
                "p": row["platform_id"],
                "e": row["entry_id"],
                "id": id_of(row["platform_id"], row["entry_id"]).hex(),
            },
            settings={"mutations_sync": 2},
        )
    client.command(
        "ALTER TABLE blocks UPDATE function_version = 1 WHERE 1", settings={"mutations_sync": 2}
    )


def ids(client: Client) -> set[bytes]:
    rows = client.query("SELECT lower(hex(id)) FROM entries FINAL").result_rows
    return {bytes.fromhex(row[0]) for row in rows}


def verdicts(client: Client) -> dict[str, int]:
    query = "SELECT toString(verdict), count() FROM verdicts FINAL GROUP BY 1"
    return {str(verdict): int(count) for verdict, count in client.query(query).result_rows}


def test_what_version_1_wrote_meets_its_duplicates_and_conflicts(
    installation: Installation,
) -> None:
    place, client = installation, connect(installation.dsn)
    before = [name for name in HELD if name != LATER]
    rows = [row for name in before for row in HELD[name]]
    for name in before:
        place.log_example(name)
    # More than a block, so that there are complete ones: the same deliveries once more.
    for _ in range(BLOCK_OFFSETS // len(before) + 5):
        for name in before:
            place.log_example(name)
    place.book(client)
    count = len(rows)
    assert client.query("SELECT count() FROM entries FINAL").result_rows == [(count,)]
    assert verdicts(client) == {}
    age(client, rows)
    assert not ids(client) & {id_of(r["platform_id"], r["entry_id"]) for r in rows}

    # the same entries sent again, half of them changed, and new ones, by today's ingest
    changed = [row | {"amount_fen": row["amount_fen"] + 1} for row in rows[::2]]
    place.log_today(rows[1::2] + changed)
    place.log_today(HELD[LATER])
    # a replica of the earlier version still sends what today's has sent
    place.log_example(LATER)
    place.book(client)

    rows += HELD[LATER]
    assert ids(client) == {id_of(r["platform_id"], r["entry_id"]) for r in rows}
    assert client.query("SELECT count() FROM entries FINAL").result_rows == [(len(rows),)]
    assert verdicts(client) == {
        "duplicate": count - len(changed) + len(HELD[LATER]),
        "conflict": len(changed),
    }
    versions = client.query("SELECT DISTINCT function_version FROM blocks FINAL").result_rows
    assert versions == [(2,)]
    merchants = client.query(
        "SELECT DISTINCT merchant FROM entries FINAL WHERE platform = 'unipay' AND amount_fen = 7"
    ).result_rows
    assert merchants == [(int.from_bytes(id_of("unipay", "商户 2")[:8], "little"),)]
    report = audit(client)
    assert (report.ok, report.difference_fen, report.entries) == (True, 0, len(rows))


def test_ingest_keeps_to_the_slots_of_a_log_that_was_begun_before(
    installation: Installation,
) -> None:
    place = installation
    place.start_ingest()
    assert place.post(ndjson(entry("e1"), entry("e2"))).status_code == 200
    (record,) = place.log()
    assert (record.headers["v"], record.headers["slots"]) == ("2", "murmur3-720")
    assert {row["id"] for row in record.rows} == {id_of("p1", "e1"), id_of("p1", "e2")}

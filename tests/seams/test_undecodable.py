"""What a client library can't unpack is read past: named, counted, and nothing stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import cramjam
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from kafka import KafkaConsumer, TopicPartition

from tests.conftest import free_port
from tests.seams.ingest_place import Place, entry, ndjson, wait
from tests.seams.raw_produce import batch, produce, record
from yumai import topics
from yumai.broker import epochs, provision
from yumai.broker.security import client_options
from yumai.broker.undecodable import UNREADABLE
from yumai.store.client import connect
from yumai.store.migrate import migrate
from yumai.topics import Topic

NO_TEXT = [(b"\xff\xfe", b"x")]


def torn(before: bytes = b"a") -> bytes:
    """A record, then one whose header's name is no text, then a third: in one batch."""
    return batch(record(0, before) + record(1, b"b", NO_TEXT) + record(2, b"c"), 3)


@pytest.fixture
def topic(kafka: str, unique: str) -> str:
    provision.ensure(kafka, (Topic(unique, 1, "", ""),))
    return unique


def fill(kafka: str, topic: str) -> None:
    produce(kafka, topic, torn())
    produce(kafka, topic, batch(record(0, b"d"), 1))
    # Snappy: aiokafka unpacks it, kafka-python needs a module that is not installed.
    produce(kafka, topic, batch(bytes(cramjam.snappy.compress_raw(record(0, b"s"))), 1, 2))
    produce(kafka, topic, batch(record(0, b"e"), 1))


def test_kafka_python_reads_what_can_be_read(kafka: str, topic: str) -> None:
    fill(kafka, topic)
    consumer = KafkaConsumer(**client_options(kafka), auto_offset_reset="earliest")
    try:
        part = TopicPartition(topic, 0)
        consumer.assign([part])
        end = consumer.end_offsets([part])[part]
        values, deadline = [], time.monotonic() + 20
        while consumer.position(part) < end:
            assert time.monotonic() < deadline, values
            values += [r.value for r in consumer.poll(timeout_ms=500).get(part, ())]
        assert [v for v in values if v != b"s"] == [b"a", b"d", b"e"]
    finally:
        consumer.close()


def test_aiokafka_reads_what_can_be_read(kafka: str, topic: str) -> None:
    fill(kafka, topic)

    async def read() -> list[bytes | None]:
        consumer = AIOKafkaConsumer(**client_options(kafka), auto_offset_reset="earliest")
        await consumer.start()
        try:
            part = TopicPartition(topic, 0)
            consumer.assign([part])
            values: list[bytes | None] = []
            async with asyncio.timeout(20):
                end = (await consumer.end_offsets([part]))[part]
                while await consumer.position(part) < end:
                    for records in (await consumer.getmany(timeout_ms=500)).values():
                        values += [r.value for r in records]
            return values
        finally:
            await consumer.stop()

    assert asyncio.run(read()) == [b"a", b"d", b"s", b"e"]


def test_the_ledgers_log_says_that_there_is_what_nobody_can_read(kafka: str) -> None:
    provision.ensure(kafka, (topics.ENTRIES,))
    at = produce(kafka, topics.ENTRIES.name, torn(), partition=3)
    consumer = KafkaConsumer(**client_options(kafka))
    try:
        part = TopicPartition(topics.ENTRIES.name, 3)
        consumer.assign([part])
        consumer.seek(part, at)
        found, deadline = [], time.monotonic() + 20
        while consumer.position(part) < at + 3:
            assert time.monotonic() < deadline
            found += consumer.poll(timeout_ms=500).get(part, ())
        assert [(r.offset, r.value) for r in found] == [(at, b"a"), (at + 1, None)]
        assert "utf-8" in dict(found[1].headers)[UNREADABLE].decode()
        assert found[1].timestamp > 0
    finally:
        consumer.close()


class Installation(Place):
    def start_metrics(self) -> int:
        port = free_port()
        environment = {
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "CLICKHOUSE_DSN": self.dsn,
            "YUMAI_WORKER": "metrics-1",
            "YUMAI_WORK_DIR": str(self.folder / "work"),
            "YUMAI_PORT": str(port),
        }
        self._start("metrics", ["services.metrics"], environment)
        return port


@pytest.fixture
def installation(tmp_path: Path, store: str, unique: str) -> Iterator[Installation]:
    place = Installation(tmp_path, f"{store}/{unique}")
    try:
        place.start_broker()
        provision.ensure(place.bootstrap)
        migrate(place.dsn)
        epochs.ensure(place.bootstrap, place.dsn)
        place.start_ingest()
        yield place
    finally:
        for name in list(place.processes):
            place.kill(name)


def test_a_partition_of_the_ledgers_log_stops_there_and_the_others_go_on(
    installation: Installation,
) -> None:
    place = installation
    at = produce(place.bootstrap, topics.ENTRIES.name, batch(record(0, b"b", NO_TEXT), 1), 2)
    port = place.start_metrics()

    def stopped() -> dict[str, str]:
        try:
            said = httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).json()
        except httpx.TransportError:
            return {}
        return {
            what: why for what, why in said.get("waiting_for", {}).items() if "partition" in what
        }

    wait(stopped, 60)
    assert list(stopped()) == ["partition 2"]
    assert f"offset {at}" in stopped()["partition 2"]
    answer = place.post(ndjson(*(entry(f"e{n}") for n in range(200))))
    assert answer.status_code == 200
    # A partition has a quarter of the slots or so: the others are booked.
    client = connect(place.dsn)
    wait(lambda: client.query("SELECT count() FROM entries").result_rows[0][0] >= 100, 60)
    assert list(stopped()) == ["partition 2"]


def test_small_topics_with_such_a_batch_stop_no_service(
    installation: Installation,
) -> None:
    place = installation
    for topic in topics.TOPICS:
        if topic is not topics.ENTRIES:
            produce(place.bootstrap, topic.name, batch(record(0, b"b", NO_TEXT, b"k"), 1))
    place.kill("ingest")
    place.start_ingest()
    assert place.post(ndjson(entry("after"))).status_code == 200

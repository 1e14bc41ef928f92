"""Apache Kafka as we run it: it keeps what it acknowledged and is back soon."""

import os
import signal
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from console.running import probes
from embedded import kafka_jars
from tests.conftest import free_port, running
from yumai.topics import MESSAGE_MAX_BYTES


def create(bootstrap: str, topic: str, partitions: int = 1, **settings: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    topic_settings = {name.replace("_", "."): value for name, value in settings.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=topic_settings)])
    admin.close()


def read_all(bootstrap: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, fetch_max_bytes=64 * 2**20)
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    values: list[bytes] = []
    deadline = time.monotonic() + 30
    while any(consumer.position(p) < ends[p] for p in partitions):
        assert time.monotonic() < deadline
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    consumer.close()
    return values


def test_the_locked_jars_are_one_version_of_kafka() -> None:
    jars = kafka_jars.read_lock(kafka_jars.LOCK.read_text())
    kafka = [j.coordinates for j in jars if j.coordinates.startswith("org.apache.kafka:")]
    assert len(jars) == 46
    assert {name.split(":")[2] for name in kafka} == {kafka_jars.VERSION}
    assert {
        f"org.apache.kafka:{a}:{kafka_jars.VERSION}" for a in ("kafka-clients", "kafka_2.13")
    } <= {*kafka}


def test_a_record_of_a_largest_round_passes(kafka: str, unique: str) -> None:
    create(kafka, unique)
    producer = KafkaProducer(bootstrap_servers=kafka, max_request_size=32 * 2**20)
    value = os.urandom(MESSAGE_MAX_BYTES - 1024)
    producer.send(unique, value).get(30)
    producer.close()
    assert read_all(kafka, unique) == [value]


def test_a_topic_that_nobody_made_is_not_made_by_asking(kafka: str, unique: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    assert unique not in consumer.topics()
    consumer.partitions_for_topic(unique)
    time.sleep(0.3)
    assert unique not in consumer.topics()
    consumer.close()


@pytest.mark.timeout(120)
def test_killed_with_9_it_is_back_within_10_s_with_all_it_acknowledged(
    tmp_path: Path, unique: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    arguments = ["embedded.broker", "--plaintext", "--data-dir", str(tmp_path / "kafka")]
    arguments += ["--port", address.split(":")[1], "--controller-port", str(free_port())]

    def healthy() -> bool:
        return probes.broker(address).healthy

    acknowledged: list[bytes] = []
    for life in range(3):
        began = time.monotonic()
        with running(arguments, tmp_path / "log", healthy) as process:
            if life == 0:
                create(address, unique, partitions=4)
            else:
                assert time.monotonic() - began < 10
            # The pid is the one that does the work.
            assert Path(f"/proc/{process.pid}/exe").resolve().name == "java"
            producer = KafkaProducer(bootstrap_servers=address, acks="all", retries=0)
            sent = [(f"{life}/{n}".encode(),) for n in range(2_000)]
            futures = [producer.send(unique, *value) for value in sent]
            for value, future in zip(sent, futures, strict=True):
                future.get(30)
                acknowledged += value
            os.kill(process.pid, signal.SIGKILL)
            producer.close(timeout=0)
    with running(arguments, tmp_path / "log", healthy):
        assert sorted(read_all(address, unique)) == sorted(acknowledged)


def test_a_clean_stop_is_quick(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    arguments = ["embedded.broker", "--plaintext", "--data-dir", str(tmp_path / "kafka")]
    arguments += ["--port", address.split(":")[1], "--controller-port", str(free_port())]
    with running(arguments, tmp_path / "log", lambda: probes.broker(address).healthy) as process:
        process.terminate()
        process.wait(10)

"""The figures behind `status`: true while all is well, honest and in time while something is away."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from console.running import probes
from contracts.commits import codec as commits
from tests.conftest import free_port, running
from yumai import topics
from yumai.broker import epochs, principals, provision, status_figures
from yumai.store.client import connect
from yumai.store.migrate import migrate


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of our own: what others leave in feeds and commits would count here."""
    folder, port = tmp_path_factory.mktemp("kafka"), free_port()
    arguments = [
        "embedded.broker",
        "--plaintext",
        "--data-dir",
        str(folder / "data"),
        "--port",
        str(port),
    ]
    arguments += ["--controller-port", str(free_port())]
    address = f"127.0.0.1:{port}"
    with running(arguments, folder / "broker.log", lambda: probes.broker(address).healthy):
        yield address


@pytest.fixture
def dsn(store: str, unique: str, kafka: str) -> Iterator[str]:
    dsn = f"{store}/{unique}"
    provision.ensure(kafka)
    migrate(dsn)
    yield dsn
    client = connect(dsn)
    client.command(f"DROP DATABASE {unique}")
    client.close()


def send(kafka: str, topic: str, *values: bytes, partition: int = 0) -> int:
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for value in values:
        sent = producer.send(topic, value, partition=partition)
    offset = sent.get(timeout=10).offset
    producer.close()
    return offset + 1


def announce(dsn: str, epoch: int, part: int, next_offset: int, entries: int) -> None:
    names = "epoch part block last_offset entries net_fen complete function_version written_at"
    row = [epoch, part, 0, next_offset - 1, entries, 0, 0, 1, datetime.now(UTC)]
    client = connect(dsn)
    client.insert("blocks", [row], column_names=names.split(" "))
    client.close()


def test_lag_is_the_ends_minus_what_is_announced(dsn: str, kafka: str, unique: str) -> None:
    epoch = epochs.ensure(kafka, dsn).epoch
    for part in range(topics.ENTRIES.partitions):
        announce(dsn, epoch, part, send(kafka, "entries.v1", b"x", b"y", partition=part), 10)
    feed = topics.feed(unique)
    provision.ensure(kafka, (feed,))
    assert status_figures.read(kafka, dsn, 10.0)["lag"]["records"] == 0
    assert status_figures.read(kafka, dsn, 10.0)["lag"]["seconds"] == 0

    end = send(kafka, "entries.v1", b"1", b"2", b"3", partition=2)
    send(kafka, feed.name, b"1", b"2", partition=1)
    time.sleep(0.3)
    found = status_figures.read(kafka, dsn, 10.0)
    assert found["problems"] == []
    assert found["lag"]["partitions"] == {"0": 0, "1": 0, "2": 3, "3": 0}
    assert found["lag"]["feeds"][feed.name] == 2
    assert found["lag"]["records"] == 5
    assert 0.3 <= found["lag"]["seconds"] < 30
    assert found["counts"] == {"booked": 40, "duplicate": 0, "conflicting": 0, "dead": 0}

    announce(dsn, epoch, 2, end, 25)
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=principals.FEED_GROUP)
    part = TopicPartition(feed.name, 1)
    consumer.assign([part])
    consumer.commit({part: OffsetAndMetadata(2, "", -1)})
    consumer.close()
    found = status_figures.read(kafka, dsn, 10.0)
    assert found["lag"]["records"] == 0
    assert found["counts"]["booked"] == 55  # the block's row is replaced, not added


def test_counts_are_of_all_the_ledger_and_redelivery_is_not_counted(dsn: str, kafka: str) -> None:
    client = connect(dsn)
    now = datetime.now(UTC)
    names = ["receipt", "row", "verdict", "platform", "epoch", "part", "off", "recorded_at"]
    rows = [
        [b"r" * 16, row, v, "p", 1, 0, 9, now] for row, v in ((1, "duplicate"), (2, "conflict"))
    ]
    client.insert("verdicts", rows, column_names=names)
    client.insert("verdicts", rows, column_names=names)
    names = [
        "receipt",
        "row",
        "platform",
        "code",
        "field",
        "message",
        "at",
        "size",
        "sha256",
        "bytes",
    ]
    rows = [
        [b"r" * 16, row, "p", code, "", "", now, 1, b"s" * 32, b"\xff"]
        for row, code in ((2, "conflict"), (3, "not_json"), (4, "too_old"))
    ]
    client.insert("dead_letters", rows, column_names=names)
    client.insert("dead_letters", rows, column_names=names)
    client.close()
    counts = status_figures.read(kafka, dsn, 10.0)["counts"]
    assert counts == {"booked": 0, "duplicate": 1, "conflicting": 1, "dead": 2}


def test_the_rate_and_freshness_are_of_the_last_minute(dsn: str, kafka: str) -> None:
    now = int(time.time() * 1000)
    changes = [commits.Change("500101", "S01", 5, 400), commits.Change("500102", "S01", 5, 200)]
    commit = commits.Commit(
        1, 0, 0, 5, 600, 0, 0, 10, now - 1500, now, now - 1000, False, "metrics-1", changes
    )
    send(kafka, "commits.v1", commits.encode(commit), b"not a commit", commits.encode(commit))
    found = status_figures.read(kafka, dsn, 10.0)
    assert found["rates"]["entries_per_second"] == 20.0
    assert found["freshness"]["last_seconds"] == 1.5


def test_a_stopped_partition_is_a_problem_and_says_why(dsn: str, kafka: str) -> None:
    epoch = epochs.ensure(kafka, dsn).epoch
    client = connect(dsn)
    names = ["epoch", "part", "through", "next_offset", "worker", "stopped", "written_at"]
    at = datetime(2026, 5, 1, 8, tzinfo=UTC)
    rows = [[epoch, part, at, 5, "metrics-1", "", at] for part in range(4)]
    rows[3][5] = "record 7 has version 9: install a newer Yumai"
    client.insert("progress", rows, column_names=names)
    client.close()
    found = status_figures.read(kafka, dsn, 10.0)
    assert found["problems"] == [
        "partition 3 stands still: record 7 has version 9: install a newer Yumai"
    ]
    assert found["freshness"]["through"] == "2026-05-01T08:00:00.000+00:00"


def test_a_message_given_up_is_a_problem_until_the_day_after(dsn: str, kafka: str) -> None:
    now = datetime.now(UTC)
    names = "id office subscription source alert_id seq state attempts last_error created_at at"
    client = connect(dsn)
    rows: list[list[object]] = [
        ["a", "bureau", "hook", "", "", 1, "given_up", 9, "HTTP 500", now, now],
        ["b", "bureau", "gone", "", "", 1, "given_up", 0, "taken away", now, now],
        ["c", "bureau", "old", "", "", 1, "given_up", 9, "x", now, now - timedelta(days=2)],
        ["d", "bureau", "well", "", "", 1, "delivered", 9, "", now, now],
    ]
    client.insert("deliveries", rows, column_names=names.split())
    client.close()
    problems = status_figures.read(kafka, dsn)["problems"]
    assert problems == ["1 messages to bureau/hook given up within a day: HTTP 500"]


def test_what_is_away_is_unknown_and_said_in_time(dsn: str, kafka: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    start = time.monotonic()
    found = status_figures.read(nowhere, dsn, 1.5)
    assert time.monotonic() - start < 2.5
    assert found["lag"]["records"] is None
    assert found["counts"]["booked"] == 0
    assert [problem.split(":")[0] for problem in found["problems"]] == ["broker"]

    start = time.monotonic()
    found = status_figures.read(kafka, f"http://{nowhere}/x", 1.5)
    assert time.monotonic() - start < 2.5
    assert found["lag"]["records"] is None
    assert set(found["lag"]["partitions"]) == {"0", "1", "2", "3"}
    assert found["counts"]["booked"] is None
    assert [problem.split(":")[0] for problem in found["problems"]] == ["store"]


def test_a_store_that_knows_no_epoch_of_the_topic_has_announced_nothing(
    dsn: str, kafka: str
) -> None:
    announce(dsn, 77, 0, 5, 10)
    send(kafka, "entries.v1", b"x")
    assert status_figures.read(kafka, dsn, 10.0)["lag"]["partitions"]["0"] >= 1

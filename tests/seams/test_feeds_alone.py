"""Each platform's feed stands alone: what one of them holds is set aside, and the others are read."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import cramjam
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from services.ingest.receipts import feed_receipt
from tests.seams.ingest_place import Place, entry, place_of, wait
from tests.seams.raw_produce import batch, gzip_bomb, record
from tests.seams.raw_produce import produce as produce_raw
from tests.seams.test_ingest_feeds import booked, produce, raw, until_committed
from yumai import topics
from yumai.broker import lag, provision
from yumai.broker.epochs import topic_state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Place]:
    with place_of(tmp_path_factory.mktemp("feeds"), f"{store}/feeds_alone") as place:
        yield place


@pytest.fixture
def feed(place: Place, unique: str) -> str:
    """The topic of a platform of its own, named as the test's `unique`."""
    topic = topics.feed(unique)
    provision.ensure(place.bootstrap, (topic,))
    return topic.name


def letter(place: Place, topic: str, offset: int, partition: int = 0) -> dict:
    topic_id, _ = topic_state(place.bootstrap, topic)
    receipt = feed_receipt(topic, topic_id, partition, offset).hex()
    (found,) = [d for d in place.dead(receipt) if d["row"] == offset % (1 << 20)]
    return found


def resident_mb(place: Place) -> int:
    """Of the whole of ingest."""
    worst = 0
    pids = [place.processes["ingest"].pid]
    while pids:
        pid = pids.pop()
        status = Path(f"/proc/{pid}/status").read_text()
        worst += int(status.partition("VmRSS:")[2].split()[0]) // 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return worst


def test_a_header_key_that_is_not_utf8_is_nobodys_business(place: Place, feed: str, unique: str):
    value = raw(unique, platform_id=unique)
    records = record(0, value, [(b"\xff\xfe", b"x"), (b"", None)])
    offset = produce_raw(place.bootstrap, feed, batch(records, 1))
    until_committed(place, feed, offset + 1)
    assert [name for name, _, _ in booked(place, unique)] == [unique]


def test_a_hundred_thousand_headers_cost_nothing(place: Place, feed: str, unique: str):
    value = raw(unique, platform_id=unique)
    records = record(0, value, [(b"k", b"")] * 100_000)
    offset = produce_raw(place.bootstrap, feed, batch(records, 1))
    until_committed(place, feed, offset + 1, seconds=8)
    assert [name for name, _, _ in booked(place, unique)] == [unique]


def test_800_mb_behind_gzip_are_set_aside_and_others_are_read(place: Place, feed: str, unique: str):
    before = resident_mb(place)
    bomb = gzip_bomb(800 << 20)
    assert len(bomb) < 1_000_000
    offset = produce_raw(place.bootstrap, feed, bomb)
    other = topics.feed("p1").name
    (beside,) = produce(place, other, [raw(f"{unique}-beside")])
    (after,) = produce(place, feed, [raw(f"{unique}-after", platform_id=unique)])
    until_committed(place, other, beside + 1, seconds=5)
    until_committed(place, feed, after + 1, seconds=5)
    found = letter(place, feed, offset)
    assert (found["code"], found["platform"]) == ("batch_too_large", unique)
    assert f"{feed}/0 offsets {offset}–{offset}" in found["message"]
    assert found["size"] == len(bomb)
    assert found["bytes"][61:] == bomb[61 : 64 * 1024]  # the broker writes into the header
    assert {name for name, _, _ in booked(place, unique)} == {f"{unique}-beside", f"{unique}-after"}
    assert resident_mb(place) - before < 300


@pytest.mark.parametrize("form", ["raw", "xerial"])
def test_snappy_is_read(place: Place, feed: str, unique: str, form: str):
    records = record(0, raw(f"{unique}-0", platform_id=unique))
    records += record(1, raw(f"{unique}-1", platform_id=unique))
    packed = bytes(cramjam.snappy.compress_raw(records))
    if form == "xerial":
        packed = (
            b"\x82SNAPPY\0" + bytes([0, 0, 0, 1, 0, 0, 0, 1]) + len(packed).to_bytes(4) + packed
        )
    offset = produce_raw(place.bootstrap, feed, batch(packed, 2, 2))
    until_committed(place, feed, offset + 2)
    assert {name for name, _, _ in booked(place, unique)} == {f"{unique}-0", f"{unique}-1"}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_clients_compress_is_read(place: Place, feed: str, unique: str, codec: str):
    producer = KafkaProducer(
        bootstrap_servers=place.bootstrap, acks="all", linger_ms=50,
        compression_type=None if codec == "snappy" else codec,
    )  # fmt: skip
    sent = [
        producer.send(feed, raw(f"{unique}-{n}", platform_id=unique), partition=0)
        for n in range(500)
    ]
    producer.close()
    until_committed(place, feed, sent[-1].get(5).offset + 1)
    assert len(booked(place, unique)) == 500


def test_an_aborted_transaction_is_not_booked_and_no_marker_leaves_a_lag(
    place: Place, feed: str, unique: str
):
    producer = KafkaProducer(bootstrap_servers=place.bootstrap, transactional_id=unique)
    producer.init_transactions()
    for n, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.send(feed, raw(f"{unique}-{n}", platform_id=unique), partition=0)
        producer.flush()
        producer.commit_transaction() if commit else producer.abort_transaction()
    producer.close()

    def standing() -> int | None:
        deadline = time.monotonic() + 5
        admin = lag.connect(place.bootstrap, deadline)
        try:
            return lag.read(admin, place.bootstrap, lambda *_: {}, deadline).feeds[feed]
        finally:
            admin.close()

    until_committed(place, feed, 8)
    wait(lambda: standing() == 0, 10)
    assert {name for name, _, _ in booked(place, unique)} == {f"{unique}-0", f"{unique}-2"}


def test_a_feed_made_anew_is_read_from_its_first_record(place: Place, feed: str, unique: str):
    offsets = produce(place, feed, [raw(f"{unique}-old-{n}", platform_id=unique) for n in range(9)])
    until_committed(place, feed, offsets[-1] + 1)
    admin = KafkaAdminClient(bootstrap_servers=place.bootstrap)
    try:
        for round_number in range(2):
            admin.delete_topics([feed])
            wait(lambda: feed not in admin.list_topics(), 20)
            if round_number:
                time.sleep(3)  # ingest has seen that there is none
            provision.ensure(place.bootstrap, (topics.feed(unique),))
            names = [f"{unique}-new-{round_number}-{n}" for n in range(12)]
            produce(place, feed, [raw(name, platform_id=unique) for name in names])
            wait(lambda names=names: {n for n, _, _ in booked(place, unique)} >= set(names), 20)
    finally:
        admin.close()


def test_partitions_added_to_a_feed_are_read(place: Place, feed: str, unique: str):
    admin = KafkaAdminClient(bootstrap_servers=place.bootstrap)
    admin.create_partitions({feed: 3})
    admin.close()
    wait(lambda: topic_state(place.bootstrap, feed)[1] == 3, 10)
    (offset,) = produce(place, feed, [raw(unique, platform_id=unique)], partition=2)
    until_committed(place, feed, offset + 1, partition=2)
    assert len(booked(place, unique)) == 1


def test_records_deleted_before_they_were_read_are_told(place: Place, feed: str, unique: str):
    place.kill("ingest")
    try:
        offsets = produce(place, feed, [raw(f"{unique}-{n}", platform_id=unique) for n in range(5)])
        # It was there before: what it had not read is gone, by name.
        from kafka import KafkaConsumer
        from kafka.structs import OffsetAndMetadata

        topic_id, _ = topic_state(place.bootstrap, feed)
        where = TopicPartition(feed, 0)
        consumer = KafkaConsumer(bootstrap_servers=place.bootstrap, group_id="yumai-ingest-feeds")
        consumer.commit({where: OffsetAndMetadata(1, topic_id, -1)})
        consumer.close()
        admin = KafkaAdminClient(bootstrap_servers=place.bootstrap)
        admin.delete_records({where: offsets[3]})
        admin.close()
    finally:
        place.start_ingest()
    until_committed(place, feed, offsets[-1] + 1)
    found = letter(place, feed, 1)
    assert found["code"] == "records_deleted"
    assert "offsets 1–2" in found["message"]
    assert {n for n, _, _ in booked(place, unique)} == {f"{unique}-3", f"{unique}-4"}


def test_records_dated_long_ago_are_kept(place: Place, feed: str, unique: str):
    """Whatever their sender says of time: retention counts from when they came."""
    producer = KafkaProducer(bootstrap_servers=place.bootstrap)
    forty_days_ago = int((time.time() - 40 * 86_400) * 1000)
    sent = producer.send(
        feed, json.dumps(entry(unique, platform_id=unique)).encode(), partition=0,
        timestamp_ms=forty_days_ago,
    )  # fmt: skip
    producer.close()
    assert sent.get(5).timestamp > forty_days_ago + 39 * 86_400_000


def test_an_existing_feed_is_given_the_settings_that_it_should_have(place: Place, unique: str):
    topic = topics.feed(unique)
    admin = KafkaAdminClient(bootstrap_servers=place.bootstrap)
    admin.create_topics([NewTopic(topic.name, 1, 1, topic_configs={"retention.ms": "1000"})])
    assert topic.name in provision.settle_feeds(admin)
    assert provision.settle_feeds(admin) == []
    producer = KafkaProducer(bootstrap_servers=place.bootstrap)
    sent = producer.send(topic.name, b"x", partition=0, timestamp_ms=1)
    producer.close()
    admin.close()
    assert sent.get(5).timestamp > time.time() * 1000 - 60_000


@pytest.mark.slow
def test_a_backlog_of_one_feed_takes_turns_with_others(place: Place, feed: str, unique: str):
    place.kill("ingest")
    try:
        producer = KafkaProducer(
            bootstrap_servers=place.bootstrap, linger_ms=50, batch_size=256_000,
            compression_type="lz4",
        )  # fmt: skip
        for n in range(300_000):
            producer.send(feed, raw(f"{unique}-{n}", platform_id=unique), partition=0)
        producer.close()
        other = topics.feed("p1").name
        (beside,) = produce(place, other, [raw(f"{unique}-beside")])
    finally:
        place.start_ingest()
    until_committed(place, other, beside + 1, seconds=5)
    until_committed(place, feed, 300_000, seconds=60)

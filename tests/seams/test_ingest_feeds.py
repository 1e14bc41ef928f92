"""The Kafka door against a real broker: every record ends in the log or in the dead letters, once."""

import json
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from services.ingest.receipts import feed_receipt
from tests.seams.ingest_place import Place, entry, place_of, wait
from yumai import topics
from yumai.broker import provision
from yumai.broker.epochs import topic_state
from yumai.broker.principals import FEED_GROUP as GROUP


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Place]:
    with place_of(tmp_path_factory.mktemp("feeds"), f"{store}/ingest_feeds") as place:
        yield place


def produce(place: Place, topic: str, values: list[bytes | None], partition: int = 0) -> list[int]:
    """Offsets of the records."""
    producer = KafkaProducer(bootstrap_servers=place.bootstrap, acks="all", linger_ms=5)
    sent = [producer.send(topic, key=b"k", value=v, partition=partition) for v in values]
    producer.flush()
    producer.close()
    return [future.get(5).offset for future in sent]


def raw(entry_id: str, **said) -> bytes:
    return json.dumps(entry(entry_id, **said)).encode()


def until_committed(
    place: Place, topic: str, end: int, partition: int = 0, seconds: float = 20
) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=place.bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    try:
        where = TopicPartition(topic, partition)
        wait(lambda: (consumer.committed(where) or 0) >= end, seconds)
    finally:
        consumer.close()


def booked(place: Place, prefix: str) -> list[tuple[str, bytes, int]]:
    """(entry_id, receipt, row) of the feed's rows in the log, in the order of each partition."""
    found = []
    for record in place.log():
        if record.metadata["format"] != "kafka":
            continue
        for row, sent in zip(record.rows, record.sent.to_pylist(), strict=True):
            entry_id = json.loads(sent)["entry_id"]
            if entry_id.startswith(prefix):
                found.append((entry_id, row["receipt"], row["row"]))
    return found


def test_each_record_is_a_row_of_its_receipt_and_bad_ones_rest_as_they_came(place: Place, unique):
    topic = topics.feed("p1").name
    bad = [
        b"not json",
        None,
        raw(f"{unique}-other", platform_id="p2"),
        b"",
        b'{"a":\n1}',
        b"[]",
        b"\xff",
    ]
    pretty = json.dumps(entry(f"{unique}-pretty"), indent=1).encode()
    offsets = produce(place, topic, [raw(f"{unique}-0"), *bad, pretty, raw(f"{unique}-1")])
    until_committed(place, topic, offsets[-1] + 1)
    topic_id, _ = topic_state(place.bootstrap, topic)
    receipt = feed_receipt(topic, topic_id, 0, offsets[0])
    assert sorted(booked(place, unique)) == [
        (f"{unique}-0", receipt, offsets[0]),
        (f"{unique}-1", receipt, offsets[-1]),
        (f"{unique}-pretty", receipt, offsets[-2]),
    ]
    dead = {d["row"]: d for d in place.dead(receipt.hex())}
    assert [dead[o]["bytes"] for o in offsets[1:-2]] == [value or b"" for value in bad]
    codes = [
        "not_json",
        "not_json",
        "platform_mismatch",
        "not_json",
        "unknown_field",
        "not_object",
        "not_utf8",
    ]
    assert [dead[o]["code"] for o in offsets[1:-2]] == codes
    assert {d["platform"] for d in dead.values()} == {"p1"}


def test_a_new_feed_is_read_within_seconds(place: Place, unique):
    topic = topics.feed(unique)
    provision.ensure(place.bootstrap, (topic,))
    made = time.monotonic()
    (offset,) = produce(place, topic.name, [raw(unique, platform_id=unique)])
    until_committed(place, topic.name, offset + 1)
    assert time.monotonic() - made < 6
    assert len(booked(place, unique)) == 1


def test_order_within_a_feeds_partition_is_kept(place: Place, unique):
    topic = topics.feed("p1").name
    values = [raw(f"{unique}-same", amount_fen=n + 1) for n in range(3_000)]
    offsets = produce(place, topic, values, 1)
    until_committed(place, topic, offsets[-1] + 1, 1)
    rows = [row for _, _, row in booked(place, unique)]
    assert rows == offsets


def test_kills_of_ingest_and_broker_lose_nothing(place: Place, unique):
    topic = topics.feed("p1").name
    expected = set()
    last = 0
    for round_number, victim in enumerate(["ingest", "broker", "ingest"]):
        names = [f"{unique}-{round_number}-{n}" for n in range(20_000)]
        last = produce(place, topic, [raw(name) for name in names])[-1]
        expected.update(names)
        time.sleep(0.3 * round_number)
        place.kill(victim)
        if victim == "ingest":
            place.start_ingest()
        else:
            place.start_broker()
    until_committed(place, topic, last + 1, seconds=40)
    found = booked(place, unique)
    assert {entry_id for entry_id, _, _ in found} == expected
    # What was read twice has the same receipt and row: metrics knows it as delivered before.
    assert len(set(found)) == len(expected)


def test_a_feeds_receipt_is_shown_to_its_platform(place: Place, unique):
    topic = topics.feed("p1").name
    (offset,) = produce(place, topic, [b"nonsense " + unique.encode()])
    until_committed(place, topic, offset + 1)
    topic_id, _ = topic_state(place.bootstrap, topic)
    receipt = feed_receipt(topic, topic_id, 0, offset).hex()
    assert place.get(f"/v1/receipts/{receipt}").json()["format"] == "kafka"
    assert place.get(f"/v1/receipts/{receipt}", key=place.other_key).status_code == 404

"""Epochs: an epoch fixes the topic id and the partitions of `entries.v1`.

Kept in `epochs.v1`, so that a lost store learns them again; the table `epochs` mirrors them and
remembers those of a lost broker. Only the set-up step (`ensure`) makes one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import msgspec
from aiokafka import ConsumerRecord
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from contracts.entries.codec import SLOT_FUNCTION, SLOT_FUNCTIONS
from yumai.broker.reader import Reader, read_all
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.waiting import NotYet
from yumai.store.client import connect
from yumai.store.inserts import insert_rows
from yumai.topics import ENTRIES, EPOCHS

READ_SECONDS = 30.0
# The default grows to 30 s: a broker that is back would be noticed that late.
_PATIENCE = {"reconnect_backoff_max_ms": 1_000}


class NoEpoch(NotYet):
    """The log has no epoch yet, or the topic was re-created since: run the set-up step."""


@dataclass(frozen=True)
class Epoch:
    epoch: int
    topic_id: str
    partitions: int
    slot_function: str = SLOT_FUNCTION


def topic_state(bootstrap: Bootstrap, topic: str = ENTRIES.name) -> tuple[str, int]:
    """(topic id, partitions) as the broker has it."""
    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-epochs", **_PATIENCE)
    try:
        (found,) = admin.describe_topics([topic])
        return str(found["topic_id"]), len(found["partitions"])
    finally:
        admin.close()


def recorded(bootstrap: Bootstrap) -> list[Epoch]:
    """Every epoch in `epochs.v1`, oldest first.

    Raises KafkaError, or TimeoutError where the topic can't be read to its end.
    """
    found: dict[int, Epoch] = {}

    def take(record: ConsumerRecord) -> None:
        epoch = msgspec.json.decode(record.value or b"", type=Epoch)
        found[epoch.epoch] = epoch

    read_all(Reader(bootstrap, [EPOCHS], take, "yumai-epochs"), READ_SECONDS)
    return [found[number] for number in sorted(found)]


def current(bootstrap: Bootstrap) -> Epoch:
    """The epoch of the topic as it is now. Raises NoEpoch, or a KafkaError."""
    topic_id, partitions = topic_state(bootstrap)
    for epoch in reversed(recorded(bootstrap)):
        if epoch.topic_id == topic_id and epoch.partitions == partitions:
            if epoch.slot_function not in SLOT_FUNCTIONS:
                raise NoEpoch(f"epoch {epoch.epoch} has slot function {epoch.slot_function}")
            return epoch
    raise NoEpoch(f"{ENTRIES.name} ({topic_id}, {partitions} partitions) has no epoch yet")


def ensure(bootstrap: Bootstrap, dsn: str) -> Epoch:
    """The current epoch, made if the topic is new; the store's table is brought up to it."""
    client = connect(dsn, sequential=True)
    try:
        stored = client.query(
            "SELECT epoch, topic_id, partitions, slot_function FROM epochs FINAL"
        ).result_rows
        known = {int(row[0]): Epoch(int(row[0]), row[1], int(row[2]), row[3]) for row in stored}
        known |= {epoch.epoch: epoch for epoch in recorded(bootstrap)}
        topic_id, partitions = topic_state(bootstrap)
        fitting = [
            e for e in known.values() if e.topic_id == topic_id and e.partitions == partitions
        ]
        epoch = max(fitting, key=lambda e: e.epoch, default=None)
        if epoch is None:
            epoch = Epoch(max(known, default=0) + 1, topic_id, partitions)
            known[epoch.epoch] = epoch
        producer = KafkaProducer(**client_options(bootstrap), acks="all", **_PATIENCE)
        try:
            if epoch not in recorded(bootstrap):
                producer.send(
                    EPOCHS.name,
                    key=str(epoch.epoch).encode(),
                    value=json.dumps(asdict(epoch)).encode(),
                ).get(timeout=30)
        finally:
            producer.close()
        missing = [e for e in known.values() if e.epoch not in {int(row[0]) for row in stored}]
        if missing:
            insert_rows(
                client,
                "epochs",
                [[e.epoch, e.topic_id, e.partitions, e.slot_function] for e in missing],
                ["epoch", "topic_id", "partitions", "slot_function"],
            )
        return epoch
    finally:
        client.close()

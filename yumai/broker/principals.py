"""Who may do what in Kafka: one table of least privilege, default deny.

The embedded broker's ACLs (`yumai up`) and the KafkaUsers of `deploy/k8s` both follow it.
What is not listed is refused: nobody creates, alters or deletes but as written here, and nobody has
a transactional id. Read, write and delete include describe, as Kafka itself has it; so neither is
named twice. An idempotent producer needs write on its topic only (since Kafka 2.8, KIP-679).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yumai import canary, topics
from yumai.topics import FEED_PREFIX

Resource = Literal["topic", "group", "cluster"]
Pattern = Literal["literal", "prefix"]
Operation = Literal["read", "write", "create", "delete", "describe"]

FEED_GROUP = "yumai-ingest-feeds"
METRICS_GROUP = "yumai-metrics"
ALERTS_GROUP = "yumai-alerts"
CLUSTER_NAME = "kafka-cluster"
OFFSETS_TOPIC = "__consumer_offsets"


@dataclass(frozen=True)
class Grant:
    """These operations on one resource, or on all whose names begin with `name`."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    why: str
    pattern: Pattern = "literal"


@dataclass(frozen=True)
class KafkaUser:
    """`name` is the SCRAM user's."""

    name: str
    grants: tuple[Grant, ...]
    quota: Quota | None = None


@dataclass(frozen=True)
class Quota:
    """What one user may ask of each broker; beyond it the broker makes it wait."""

    producer_byte_rate: int
    request_percentage: int
    """Of one thread of the broker: also unpacking what it sends counts."""


def _topic(topic: topics.Topic, why: str, *operations: Operation) -> Grant:
    return Grant("topic", topic.name, operations, why)


_EPOCH = (
    _topic(topics.EPOCHS, "which epoch the log is in", "read"),
    _topic(topics.ENTRIES, "its topic id and partitions, to know the epoch by", "describe"),
)

_FEEDS_TAKEN_OVER = (
    Grant("group", FEED_GROUP, ("describe",), "lag: how far each feed is taken over"),
    Grant("topic", OFFSETS_TOPIC, ("describe",), "lag: has any group committed yet"),
)

INGEST = KafkaUser(
    "yumai-ingest",
    (
        _EPOCH[0],
        _topic(topics.ENTRIES, "judged entries; its topic id and partitions", "write"),
        _topic(topics.DEAD_LETTERS, "rows that were refused, with their bytes", "write"),
        _topic(
            topics.RECEIPTS, "acknowledgements; the last day's are read at start", "read", "write"
        ),
        _topic(topics.MERCHANTS, "the registry, written through its door", "read", "write"),
        Grant("topic", FEED_PREFIX, ("read",), "the Kafka door of every platform", "prefix"),
        Grant("group", FEED_GROUP, ("read",), "how far each feed is taken over"),
    ),
)

METRICS = KafkaUser(
    "yumai-metrics",
    (
        _EPOCH[0],
        _topic(topics.ENTRIES, "what is booked", "read"),
        Grant("group", METRICS_GROUP, ("read",), "which worker has which partition"),
        _topic(topics.COMMITS, "what has become queryable", "write"),
        _topic(topics.DEAD_LETTERS, "conflicts are written, all are projected", "read", "write"),
        _topic(topics.RECEIPTS, "projected into a table", "read"),
        _topic(topics.DELIVERIES, "projected into a table", "read"),
    ),
)

ALERTS = KafkaUser(
    "yumai-alerts",
    (
        _topic(topics.COMMITS, "which districts to judge again", "read"),
        Grant("group", ALERTS_GROUP, ("read",), "which worker judges"),
        _topic(topics.TARGETS, "what is judged against", "read"),
        _topic(topics.SUBSCRIPTIONS, "whom an office has told", "read"),
        _topic(topics.ALERTS, "every step of every alert", "read", "write"),
        _topic(topics.ACTIONS, "what people ask, and the verdict on it", "read", "write"),
        _topic(topics.WORK_ITEMS, "an explained alert becomes one", "read", "write"),
        _topic(topics.DELIVERIES, "how each message went", "read", "write"),
        _topic(topics.FEEDS, "feeds that fell silent, broke, came back", "read", "write"),
    ),
)

GATEWAY = KafkaUser(
    "yumai-gateway",
    (
        _topic(topics.COMMITS, "what has changed, for the stream", "read"),
        _topic(topics.ALERTS, "alerts as they step", "read"),
        _topic(topics.DELIVERIES, "how each message went", "read"),
        _topic(topics.TARGETS, "the bureau sets targets", "read", "write"),
        _topic(topics.ACTIONS, "acknowledge, explain, close", "read", "write"),
        _topic(topics.SUBSCRIPTIONS, "an office says whom to tell", "read", "write"),
        _topic(topics.WORK_ITEMS, "an office follows its list", "read", "write"),
        _topic(topics.ENTRIES, "lag: how old its oldest record is that waits", "read"),
        Grant("topic", FEED_PREFIX, ("describe",), "lag: how many records wait in feeds", "prefix"),
        *_FEEDS_TAKEN_OVER,
    ),
)

OPERATOR = KafkaUser(
    "yumai-operator",
    (
        *(
            _topic(topic, "the set-up step makes it", "create", "describe")
            for topic in topics.TOPICS
            if topic not in (topics.ENTRIES, topics.EPOCHS, topics.TARGETS, topics.COMMITS)
        ),
        _topic(
            topics.ENTRIES,
            "the set-up step makes it; lag needs its oldest record; `housekeeping` deletes records"
            " below every open block",
            "create",
            "read",
            "delete",
        ),
        _topic(topics.EPOCHS, "the set-up step makes it and an epoch", "create", "read", "write"),
        _topic(
            topics.TARGETS, "the set-up step writes the plan's targets", "create", "read", "write"
        ),
        _topic(topics.COMMITS, "`status` tells rates and freshness", "create", "read"),
        Grant(
            "topic",
            FEED_PREFIX,
            ("create", "read"),
            "`keys issue` makes a feed; lag needs its oldest record",
            "prefix",
        ),
        *_FEEDS_TAKEN_OVER,
    ),
)
"""The command line, migrations, the set-up step."""

PLATFORM_PREFIX = "platform-"
PLATFORM_QUOTA = Quota(producer_byte_rate=4 * 1024 * 1024, request_percentage=100)
"""Some 14,000 entries a second uncompressed, many times that compressed."""


def platform(platform_id: str) -> KafkaUser:
    """A platform's user: it writes its own feed, and can't even read that."""
    feed = topics.feed(platform_id)
    return KafkaUser(
        f"{PLATFORM_PREFIX}{platform_id}",
        (_topic(feed, "the platform's own feed", "write"),),
        PLATFORM_QUOTA,
    )


CANARY = platform(canary.PLATFORM)
"""A platform like any other; its feed topic is made by the operator."""

SERVICES = {
    "ingest": INGEST,
    "metrics": METRICS,
    "alerts": ALERTS,
    "gateway": GATEWAY,
    "canary": CANARY,
}
KAFKA_USERS = {**SERVICES, "operator": OPERATOR}

"""Every topic: its name, partitions, settings, key and meaning. The only place that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yumai.broker.security import Bootstrap, client_options
from yumai.platforms import is_platform_id, too_alike

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

DAY_MS = 86_400_000
MESSAGE_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    key: str
    meaning: str
    settings: dict[str, str] = field(default_factory=dict)


_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_COMPACTED = {"cleanup.policy": "compact", "max.message.bytes": str(MESSAGE_MAX_BYTES)}

ENTRIES = Topic(
    "entries.v1",
    4,
    "none: ingest chooses the partition (slot mod partitions)",
    "batches of entries; everything can be made anew from it",
    # The append time is the recorded date: one clock, the same at every reading. No retention:
    # an open block's start must never fall before the log's (blueprint §4).
    {
        **_FOR_EVER,
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_MAX_BYTES),
        "segment.bytes": str(64 * 1024 * 1024),
    },
)
RECEIPTS = Topic(
    "receipts.v1", 1, "receipt id, hex", "what ingest acknowledged, a record a request", _COMPACTED
)
DEAD_LETTERS = Topic(
    "dead-letters.v1",
    1,
    "platform",
    "rows that were refused, with their bytes",
    {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        "max.message.bytes": str(MESSAGE_MAX_BYTES),
    },
)
MERCHANTS = Topic(
    "merchants.v1", 1, "platform_id 0x1F merchant_id", "a merchant's whole history", _COMPACTED
)
TARGETS = Topic("targets.v1", 1, "year/district/sector", "targets as set", _COMPACTED)
COMMITS = Topic(
    "commits.v1",
    1,
    "epoch/partition",
    "what has become queryable",
    {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)},
)
ALERTS = Topic("alerts.v1", 1, "alert id", "every step of every alert", _FOR_EVER)
ACTIONS = Topic(
    "actions.v1", 1, "action id", "what people ask of alerts, and what came of it", _FOR_EVER
)
WORK_ITEMS = Topic("work-items.v1", 1, "item id", "every change of every work item", _FOR_EVER)
SUBSCRIPTIONS = Topic("subscriptions.v1", 1, "office", "whom an office has told", _COMPACTED)
DELIVERIES = Topic("deliveries.v1", 1, "delivery id", "how each message went", _COMPACTED)
FEEDS = Topic("feeds.v1", 1, "platform", "feeds that fell silent, broke, came back", _FOR_EVER)
EPOCHS = Topic("epochs.v1", 1, "epoch", "topic id and partitions of entries.v1", _COMPACTED)

TOPICS = (ENTRIES, RECEIPTS, DEAD_LETTERS, MERCHANTS, TARGETS, COMMITS, ALERTS, EPOCHS) + (
    ACTIONS,
    WORK_ITEMS,
    SUBSCRIPTIONS,
    DELIVERIES,
    FEEDS,
)

FEED_PREFIX, FEED_SUFFIX = "feed.", ".v1"
FEED_PARTITION_BYTES = 16 * 1024**3
"""An hour at the quota of its platform (`principals`); the alarm on a feed that stands comes long before."""


def feed(platform_id: str) -> Topic:
    """The Kafka door of one platform: one JSON entry a record."""
    return Topic(
        f"{FEED_PREFIX}{platform_id}{FEED_SUFFIX}",
        2,
        "the sender's",
        "one JSON entry a record",
        # Kept from when it came, whatever its sender says of the time: nothing is too old to be read.
        # Compressed as it comes: a broker that packs it anew would unpack all of it first.
        {
            "cleanup.policy": "delete",
            "retention.ms": str(30 * DAY_MS),
            "retention.bytes": str(FEED_PARTITION_BYTES),
            "segment.bytes": str(64 * 1024 * 1024),
            "message.timestamp.type": "LogAppendTime",
            "compression.type": "producer",
            "max.message.bytes": str(4 * 1024 * 1024),
        },
    )


def feed_platform(topic: str) -> str | None:
    """The platform of a feed topic's name; None for any other topic, and where no platform may be called so."""
    if topic.startswith(FEED_PREFIX) and topic.endswith(FEED_SUFFIX):
        platform_id = topic[len(FEED_PREFIX) : -len(FEED_SUFFIX)]
        return platform_id if is_platform_id(platform_id) else None
    return None


class TooAlike(Exception):
    """Two feeds that can't be told from each other; the text says which."""


def check_feeds(feeds: Iterable[str], existing: Iterable[str] = ()) -> None:
    """Raises TooAlike for a feed's topic that is too like another's or an existing one."""
    names = [*feeds]
    known = [p for name in (*existing, *names) if (p := feed_platform(name)) is not None]
    for name in names:
        platform_id = feed_platform(name)
        alike = too_alike(platform_id, known) if platform_id is not None else None
        if alike is not None:
            raise TooAlike(f"topic {name}: too like {feed(alike).name}; take another platform id")


def missing(bootstrap: Bootstrap, topics: tuple[Topic, ...] = TOPICS) -> list[str]:
    """Names of topics that the broker does not have."""
    # Here, so that who only reads the table does not wait for a client's import.
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-topics")
    try:
        existing = set(admin.list_topics())
    finally:
        admin.close()
    return [topic.name for topic in topics if topic.name not in existing]


def ensure(bootstrap: Bootstrap, topics: tuple[Topic, ...] = TOPICS) -> list[str]:
    """Creates what is missing; the names created. An existing topic is left as it is. Raises TooAlike."""
    from kafka.admin import KafkaAdminClient, NewTopic
    from kafka.errors import TopicAlreadyExistsError

    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-topics")
    created = []
    try:
        existing = set(admin.list_topics())
        check_feeds([topic.name for topic in topics], existing)
        for topic in topics:
            if topic.name in existing:
                continue
            try:
                admin.create_topics(
                    [
                        NewTopic(
                            name=topic.name,
                            num_partitions=topic.partitions,
                            replication_factor=-1,
                            topic_configs=topic.settings,
                        )
                    ]
                )
                created.append(topic.name)
            except TopicAlreadyExistsError:
                pass
        return created
    finally:
        admin.close()


def settle_feeds(admin: KafkaAdminClient) -> list[str]:
    """Gives the feeds that there are the settings of `feed`; the names changed. Raises KafkaError."""
    from kafka.admin import ConfigResource, ConfigResourceType

    feeds = {n: feed(platform) for n in admin.list_topics() if (platform := feed_platform(n))}
    if not feeds:
        return []
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in feeds]
    (found,) = admin.describe_configs(asked, config_filter="all").values()
    changes = []
    for name, topic in feeds.items():
        other = {k: v for k, v in topic.settings.items() if found[name][k]["value"] != v}
        if other:
            changes.append(ConfigResource(ConfigResourceType.TOPIC, name, other))
    if changes:
        admin.alter_configs(changes)
    return sorted(change.name for change in changes)

"""Every topic: its name, partitions, settings, key and meaning. The only place that says so. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.days import DAY_MS
from yumai.platforms import is_platform_id, too_alike

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
    "batches of entries; all books can be rebuilt from it",
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
        # Compressed as the sender compressed it: a broker that recompresses would unpack all of it first.
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

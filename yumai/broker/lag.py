"""What is in the log and not yet queryable: ends of `entries.v1` and of the feeds, minus announced.

Never the group's committed offset of `entries.v1`: it moves at complete blocks only. Of a feed it is
what ingest has taken over, for what it took over stands in `entries.v1` by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import CoordinatorNotAvailableError, KafkaError
from kafka.protocol.consumer import IsolationLevel

from contracts.commits import codec as commits
from yumai.broker.principals import FEED_GROUP, OFFSETS_TOPIC
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.topics import COMMITS, ENTRIES, feed_platform

RECENT_SECONDS = 60

Announced = Callable[[str, int], Mapping[int, int] | None]
"""(topic id, partitions) of `entries.v1` -> next offset to announce by partition; None: unknown."""


@dataclass
class Lag:
    """Records not yet queryable; None where it can't be known. `feeds` by topic."""

    partitions: dict[int, int | None] = field(default_factory=dict)
    feeds: dict[str, int | None] = field(default_factory=dict)
    seconds: float | None = None
    """Age of the oldest of them; 0 when there is none."""
    ages: dict[int, float] = field(default_factory=dict)
    """The same by partition of `entries.v1`; those that there was no time to ask are left out."""
    feeds_waiting: dict[TopicPartition, int] = field(default_factory=dict)
    """Partitions of feeds with records that ingest has not taken over, and where it stands."""

    @property
    def records(self) -> int | None:
        parts = [*self.partitions.values(), *self.feeds.values()]
        known = [part for part in parts if part is not None]
        return sum(known) if self.partitions and len(known) == len(parts) else None


class Standing:
    """For how long each feed has had records waiting and none of them taken over."""

    def __init__(self) -> None:
        self._since: dict[TopicPartition, tuple[int, float]] = {}

    def look(self, waiting: Mapping[TopicPartition, int], now: float) -> dict[str, float]:
        """Seconds by topic, of those that wait. `waiting`: `Lag.feeds_waiting` at `now`, monotonic."""
        self._since = {
            part: self._since[part] if self._since.get(part, (-1, 0))[0] == at else (at, now)
            for part, at in waiting.items()
        }
        worst: dict[str, float] = {}
        for part, (_, since) in self._since.items():
            worst[part.topic] = max(worst.get(part.topic, 0.0), now - since)
        return worst


@dataclass
class Recent:
    """The commits of the last minute. Ages from append to announcement, in seconds."""

    entries_per_second: float
    last_seconds: float | None
    worst_seconds: float | None


def connect(bootstrap: Bootstrap, deadline: float) -> KafkaAdminClient:
    """Raises a KafkaError when the broker does not answer before `deadline` (monotonic)."""
    left_ms = max(int((deadline - time.monotonic()) * 1000), 100)
    return KafkaAdminClient(
        **client_options(bootstrap),
        client_id="yumai-lag",
        bootstrap_timeout_ms=left_ms,
        request_timeout_ms=left_ms,
    )


def read(
    admin: KafkaAdminClient,
    bootstrap: Bootstrap,
    announced: Announced,
    deadline: float,
    *,
    may_read_feeds: bool = True,
) -> Lag:
    """How far behind the figures are. Raises a KafkaError where the ends can't be learned.

    A record's age needs the right to read it: without that of the feeds `seconds` leaves them out.
    """
    topics = {topic["name"]: topic for topic in admin.describe_topics()}
    if ENTRIES.name not in topics:
        return Lag()
    feeds = sorted(name for name in topics if feed_platform(name))
    # Committed first, then the feeds' ends, then those of entries.v1: what moves from a feed into
    # entries.v1 meanwhile is counted twice rather than not at all.
    ids = {name: str(topics[name]["topic_id"]) for name in feeds}
    taken = _taken_over(admin, OFFSETS_TOPIC in topics, ids, deadline) if feeds else {}
    feed_parts = [part for name in feeds for part in _parts(topics[name])]
    starts = _offsets(admin, feed_parts, OffsetSpec.EARLIEST)
    # Records of a transaction that is not decided yet can't be taken over by anybody.
    feed_ends = _offsets(admin, feed_parts, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
    entry_parts = _parts(topics[ENTRIES.name])
    ends = _offsets(admin, entry_parts, OffsetSpec.LATEST)

    lag = Lag(feeds=dict.fromkeys(feeds, None if taken is None else 0))
    waiting: dict[TopicPartition, int] = {}
    for part, end in feed_ends.items():
        if taken is not None:
            start = max(taken.get(part, 0), starts[part])
            if start < end:
                lag.feeds[part.topic] = (lag.feeds[part.topic] or 0) + end - start
                waiting[part] = start
    lag.feeds_waiting = dict(waiting)
    known = announced(str(topics[ENTRIES.name]["topic_id"]), len(entry_parts))
    for part, end in sorted(ends.items()):
        if known is None:
            lag.partitions[part.partition] = None
            continue
        start = known.get(part.partition, 0)
        lag.partitions[part.partition] = max(end - start, 0)
        if start < end:
            waiting[part] = start
    if known is not None:
        if not may_read_feeds:
            waiting = {part: at for part, at in waiting.items() if part.topic == ENTRIES.name}
        found = _ages(bootstrap, waiting, deadline) if waiting else {}
        lag.ages = {p: 0.0 for p, records in lag.partitions.items() if records == 0}
        lag.ages |= {part.partition: s for part, s in found.items() if part.topic == ENTRIES.name}
        if taken is not None and (found or not waiting):
            lag.seconds = max(found.values(), default=0.0)
    return lag


def recent(admin: KafkaAdminClient, bootstrap: Bootstrap, deadline: float) -> Recent | None:
    """What was announced in the last minute; None where there is no time to read all of it."""
    part = TopicPartition(COMMITS.name, 0)
    since_ms = int((time.time() - RECENT_SECONDS) * 1000)
    start = admin.list_partition_offsets({part: since_ms})[part].offset
    end = admin.list_partition_offsets({part: OffsetSpec.LATEST})[part].offset
    if start < 0 or start >= end:
        return Recent(0.0, None, None)
    entries, ages = 0, []
    consumer = _consumer(bootstrap, 4 * 2**20)
    try:
        consumer.assign([part])
        consumer.seek(part, start)
        while (left := deadline - time.monotonic()) > 0:
            for record in consumer.poll(timeout_ms=int(left * 1000) + 1).get(part, []):
                try:
                    commit = commits.decode(record.value or b"")
                    told = sum(change.entries for change in commit.changes)
                    age = max(commit.committed_at - commit.recorded_from, 0) / 1000
                except Exception as error:
                    passed_over(COMMITS.name, record.offset, error)
                    continue
                entries += told
                ages.append(age)
            if consumer.position(part) >= end:
                last = ages[-1] if ages else None
                return Recent(round(entries / RECENT_SECONDS, 1), last, max(ages, default=None))
        return None
    finally:
        consumer.close()


def _parts(topic: dict) -> list[TopicPartition]:
    return [TopicPartition(topic["name"], part["partition_index"]) for part in topic["partitions"]]


def _offsets(
    admin: KafkaAdminClient,
    parts: list[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, int]:
    if not parts:
        return {}
    found = admin.list_partition_offsets(dict.fromkeys(parts, spec), isolation)
    return {part: at.offset for part, at in found.items()}


def _taken_over(
    admin: KafkaAdminClient, has_offsets: bool, ids: Mapping[str, str], deadline: float
) -> dict[TopicPartition, int] | None:
    """What ingest has committed of the feeds; None: the group's coordinator does not answer.

    `ids`: each feed's topic id; what was committed of an older topic of that name does not count.
    """
    if not has_offsets:  # nobody has ever committed anything in this cluster
        return {}
    while True:
        try:
            found = admin.list_group_offsets({FEED_GROUP: None})[FEED_GROUP]
            return {
                part: at.offset
                for part, at in found.items()
                if at.offset >= 0 and at.metadata in ("", None, ids.get(part.topic))
            }
        except CoordinatorNotAvailableError:
            if time.monotonic() + 0.5 > deadline:
                return None
            time.sleep(0.1)


def _ages(
    bootstrap: Bootstrap, positions: dict[TopicPartition, int], deadline: float
) -> dict[TopicPartition, float]:
    """Seconds since the records at these positions were appended, as far as there was time."""
    consumer = _consumer(bootstrap, 1)  # of each partition one batch, however large it is
    ages: dict[TopicPartition, float] = {}
    missing = dict(positions)
    try:
        consumer.assign(list(missing))
        for part, offset in missing.items():
            consumer.seek(part, offset)
        while missing and (left := deadline - time.monotonic()) > 0:
            polled = consumer.poll(timeout_ms=int(left * 1000) + 1, max_records=1)
            for part, records in polled.items():
                if records and missing.pop(part, None) is not None:
                    age = time.time() - records[0].timestamp / 1000
                    ages[part] = round(max(age, 0.0), 3)
                    consumer.pause(part)
    except KafkaError:
        return {}
    finally:
        consumer.close()
    return ages


def _consumer(bootstrap: Bootstrap, fetch_bytes: int) -> KafkaConsumer:
    return KafkaConsumer(
        **client_options(bootstrap),
        client_id="yumai-lag",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
        bootstrap_timeout_ms=1000,
    )

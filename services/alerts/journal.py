"""The topics that alerts remember by, read from the start; nothing is kept on disk.

The log is the memory, so a lost disk, a restart and another worker all come to the same state. What
follows from it is found by comparing: a told step without its delivery, an explanation without its
work item and an action without its verdict are work still to be done, whoever left it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from contracts.actions import codec as actions_codec
from contracts.alerts import codec as alerts_codec
from contracts.alerts import outbox as records
from contracts.targets import codec as targets_codec
from contracts.work_items import codec as items_codec
from services.alerts import outbox
from services.alerts.lifecycle import Alerts, applied
from yumai import topics
from yumai.broker.consumers import let_go
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.sealing import Sealer
from yumai.targets import merged

log = logging.getLogger("yumai.alerts")

STOP_SECONDS = 1.0
FOLLOWED = (
    topics.TARGETS,
    topics.ALERTS,
    topics.ACTIONS,
    topics.WORK_ITEMS,
    topics.SUBSCRIPTIONS,
    topics.DELIVERIES,
    topics.FEEDS,
)
PARTITIONS = tuple(TopicPartition(topic.name, 0) for topic in FOLLOWED)


class Journal:
    """State as the log tells it. Raises KafkaError while the broker is away."""

    def __init__(self, bootstrap: Bootstrap, sealer: Sealer | None = None) -> None:
        """Without a sealer addresses stay as they lie in the log."""
        self._bootstrap = bootstrap
        self._sealer = sealer
        self._consumer: AIOKafkaConsumer | None = None
        self._take: dict[str, Callable[[ConsumerRecord], None]] = {
            topics.TARGETS.name: self._target,
            topics.ALERTS.name: self._step,
            topics.ACTIONS.name: self._action,
            topics.WORK_ITEMS.name: self._item,
            topics.SUBSCRIPTIONS.name: self._subscription,
            topics.DELIVERIES.name: self._delivery,
            topics.FEEDS.name: self._feed,
        }
        self.clear()

    def clear(self) -> None:
        self.alerts: Alerts = {}
        self.targets: dict[str, targets_codec.Target] = {}
        """By key: year/district/sector."""
        self.changed: set[str] = set()
        """Districts whose target changed; whoever judges them takes them out."""
        self.actions: dict[str, actions_codec.Action] = {}
        """Without a verdict yet, in the log's order."""
        self.judged: set[str] = set()
        """Actions that have a verdict: a second record of one changes nothing."""
        self.caused: dict[str, str] = {}
        """Action -> kind of the last step it caused."""
        self.items = items_codec.Items()
        self.offices: dict[str, list[records.Subscription]] = {}
        self.deliveries: dict[str, records.Delivery] = {}
        """Waiting ones only."""
        self.finished: set[str] = set()
        self.feeds: dict[str, records.FeedStep] = {}
        self.messages: dict[str, Any] = {}
        """Source -> what it tells of (a step, an item's event, a feed's step, a test's action), while a message waits."""
        self.untold: dict[str, list[str]] = {}
        """Source -> whom it is told, where a delivery is not in the log yet."""
        self.explained: dict[str, alerts_codec.Whole] = {}
        """Steps whose work item's event is not in the log yet, by that event's id."""

    async def open(self) -> None:
        """Reads all topics from the start to their ends."""
        await self.close()
        self.clear()
        consumer = AIOKafkaConsumer(
            **client_options(self._bootstrap),
            client_id="yumai-alerts-journal",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=10_000,
            max_partition_fetch_bytes=topics.MESSAGE_MAX_BYTES,
            fetch_max_wait_ms=100,
        )
        self._consumer = consumer
        await consumer.start()
        consumer.assign(list(PARTITIONS))
        await consumer.seek_to_beginning(*PARTITIONS)
        await self.catch_up()

    async def close(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await let_go(consumer, STOP_SECONDS)

    async def catch_up(self) -> None:
        """Reads to where the topics end now."""
        assert self._consumer is not None
        ends = await self._consumer.end_offsets(list(PARTITIONS))
        for tp, end in ends.items():
            while await self._consumer.position(tp) < end:
                found = await self._consumer.getmany(timeout_ms=200)
                self._all(found)

    async def follow(self, milliseconds: int) -> None:
        """What comes within that time; returns as soon as something has."""
        assert self._consumer is not None
        self._all(await self._consumer.getmany(timeout_ms=milliseconds))

    def _all(self, found: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        for tp, found_records in found.items():
            take = self._take[tp.topic]
            for record in found_records:
                try:
                    take(record)
                except Exception as error:
                    passed_over(tp.topic, record.offset, error)

    def _target(self, record: ConsumerRecord) -> None:
        """An empty record takes the target of its key away."""
        if record.value is None:
            key = (record.key or b"").decode()
            self.targets.pop(key, None)
            self.changed |= set(key.split("/")[1:2])
            return
        target = targets_codec.decode(record.value)
        if target.at is None and not target.history:
            target.at = record.timestamp
        known = self.targets.get(target.key)
        if known is not None:
            versions = merged(known.versions, target.versions)
            target = targets_codec.of_versions(
                target.year, target.district, target.sector, versions
            )
        self.targets[target.key] = target
        self.changed.add(target.district)

    def _step(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        step = alerts_codec.decode_whole(record.value)
        if not applied(self.alerts, step):
            return
        if step.action is not None:
            self.caused[step.action] = step.kind
        self._to_tell(outbox.alert_source(step.id, step.seq), step, step.tell)
        if step.kind == "explained":
            event = f"{step.id}/{step.seq}"
            if event not in self.items.events:
                self.explained[event] = step

    def _action(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        found = actions_codec.decode(record.value)
        if isinstance(found, actions_codec.Verdict):
            self.actions.pop(found.action, None)
            self.judged.add(found.action)
        elif found.id not in self.judged:
            self.actions[found.id] = found

    def test(self, action: actions_codec.Action) -> None:
        """A test message that is asked for."""
        to = records.target(action.office or "", action.subscription or "")
        self._to_tell(outbox.test_source(action.id), action, [to])

    def _item(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        event = items_codec.decode(record.value)
        self.explained.pop(event.event, None)
        if self.items.apply(event) and event.kind == "escalated":
            self._to_tell(outbox.item_source(event.event), event, event.tell)

    def _subscription(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self.offices.pop((record.key or b"").decode(), None)
            return
        found = records.decode_subscriptions(record.value)
        self.offices[found.office] = [
            self._sealer.opened(s) if self._sealer else s for s in found.subscriptions
        ]

    def _feed(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        feed = records.decode_feed(record.value)
        known = self.feeds.get(feed.platform_id)
        if feed.seq != (known.seq if known else 0) + 1:
            return
        self.feeds[feed.platform_id] = feed
        self._to_tell(outbox.feed_source(feed.platform_id, feed.seq), feed, feed.tell)

    def _to_tell(self, source: str, message: Any, tell: list[str]) -> None:
        missing = []
        waits = False
        for to in tell:
            id_ = records.delivery_id(*records.split_target(to), source)
            if id_ in self.deliveries:
                waits = True
            elif id_ not in self.finished:
                missing.append(to)
        if missing:
            self.untold[source] = missing
        if missing or waits:
            self.messages[source] = message

    def _delivery(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        self.note(records.decode_delivery(record.value))

    def note(self, delivery: records.Delivery) -> None:
        """A delivery as its last record says it."""
        source = delivery.source
        known = self.deliveries.get(delivery.id)
        if delivery.id in self.finished:
            return
        if known is not None and (delivery.attempts, delivery.at) < (known.attempts, known.at):
            return  # noted already, and now read back
        if source in self.untold:
            left = [
                to
                for to in self.untold[source]
                if records.delivery_id(*records.split_target(to), source) != delivery.id
            ]
            self.untold[source] = left
            if not left:
                del self.untold[source]
        if delivery.state in ("pending", "held"):
            self.deliveries[delivery.id] = delivery
            return
        self.finished.add(delivery.id)
        self.deliveries.pop(delivery.id, None)
        if source not in self.untold and all(
            other.source != source for other in self.deliveries.values()
        ):
            self.messages.pop(source, None)

"""One fold of the topics of targets, alerts and what follows from them: each record changes the state. Pure.

The gateway shows from it and alerts acts on it, so that what is shown is what is acted on. Small: a city has some
dozens of alerts a year.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Protocol

from contracts.actions import codec as actions_codec
from contracts.alerts import codec as alerts_codec
from contracts.alerts import outbox
from contracts.targets import codec as targets_codec
from contracts.work_items import codec as items_codec
from yumai import topics
from yumai.targets.held import Held
from yumai.targets.versions import Key

TOPICS = (
    topics.TARGETS,
    topics.ALERTS,
    topics.ACTIONS,
    topics.WORK_ITEMS,
    topics.SUBSCRIPTIONS,
    topics.DELIVERIES,
    topics.FEEDS,
)
WAITING = ("pending", "held")

Fact = (
    Key
    | alerts_codec.StepRecord
    | actions_codec.Action
    | actions_codec.Verdict
    | items_codec.Event
    | outbox.Subscriptions
    | outbox.Delivery
    | outbox.FeedStep
)


class ConsumerRecord(Protocol):
    """A record as a Kafka consumer returns it; `timestamp` in epoch ms."""

    topic: str
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def as_it_lies(subscription: outbox.Subscription) -> outbox.Subscription:
    return subscription


class Journal:
    """State as the log tells it. `opened`: unseals an address."""

    def __init__(
        self, opened: Callable[[outbox.Subscription], outbox.Subscription] = as_it_lies
    ) -> None:
        self._opened = opened
        self._folds: dict[str, Callable[[ConsumerRecord], Fact | None]] = {
            topics.TARGETS.name: self._target,
            topics.ALERTS.name: self._step,
            topics.ACTIONS.name: self._action,
            topics.WORK_ITEMS.name: self._item,
            topics.SUBSCRIPTIONS.name: self._office,
            topics.DELIVERIES.name: self._delivery,
            topics.FEEDS.name: self._feed,
        }
        self.targets = Held()
        self.clear()

    def clear(self) -> None:
        self.targets.clear()
        self.alerts: dict[str, alerts_codec.StepRecord] = {}
        """Each alert's last step, by its id."""
        self.history: dict[str, list[alerts_codec.StepRecord]] = {}
        self.actions: dict[str, actions_codec.Action] = {}
        """Without a verdict yet, in the log's order."""
        self.verdicts: dict[str, actions_codec.Verdict] = {}
        """By their action."""
        self.items = items_codec.Items(plan_items())
        self.offices: dict[str, list[outbox.Subscription]] = {}
        self.deliveries: dict[str, outbox.Delivery] = {}
        self.waiting: dict[str, outbox.Delivery] = {}
        """Those neither delivered nor given up."""
        self.feeds: dict[str, outbox.FeedStep] = {}

    def take(self, record: ConsumerRecord) -> Fact | None:
        """A record of one of TOPICS: what it says, or None where it changes nothing.

        Raises what the codecs raise for one that can't be read.
        """
        return self._folds[record.topic](record)

    def _target(self, record: ConsumerRecord) -> Key | None:
        """An empty record takes the target of its key away."""
        key = (record.key or b"").decode(errors="replace")
        target = None if record.value is None else targets_codec.decode(record.value)
        return self.targets.take(key, target, record.timestamp)

    def _step(self, record: ConsumerRecord) -> alerts_codec.StepRecord | None:
        """Takes a step. Of two records with the same alert and number the first in the log holds."""
        if record.value is None:
            return None
        step = alerts_codec.decode_whole(record.value)
        known = self.history.setdefault(step.id, [])
        if step.seq != len(known) + 1:
            return None
        known.append(step)
        self.alerts[step.id] = step
        return step

    def _action(
        self, record: ConsumerRecord
    ) -> actions_codec.Action | actions_codec.Verdict | None:
        if record.value is None:
            return None
        found = actions_codec.decode(record.value)
        if isinstance(found, actions_codec.Verdict):
            self.actions.pop(found.action, None)
            self.verdicts.setdefault(found.action, found)
        elif found.id in self.verdicts:
            return None
        else:
            self.actions[found.id] = found
        return found

    def _item(self, record: ConsumerRecord) -> items_codec.Event | None:
        if record.value is None:
            return None
        event = items_codec.decode(record.value)
        return event if self.items.apply(event) else None

    def _office(self, record: ConsumerRecord) -> outbox.Subscriptions | None:
        if record.value is None:
            self.offices.pop((record.key or b"").decode(), None)
            return None
        found = outbox.decode_subscriptions(record.value)
        self.offices[found.office] = [self._opened(s) for s in found.subscriptions]
        return found

    def _delivery(self, record: ConsumerRecord) -> outbox.Delivery | None:
        if record.value is None:
            return None
        return self.note(outbox.decode_delivery(record.value))

    def note(self, delivery: outbox.Delivery) -> outbox.Delivery | None:
        """A delivery as its last record says it. Once delivered or given up it stays so."""
        known = self.deliveries.get(delivery.id)
        if known is not None:
            older = (delivery.attempts, delivery.at) < (known.attempts, known.at)
            if known.state not in WAITING or older:
                return None
        self.deliveries[delivery.id] = delivery
        if delivery.state in WAITING:
            self.waiting[delivery.id] = delivery
        else:
            self.waiting.pop(delivery.id, None)
        return delivery

    def _feed(self, record: ConsumerRecord) -> outbox.FeedStep | None:
        if record.value is None:
            return None
        feed = outbox.decode_feed(record.value)
        known = self.feeds.get(feed.platform_id)
        if feed.seq != (known.seq if known else 0) + 1:
            return None
        self.feeds[feed.platform_id] = feed
        return feed


def plan_items() -> dict[str, dict[str, Any]]:
    """The plan's twenty tasks as work items that need no event."""
    text = (files("yumai") / "reference" / "tasks.csv").read_text(encoding="utf-8-sig")
    return {
        f"{items_codec.PLAN_PREFIX}{row['no']}": items_codec.EMPTY
        | {
            "task": int(row["no"]),
            "departments": row["department_codes"].split("|"),
            "title": row["title_zh"],
        }
        for row in csv.DictReader(text.splitlines())
    }

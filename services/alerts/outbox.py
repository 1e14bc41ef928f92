"""Who is told of a step, and when a message is tried. Pure.

A step names whom it is told; its deliveries follow from it, with ids that are the same at every reading
of the log. To one subscription the steps of one alert go in order: the next waits until the one before
it was delivered or given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from contracts.alerts.codec import ENDED, StepRecord, district_of
from contracts.alerts.outbox import (
    BUREAU,
    Delivery,
    FeedStep,
    QuietHours,
    Subscription,
    delivery_id,
    split_target,
    target,
)
from contracts.days import SHANGHAI
from contracts.work_items.codec import Event
from services.alerts.lifecycle import is_told

FIRST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 300_000
Offices = Mapping[str, Iterable[Subscription]]


def told(step: StepRecord, offices: Offices) -> list[str]:
    """Whom a step is told: the bureau hears of all, a district of itself."""
    if not is_told(step):
        return []
    return [
        target(office, subscription.id)
        for office in (BUREAU, f"district:{step.district}")
        for subscription in offices.get(office, ())
        if _wants(subscription, step)
    ]


def told_of_feed(feed: FeedStep, offices: Offices) -> list[str]:
    return [
        target(office, subscription.id)
        for office in (BUREAU, *(f"district:{code}" for code in feed.districts))
        for subscription in offices.get(office, ())
    ]


def feed_as_heard(feed: FeedStep, office: str) -> FeedStep:
    """A district hears of itself alone: where else a feed is in trouble is not for its neighbours to know."""
    if office == BUREAU:
        return feed
    own = [code for code in feed.districts if office == f"district:{code}"]
    return msgspec.structs.replace(feed, state=feed.state if own else "ok", districts=own, tell=[])


def item_as_heard(event: Event, office: str) -> Event:
    """An item that was moved may still name an alert of the district before."""
    alert = event.fields.get("alert_id")
    if office == BUREAU or not alert or office == f"district:{district_of(alert)}":
        return event
    return msgspec.structs.replace(event, fields=event.fields | {"alert_id": None})


def told_of_item(district: str | None, offices: Offices) -> list[str]:
    """Whom an overdue work item is told: the bureau, and the district that it is about."""
    return [
        target(office, subscription.id)
        for office in (BUREAU, *([f"district:{district}"] if district else ()))
        for subscription in offices.get(office, ())
    ]


def _wants(subscription: Subscription, step: StepRecord) -> bool:
    """A subscription that was told of the lag is told of its end."""
    ended = step.state in ENDED
    levels = set(step.seen_levels) if ended else {step.level}
    if not levels & set(subscription.levels):
        return False
    if not subscription.sectors:
        return True
    return bool(set(subscription.sectors) & set(step.seen_sectors))


def alert_source(id_: str, seq: int) -> str:
    return f"alert/{id_}/{seq}"


def feed_source(platform: str, seq: int) -> str:
    return f"feed/{platform}/{seq}"


def item_source(event: str) -> str:
    """The source of messages about a work item's event (`item/overdue/day`)."""
    return f"item/{event}"


def test_source(action: str) -> str:
    return f"test/{action}"


def queue_of(source: str) -> str:
    """Messages of one queue go in order."""
    return source.rpartition("/")[0] if not source.startswith("test/") else source


def made(
    to: str, source: str, at: int, now: int, alert_id: str | None = None, seq: int | None = None
) -> Delivery:
    """A message not yet tried. `at`: when what it tells of happened."""
    office, subscription = split_target(to)
    return Delivery(
        delivery_id(office, subscription, source),
        office,
        subscription,
        source,
        alert_id,
        seq,
        "pending",
        0,
        None,
        at,
        now,
        now,
        now,
    )


def is_quiet(hours: QuietHours | None, now: int) -> bool:
    """Within quiet hours at `now`, by Shanghai's clock."""
    if hours is None:
        return False
    local = datetime.fromtimestamp(now / 1000, SHANGHAI)
    minute = local.hour * 60 + local.minute
    first, last = _minute(hours.from_), _minute(hours.to)
    if first < last:
        return first <= minute < last
    return minute >= first or minute < last


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def held(delivery: Delivery, now: int) -> Delivery:
    return msgspec.structs.replace(delivery, state="held", at=now)


def released(delivery: Delivery, now: int) -> Delivery:
    return msgspec.structs.replace(delivery, state="pending", at=now, next_at=now, since=now)


def delivered(delivery: Delivery, now: int) -> Delivery:
    return msgspec.structs.replace(
        delivery, state="delivered", attempts=delivery.attempts + 1, last_error=None, at=now
    )


def failed(delivery: Delivery, error: str, now: int, give_up_after: int) -> Delivery:
    """Tried again after 1 s, doubling to 5 min; given up once it is too old, not before a last try."""
    attempts = delivery.attempts + 1
    ends = delivery.since + give_up_after
    wait = min(FIRST_WAIT_MS * 2 ** min(attempts - 1, 20), LONGEST_WAIT_MS)
    return msgspec.structs.replace(
        delivery,
        state="given_up" if now >= ends else "pending",
        attempts=attempts,
        last_error=error[:300],
        at=now,
        next_at=max(min(now + wait, ends), now + 1),
    )


def dropped(delivery: Delivery, why: str, now: int) -> Delivery:
    """Nobody is there to be told any more."""
    return msgspec.structs.replace(delivery, state="given_up", last_error=why, at=now)


def has_room(delivery: Delivery, busy: Iterable[Delivery], office_at_once: int) -> bool:
    """Whether it may be tried beside what is tried now: one of an address, so many of an office."""
    of_office = [other for other in busy if other.office == delivery.office]
    return len(of_office) < office_at_once and all(
        other.subscription != delivery.subscription for other in of_office
    )


def heads(waiting: Iterable[Delivery]) -> list[Delivery]:
    """The first of each queue, in the order in which they were made."""
    found: dict[tuple[str, str, str], Delivery] = {}
    for delivery in sorted(waiting, key=lambda d: (d.created_at, d.seq or 0, d.id)):
        key = (delivery.office, delivery.subscription, queue_of(delivery.source))
        known = found.get(key)
        if known is None or (delivery.seq or 0) < (known.seq or 0):
            found[key] = delivery
    return list(found.values())

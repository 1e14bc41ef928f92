"""Sends what waits, attempt by attempt; every outcome is a record of `deliveries.v1`.

At least once: an attempt whose outcome could not be written is made again, under the same id.
Each office's attempts run in a thread and a pool of their own, and of one address one at a time: a receiver
that hangs holds up its own address, and no other office.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.alerts.codec import StepRecord
from contracts.alerts.outbox import Delivery, FeedStep, Subscription
from contracts.work_items.codec import Event
from services.alerts import outbox, wording
from services.alerts.channels import chat
from services.alerts.channels.webhook import Failed, Sender
from services.alerts.journal import Journal
from services.alerts.set_aside import SetAside
from yumai import apprise_addresses
from yumai.answers import encoded
from yumai.observability import telemetry
from yumai.process.settings import Settings, networks
from yumai.sealing import is_sealed, without_secrets
from yumai.sharing.aside import Asides

log = logging.getLogger("yumai.alerts")

OFFICE_AT_ONCE = 8
"""Attempts of one office."""
ATTEMPT_SECONDS = 45.0
"""One attempt, with look-ups and every address that a name has."""
Write = Callable[[list[Delivery]], Awaitable[None]]


class Sending:
    """The outbox at work. `write` makes outcomes durable and notes them in the journal."""

    def __init__(self, settings: Settings, journal: Journal, write: Write, aside: SetAside) -> None:
        self._settings = settings
        self._journal = journal
        self._write = write
        self._aside = aside
        self._allowed = networks(settings.webhook_allow_networks)
        self._webhooks: dict[str, Sender] = {}
        """By office: each lives in its office's thread."""
        self._asides = Asides("sending")
        self._give_up_after = int(settings.delivery_give_up_after * 1000)
        self._busy: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self.given_up = 0

    async def close(self) -> None:
        tasks = [task for _, task in self._busy.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._busy.clear()
        self._webhooks.clear()
        self._asides.close()

    async def look(self) -> None:
        """Begins due attempts, and holds or releases messages by quiet hours. Raises what `write` raises, also of an earlier look."""
        for id_, (_, task) in list(self._busy.items()):
            if task.done():
                del self._busy[id_]
                with self._aside.guard("message", id_):
                    task.result()
        now = _now()
        self._tell_states(now)
        changed: list[Delivery] = []
        for delivery in outbox.heads(self._journal.waiting.values()):
            if delivery.id in self._busy:
                continue
            if not self._aside.has("message", delivery.id):
                with self._aside.guard("message", delivery.id):
                    changed += self._begin(delivery, now)
        # Not only heads: what waits in quiet hours says so.
        for delivery in self._journal.waiting.values():
            if delivery.state != "pending" or delivery.id in self._busy or _is_test(delivery):
                continue
            if self._aside.has("message", delivery.id):
                continue
            with self._aside.guard("message", delivery.id, whole=False):
                subscription = self._subscription(delivery)
                if subscription is not None and outbox.is_quiet(subscription.quiet_hours, now):
                    changed.append(outbox.held(delivery, now))
        if changed:
            await self._write(changed)

    def _begin(self, delivery: Delivery, now: int) -> list[Delivery]:
        """Begins its attempt, if that is due; what changes without one."""
        subscription = self._subscription(delivery)
        if subscription is None:
            return [outbox.dropped(delivery, "the subscription was taken away", now)]
        if outbox.is_quiet(subscription.quiet_hours, now) and not _is_test(delivery):
            return []
        if delivery.state == "held":
            return [outbox.released(delivery, now)]
        if now >= delivery.next_at and outbox.has_room(
            delivery, (busy for busy, _ in self._busy.values()), OFFICE_AT_ONCE
        ):
            task = asyncio.create_task(self._attempt(delivery, subscription))
            self._busy[delivery.id] = delivery, task
        return []

    def _tell_states(self, now: int) -> None:
        waiting = self._journal.waiting.values()
        telemetry.ALERTS_WAITING.set(len(waiting))
        oldest = min((d.created_at for d in waiting if d.state != "held"), default=now)
        telemetry.ALERTS_OUTBOX_AGE.set(max(now - oldest, 0) / 1000)

    def _subscription(self, delivery: Delivery) -> Subscription | None:
        for subscription in self._journal.offices.get(delivery.office, ()):
            if subscription.id == delivery.subscription:
                return subscription
        return None

    async def _attempt(self, delivery: Delivery, subscription: Subscription) -> None:
        message = self._journal.messages.get(delivery.source)
        try:
            if message is None and not _is_test(delivery):
                raise Failed("what it tells of is not in the log")
            await self._asides.of(delivery.office).run(
                lambda: self._send(delivery, subscription, message), ATTEMPT_SECONDS
            )
        except TimeoutError:
            after = outbox.failed(delivery, "no answer in time", _now(), self._give_up_after)
        except Failed as error:
            reason = without_secrets(str(error), subscription)
            after = outbox.failed(delivery, reason, _now(), self._give_up_after)
        except Exception as error:
            # A channel's own bug must not end the worker: it is a failed attempt with a reason.
            reason = without_secrets(f"{type(error).__name__}: {error}", subscription)
            stack = without_secrets(traceback.format_exc(), subscription)
            log.error("channel %s failed: %s", subscription.channel, stack)
            after = outbox.failed(delivery, reason, _now(), self._give_up_after)
        else:
            after = outbox.delivered(delivery, _now())
        telemetry.ALERTS_ATTEMPTS.inc(channel=subscription.channel, state=after.state)
        if after.state == "given_up":
            self.given_up += 1
            telemetry.ALERTS_GIVEN_UP.inc()
            log.error(
                "delivery %s to %s/%s given up after %d attempts: %s",
                after.id,
                after.office,
                after.subscription,
                after.attempts,
                after.last_error,
            )
        await self._write([after, *self._woken(after)])

    def _woken(self, after: Delivery) -> list[Delivery]:
        """A receiver that answers again gets at once what waits for it."""
        if after.state != "delivered":
            return []
        return [
            msgspec.structs.replace(other, next_at=after.at)
            for other in self._journal.waiting.values()
            if (other.office, other.subscription) == (after.office, after.subscription)
            and other.id != after.id
            and other.id not in self._busy
            and other.state == "pending"
            and other.next_at > after.at
        ]

    async def _send(self, delivery: Delivery, subscription: Subscription, message: Any) -> None:
        if is_sealed(subscription.address) or is_sealed(subscription.secret or ""):
            raise Failed("the address was sealed with another key (YUMAI_SUBSCRIPTIONS_KEY)")
        message = _as_heard(message, delivery.office)
        url = self._url(message)
        if subscription.channel == "webhook":
            body = encoded(body_of(delivery, message, subscription.language, url))
            sender = self._webhooks.setdefault(delivery.office, Sender(self._allowed))
            await sender.send(subscription.address, delivery.id, body, subscription.secret or "")
        elif subscription.channel != "inbox":
            if why := apprise_addresses.problem(subscription.channel, subscription.address):
                raise Failed(why)
            title, text = _words(message, subscription.language, url)
            await chat.send(subscription.channel, subscription.address, title, text, self._allowed)

    def _url(self, message: Any) -> str:
        base = self._settings.gateway_url
        return (
            wording.alert_url(base, message.id) if isinstance(message, StepRecord) else f"{base}/"
        )


def _as_heard(message: Any, office: str) -> Any:
    """The message without what is not this office's to know."""
    if isinstance(message, FeedStep):
        return outbox.feed_as_heard(message, office)
    if isinstance(message, Event):
        return outbox.item_as_heard(message, office)
    return message


def body_of(delivery: Delivery, message: Any, language: str, url: str) -> dict[str, Any]:
    """The body of a webhook: the same at every attempt."""
    data: dict[str, Any] = {
        "alert_id": None,
        "seq": None,
        "district": None,
        "year": None,
        "state": None,
        "level": None,
        "text": "",
        "url": url,
        "figures": None,
    }
    kind, at = "test", delivery.created_at
    if isinstance(message, StepRecord):
        kind, at = f"alert.{message.kind}", message.at
        data |= {
            "alert_id": message.id,
            "seq": message.seq,
            "district": message.district,
            "year": message.year,
            "state": message.state,
            "level": message.level,
            "text": wording.text(message, language, url),
            "figures": message.figures,
        }
    elif isinstance(message, FeedStep):
        kind, at = f"feed.{message.state}", message.at
        data |= {
            "seq": message.seq,
            "state": message.state,
            "platform_id": message.platform_id,
            "districts": message.districts,
            "last_entry_at": message.last_entry_at,
            "text": wording.feed_text(message, language, url),
        }
    elif isinstance(message, Event):
        kind, at = "work_item.overdue", message.at
        data |= {
            "alert_id": message.fields.get("alert_id"),
            "district": message.fields.get("district"),
            "text": wording.item_text(message, language, url),
            "work_item": {"id": message.item} | message.fields,
        }
    else:
        data["text"] = wording.test_text(language, url)
    timestamp = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return {"type": kind, "timestamp": timestamp, "data": data}


def _words(message: Any, language: str, url: str) -> tuple[str, str]:
    if isinstance(message, StepRecord):
        text = wording.text(message, language, url)
    elif isinstance(message, FeedStep):
        text = wording.feed_text(message, language, url)
    elif isinstance(message, Event):
        text = wording.item_text(message, language, url)
    else:
        text = wording.test_text(language, url)
    title, _, rest = text.partition("\n")
    return title, rest


def _is_test(delivery: Delivery) -> bool:
    return delivery.source.startswith("test/")


def _now() -> int:
    return int(time.time() * 1000)

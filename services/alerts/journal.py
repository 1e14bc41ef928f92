"""The journal, and the work that follows from it and is not in the log yet. Pure.

The log is the memory, so a lost disk, a restart and another worker all come to the same state. What follows is found
by comparing: a told step without its delivery, an explanation without its work item and an action without its verdict
are work still to be done, whichever worker left it.
"""

from __future__ import annotations

from typing import Any

from contracts.actions.codec import Action
from contracts.alerts import outbox as records
from contracts.alerts.codec import StepRecord
from contracts.work_items.codec import Event
from services.alerts import outbox
from yumai.journal import fold


class Journal(fold.Journal):
    def clear(self) -> None:
        super().clear()
        self.changed: set[str] = set()
        """Districts whose target changed; the round that judges them clears it."""
        self.caused: dict[str, str] = {}
        """Action -> kind of the last step it caused."""
        self.messages: dict[str, Any] = {}
        """Source -> what it tells of (a step, an item's event, a feed's step, a test's action), while a message waits."""
        self.untold: dict[str, list[str]] = {}
        """Source -> whom it is told, where a delivery is not in the log yet."""
        self.explained: dict[str, StepRecord] = {}
        """Steps whose work item's event is not in the log yet, by that event's id."""

    def take(self, record: fold.ConsumerRecord) -> fold.Fact | None:
        fact = super().take(record)
        match fact:
            case (_, district, _):
                self.changed.add(district)
            case StepRecord():
                self._step_follows(fact)
            case Event():
                self.explained.pop(fact.event, None)
                if fact.kind == "escalated":
                    self._to_tell(outbox.item_source(fact.event), fact, fact.tell)
            case records.FeedStep():
                self._to_tell(outbox.feed_source(fact.platform_id, fact.seq), fact, fact.tell)
        return fact

    def _step_follows(self, step: StepRecord) -> None:
        if step.action is not None:
            self.caused[step.action] = step.kind
        self._to_tell(outbox.alert_source(step.id, step.seq), step, step.tell)
        if step.kind == "explained":
            event = f"{step.id}/{step.seq}"
            if event not in self.items.events:
                self.explained[event] = step

    def test(self, action: Action) -> None:
        """A test message that is asked for."""
        to = records.target(action.office or "", action.subscription or "")
        self._to_tell(outbox.test_source(action.id), action, [to])

    def _to_tell(self, source: str, message: Any, tell: list[str]) -> None:
        ids = {to: records.delivery_id(*records.split_target(to), source) for to in tell}
        missing = [to for to, id_ in ids.items() if id_ not in self.deliveries]
        if missing:
            self.untold[source] = missing
        if missing or any(id_ in self.waiting for id_ in ids.values()):
            self.messages[source] = message

    def note(self, delivery: records.Delivery) -> records.Delivery | None:
        noted = super().note(delivery)
        source = delivery.source
        if noted is None:
            return None
        if source in self.untold:
            made = delivery.id
            left = [
                to
                for to in self.untold[source]
                if records.delivery_id(*records.split_target(to), source) != made
            ]
            self.untold[source] = left
            if not left:
                del self.untold[source]
        if (
            delivery.id not in self.waiting
            and source not in self.untold
            and all(other.source != source for other in self.waiting.values())
        ):
            self.messages.pop(source, None)
        return noted

"""Records that follow from the log and are not in it yet. Pure.

Every reading of the log finds them again, so that a worker that dies between a step and what follows loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.actions.codec import Action, Result, Verdict
from contracts.actions.codec import encode as encode_verdict
from contracts.alerts.codec import SYSTEM, StepRecord
from contracts.alerts.outbox import Delivery, encode, split_target
from contracts.work_items import codec as items
from services.alerts import outbox
from services.alerts.journal import Journal
from services.alerts.lifecycle import Ended, next_step
from services.alerts.publish import ProducerRecord
from yumai import topics
from yumai.sectors import sectors

TITLE_MOST = 200
SAID = ("title", "district", "task", "departments", "due_date", "alert_id")
"""What an escalation says of its item."""
STEP_OF = {"acknowledge": "acknowledged", "explain": "explained", "silence": "silenced"}


def deliveries(journal: Journal, source: str, now: int) -> Iterator[Delivery]:
    """One for each whom a message is told."""
    message = journal.messages.get(source)
    at = message.at if message is not None else now
    alert, seq = None, None
    if isinstance(message, StepRecord):
        alert, seq = message.id, message.seq
    for to in journal.untold[source]:
        if isinstance(message, items.Event):
            office, _ = split_target(to)
            alert = outbox.item_as_heard(message, office).fields.get("alert_id")
        yield outbox.made(to, source, at, now, alert, seq)


def delivery_record(delivery: Delivery) -> ProducerRecord:
    return ProducerRecord(topics.DELIVERIES, delivery.id, encode(delivery))


def work_item_event(step: StepRecord, event: str, known: bool) -> items.Event:
    fields: dict[str, object] = {
        "title": (step.measure or step.text or "")[:TITLE_MOST],
        "due_date": step.due_date,
    }
    if not known:
        task = _task(step)
        fields |= {
            "district": step.district,
            "alert_id": step.id,
            "status": "open",
            "task": task,
            "departments": [],
            "milestones": [],
        }
    return items.Event(
        step.work_item_id or "", event, step.at, step.by, "changed" if known else "created", fields
    )


def _task(step: StepRecord) -> int | None:
    """The plan's first task of the sector that lags most."""
    lagging = [s for s in step.sectors if s.level in ("blue", "yellow", "red")]
    if not lagging:
        return None
    worst = min(lagging, key=lambda s: (s.pace if s.pace is not None else 9.0, s.sector))
    tasks = next((row["tasks"] for row in sectors() if row["code"] == worst.sector), "")
    first = tasks.replace("|", " ").replace(";", " ").replace(",", " ").split()
    return int(first[0]) if first and first[0].isdigit() else None


def item_record(event: items.Event) -> ProducerRecord:
    return ProducerRecord(topics.WORK_ITEMS, event.item, items.encode(event))


def is_done(journal: Journal, action: Action) -> bool:
    """The step that it asks for is in the log."""
    return journal.caused.get(action.id) == STEP_OF.get(action.kind)


def step_for(journal: Journal, action: Action) -> StepRecord | None:
    """The next step of an action that is not done. Raises Ended."""
    if is_done(journal, action) or action.kind == "test":
        return None
    return next_step(journal.alerts.get(action.alert_id or ""), action)


def verdict(journal: Journal, action: Action, now: int) -> Verdict:
    """The verdict on an action that brings no further step."""
    alert = journal.alerts.get(action.alert_id or "")
    result: Result = (
        "applied" if action.kind == "test" or action.id in journal.caused else "unchanged"
    )
    code = None
    if result == "unchanged":
        try:
            next_step(alert, action)
        except Ended:
            result, code = "refused", "ended"
    return Verdict(action.id, now, result, action.alert_id, alert.seq if alert else 0, code)


def verdict_record(found: Verdict) -> ProducerRecord:
    return ProducerRecord(topics.ACTIONS, found.key, encode_verdict(found))


def escalation(journal: Journal, id_: str, today: str, now: int) -> items.Event | None:
    """The escalation of an overdue item, once for each due day that it missed."""
    item = journal.items.items[id_]
    if not items.is_overdue(item, today):
        return None
    missed = items.overdue_since(item)
    event = f"{id_}/overdue/{missed}"
    if event in journal.items.events:
        return None
    said = {"missed": missed} | {name: item[name] for name in SAID}
    return items.Event(id_, event, now, SYSTEM, "escalated", said)

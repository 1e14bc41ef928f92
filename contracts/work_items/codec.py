"""The record of `work-items.v1`: one change of one work item. Key: the item's id; kept for ever.

An item is its events in the log's order: the last that names a field holds. An event read twice (same
`event`) changes nothing. The plan's twenty tasks are items without any event (`yumai/reference/tasks.csv`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["created", "changed", "escalated"]
Status = Literal["open", "in_progress", "done", "dropped"]
CLOSED = ("done", "dropped")
PLAN_PREFIX = "plan-"
FIELDS = (
    "task",
    "departments",
    "district",
    "title",
    "milestones",
    "due_date",
    "status",
    "evidence_url",
    "alert_id",
)
EMPTY: dict[str, Any] = {
    "task": None,
    "departments": [],
    "district": None,
    "title": "",
    "milestones": [],
    "due_date": None,
    "status": "open",
    "evidence_url": None,
    "alert_id": None,
}


class Event(msgspec.Struct, omit_defaults=False):
    """`at` in epoch ms. `fields`: what it set; when escalated, `missed` (a day) and the item as it was."""

    item: str
    event: str
    at: int
    by: str
    kind: Kind
    fields: dict[str, Any]
    tell: list[str] = []
    """Whom an escalation is told (`office/subscription`)."""


class _Milestone(msgspec.Struct):
    date: str | None = None
    done: bool | None = None


class _Fields(msgspec.Struct):
    """Fields that an event may set; readers of items rely on these types."""

    task: int | None = None
    departments: list[str] = []
    district: str | None = None
    title: str | None = None
    milestones: list[_Milestone] = []
    due_date: str | None = None
    status: Status = "open"
    evidence_url: str | None = None
    alert_id: str | None = None


class Items:
    """Work items as their events left them."""

    def __init__(self, seeds: dict[str, dict[str, Any]] | None = None) -> None:
        self.items: dict[str, dict[str, Any]] = {i: dict(f) for i, f in (seeds or {}).items()}
        self.history: dict[str, list[Event]] = {}
        self.events: set[str] = set()

    def apply(self, event: Event) -> bool:
        """False if it was known."""
        if event.event in self.events:
            return False
        self.events.add(event.event)
        item = self.items.setdefault(event.item, dict(EMPTY))
        if event.kind != "escalated":
            item.update((name, value) for name, value in event.fields.items() if name in FIELDS)
        self.history.setdefault(event.item, []).append(event)
        return True


def overdue_since(item: dict[str, Any]) -> str | None:
    """The first day (YYYY-MM-DD) that it may not outlive undone; None: nothing is due."""
    if item["status"] in CLOSED:
        return None
    days = [m["date"] for m in item["milestones"] if m.get("date") and not m.get("done")]
    if item["due_date"]:
        days.append(item["due_date"])
    return min(days, default=None)


def is_overdue(item: dict[str, Any], today: str) -> bool:
    """`today` in Shanghai: a day that has not ended is not overdue."""
    due = overdue_since(item)
    return due is not None and due < today


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode(value: bytes) -> Event:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    event = _decoder.decode(value)
    if event.kind != "escalated":
        msgspec.convert(event.fields, _Fields)
    return event

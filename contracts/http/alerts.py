"""Answers about alerts, work items, subscriptions and deliveries."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.alerts.codec import Kind, Level, State
from contracts.alerts.outbox import Channel, DeliveryState
from contracts.http.words import CountedMeta, Day, District, Fen, Instant, Meta, Ratio, Sector
from contracts.work_items.codec import Kind as ItemKind
from contracts.work_items.codec import Status


class AlertSilence(TypedDict):
    by: str
    until: str
    reason: str


class AlertSector(TypedDict):
    sector: Sector
    level: str | None
    pace: Ratio | None
    attained_fen: Fen | None


class Alert(TypedDict):
    """An alert after its last step. While it goes on, `sectors` and `figures` (a row of `/v1/progress`) are those of now."""

    id: str
    district: District
    year: int
    state: State
    level: Level | None
    escalated_at: Instant | None
    silence: AlertSilence | None
    work_item_id: str | None
    sectors: list[AlertSector]
    figures: dict[str, Any]
    kind: Kind
    seq: int
    at: Instant
    first_at: Instant
    opened_at: Instant | None


class AlertStep(TypedDict):
    seq: int
    at: Instant
    by: str
    kind: Kind
    state: State
    level: Level | None
    text: str | None
    figures: dict[str, Any]


class AlertWithHistory(Alert):
    history: list[AlertStep]


class Alerts(TypedDict):
    meta: CountedMeta
    data: list[Alert]


class OneAlert(TypedDict):
    meta: Meta
    data: AlertWithHistory


class ActedMeta(Meta):
    """`action`: its id; `note`: that it waits for alerts to come back."""

    action: str
    note: NotRequired[str]


class ActedOn(TypedDict):
    meta: ActedMeta
    data: Alert


class WorkItemMilestone(TypedDict):
    title: str
    date: Day | None
    done: bool


class WorkItemEvent(TypedDict):
    """`fields`: what it set."""

    at: Instant
    by: str
    kind: ItemKind
    fields: dict[str, Any]


class WorkItem(TypedDict):
    """`task`: of the plan; `history`: what happened to it while it was yours."""

    id: str
    task: int | None
    departments: list[str]
    district: District | None
    title: str
    milestones: list[WorkItemMilestone]
    due_date: Day | None
    status: Status
    overdue: bool
    escalated_at: Instant | None
    evidence_url: str | None
    alert_id: str | None
    history: list[WorkItemEvent]


class WorkItems(TypedDict):
    meta: CountedMeta
    data: list[WorkItem]


class OneWorkItem(TypedDict):
    meta: Meta
    data: WorkItem


Hours = TypedDict("Hours", {"from": str, "to": str})


class Subscription(TypedDict):
    """`secret`: told once, to who sets it; an address shows nothing that lets one write to it."""

    id: str
    channel: Channel
    address: str
    levels: list[Literal["blue", "yellow", "red"]]
    sectors: list[Sector] | None
    language: Literal["zh", "en"]
    quiet_hours: Hours | None
    secret: str | None


class Subscriptions(TypedDict):
    meta: CountedMeta
    data: list[Subscription]


class Sent(TypedDict):
    """The delivery's id: see `/v1/deliveries`."""

    id: str
    subscription: str


class TestSent(TypedDict):
    meta: Meta
    data: Sent


class Delivery(TypedDict):
    id: str
    subscription: str
    office: str
    alert_id: str | None
    seq: int | None
    state: DeliveryState
    attempts: int
    last_error: str | None
    created_at: Instant
    at: Instant


class Deliveries(TypedDict):
    meta: CountedMeta
    data: list[Delivery]

"""What the gateway's bodies may say."""

from __future__ import annotations

import base64
import binascii
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from contracts.alerts.outbox import LEVELS, SECRET_PREFIX, Channel, QuietHours
from contracts.days import SHANGHAI
from contracts.work_items.codec import Status
from services.gateway.bodies import (
    NONE_IF_EMPTY,
    Body,
    Day,
    MaybeDay,
    MaybeText,
    Stripped,
    Text,
    Until,
    UntilGiven,
)
from services.gateway.parameters import TASKS
from yumai.http.parameters import OneOf
from yumai.journal.fold import plan_items
from yumai.store.figures import SERVICE_SECTORS

MILESTONES_MOST = 100


def _not_past(day: date) -> date:
    if day < datetime.now(SHANGHAI).date():
        raise ValueError(f"{day} has passed")
    return day


def _ahead(until: Until) -> Until:
    if until.at <= datetime.now(SHANGHAI):
        raise ValueError(f"{until.text} has passed")
    return until


class Acknowledge(Body):
    note: MaybeText = None


class Explain(Body):
    text: Text
    measure: Text
    due_date: Annotated[Day, AfterValidator(_not_past)]


class Silence(Body):
    until: Annotated[UntilGiven, AfterValidator(_ahead)]
    reason: Text


# -- work items -----------------------------------------------------------------------------------------

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Department = Annotated[
    str,
    OneOf(
        {code for item in plan_items().values() for code in item["departments"]},
        "department's code",
    ),
]
Link = Annotated[Stripped, StringConstraints(pattern=r"^https?://\S+$")]


def _once(given: list[str] | None) -> list[str]:
    return list(dict.fromkeys(given or ()))


class Milestone(Body):
    title: Title
    date: MaybeDay = None
    done: bool | None = None


class WorkItemChange(Body):
    """A change of a work item: fields left out stay as they are."""

    task: Annotated[int, Field(ge=1, le=TASKS)] | None = None
    departments: Annotated[list[Department] | None, AfterValidator(_once)] = None
    district: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=10)] | None,
        NONE_IF_EMPTY,
    ] = None
    title: Title = ""
    milestones: Annotated[list[Milestone], Field(max_length=MILESTONES_MOST)] | None = None
    due_date: MaybeDay = None
    status: Status = "open"
    evidence_url: Annotated[Link | None, BeforeValidator(lambda given: given or None)] = None
    alert_id: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=40)] | None,
        NONE_IF_EMPTY,
    ] = None


class WorkItemNew(WorkItemChange):
    title: Title


# -- subscriptions --------------------------------------------------------------------------------------

Clock = Annotated[
    str, StringConstraints(pattern=r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", max_length=5)
]


class QuietHoursAsked(Body):
    """`HH:MM` in Shanghai, to `24:00`; over midnight where `to` is before `from`."""

    to: Clock
    from_: Annotated[Clock, Field(alias="from")]

    @field_validator("from_")
    @classmethod
    def _ends_later(cls, first: str, info: ValidationInfo) -> str:
        if first in ("24:00", info.data.get("to")):
            raise ValueError("quiet hours end after they begin")
        return first

    def kept(self) -> QuietHours:
        return QuietHours(self.from_, self.to)


class SubscriptionAsked(Body):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    channel: Channel
    address: Annotated[
        Stripped, BeforeValidator(lambda given: given or ""), Field(validate_default=True)
    ] = ""
    levels: list[Annotated[str, OneOf(LEVELS, "level")]] | None = None
    sectors: list[Annotated[str, OneOf(SERVICE_SECTORS, "sector of services")]] | None = None
    language: Annotated[Literal["zh", "en"], BeforeValidator(lambda given: given or "zh")] = "zh"
    quiet_hours: QuietHoursAsked | None = None
    secret: Annotated[
        MaybeText,
        Field(description=f"Of a webhook: {SECRET_PREFIX} and the base64 of 24 to 64 bytes"),
    ] = None

    @field_validator("address")
    @classmethod
    def _is_there(cls, address: str, info: ValidationInfo) -> str:
        if not address and info.data.get("channel") != "inbox":
            raise ValueError("a text is needed")
        return address

    @field_validator("secret")
    @classmethod
    def _is_a_webhooks(cls, secret: str | None, info: ValidationInfo) -> str | None:
        if secret is None:
            return None
        if info.data.get("channel") != "webhook":
            raise ValueError("only a webhook has one")
        if not is_secret(secret):
            raise ValueError(f"want {SECRET_PREFIX} and the base64 of 24 to 64 bytes")
        return secret


def is_secret(text: str) -> bool:
    if not text.startswith(SECRET_PREFIX):
        return False
    try:
        raw = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return 24 <= len(raw) <= 64


class TargetAsked(Body):
    """A row of `PUT /v1/targets`; numbers count exactly as they are written."""

    year: int
    district: Annotated[str, Field(description="A district's code, or `city`")]
    sector: Annotated[str | None, Field(description="Left out: all services")] = None
    form: Literal["amount", "growth", "share"]
    value: Annotated[float, Field(description="Fen, or a ratio")]
    base_fen: int | None = None
    basis: Annotated[str | None, Field(description="Where it is written")] = None
    note: str | None = None

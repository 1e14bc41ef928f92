"""`/v1/work-items`: the work list (工作清单). Every change is an event of `work-items.v1`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from contracts.alerts.codec import Step, district_of
from contracts.days import SHANGHAI
from contracts.http.alerts import OneWorkItem, WorkItems
from contracts.work_items.codec import EMPTY, Event, Kind, encode, is_overdue
from services.gateway.alerts import alerts_in_scope, instant, meta
from services.gateway.bodies import parsed, read, taken
from services.gateway.login import principal_of
from services.gateway.parameters import WorkItemsParameters
from services.gateway.register import Register, register_of
from services.gateway.requests import WorkItemChange, WorkItemNew
from yumai.access import Principal
from yumai.districts import districts
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors, takes
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused
from yumai.journal.fold import plan_items
from yumai.topics import WORK_ITEMS

router = APIRouter(route_class=Direct, tags=["work items"])
ItemId = Annotated[
    str, Path(alias="id", description="A work item's id; plan-N: task N of the plan")
]
BODY_ERRORS = ("body_undecodable", "too_large", "unsupported_media_type", "invalid_field")


@router.get(
    "/v1/work-items", response_model=WorkItems, responses=errors("forbidden", "invalid_parameter")
)
async def list_items(
    request: Request, asked: Annotated[WorkItemsParameters, FROM_QUERY]
) -> Response:
    """The work list: the plan's tasks, and what districts said they would do."""
    tasks, alert, statuses, overdue = asked.task, asked.alert, asked.status, asked.overdue
    scope = alerts_in_scope(principal_of(request), asked.district)
    register = register_of(request)
    await register.ready()
    principal = principal_of(request)
    if alert is not None and _seen_alert(principal, register, alert) is None:
        alert = ""  # another's is like none
    found = [
        item_of(register, id_, principal)
        for id_, item in register.journal.items.items.items()
        if (tasks is None or str(item["task"]) in tasks)
        and (scope is None or item["district"] in scope)
        and (alert is None or item["alert_id"] == alert)
        and (statuses is None or item["status"] in statuses)
    ]
    if overdue is not None:
        found = [item for item in found if item["overdue"] == (overdue in ("true", "1"))]
    return answer({"meta": await meta(request) | {"count": len(found)}, "data": found})


@router.get(
    "/v1/work-items/{id}",
    response_model=OneWorkItem,
    responses=errors("forbidden", "not_found", "invalid_parameter"),
)
async def one(request: Request, id_: ItemId, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """One item and what happened to it."""
    register = register_of(request)
    await _check_mine(request, register, id_)
    data = item_of(register, id_, principal_of(request))
    return answer({"meta": await meta(request), "data": data})


@router.post(
    "/v1/work-items",
    status_code=201,
    response_model=OneWorkItem,
    responses=errors("forbidden", *BODY_ERRORS),
    openapi_extra=takes(WorkItemNew),
)
async def make(request: Request) -> Response:
    """A new item; a district's is its own."""
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    register = register_of(request)
    await register.ready()
    asked = read(WorkItemNew, parsed(await taken(request)))
    changes = {"title": asked.title} | _changes(asked, principal, register)
    if principal.role == "district":
        changes["district"] = principal.code
    if changes.get("departments") is None and changes.get("task"):
        changes["departments"] = plan_items()[f"plan-{changes['task']}"]["departments"]
    fields = EMPTY | {name: value for name, value in changes.items() if value is not None}
    _check_alert(fields, register)
    id_ = f"wi-{uuid.uuid4().hex[:12]}"
    await _write(register, id_, principal, "created", fields)
    data = item_of(register, id_, principal)
    return answer({"meta": await meta(request), "data": data}, 201)


@router.patch(
    "/v1/work-items/{id}",
    response_model=OneWorkItem,
    responses=errors("forbidden", "not_found", *BODY_ERRORS),
    openapi_extra=takes(WorkItemChange),
)
async def change(request: Request, id_: ItemId) -> Response:
    """Changes the fields that are named."""
    principal = principal_of(request)
    register = register_of(request)
    await _check_mine(request, register, id_)
    asked = read(WorkItemChange, parsed(await taken(request)))
    changes = _changes(asked, principal, register)
    known = register.journal.items.items[id_]
    # What holds already makes no event: changing twice is harmless.
    changes = {name: value for name, value in changes.items() if known[name] != value}
    if "alert_id" in changes or "district" in changes:
        _check_alert({**known, **changes}, register)
    if changes:
        await _write(register, id_, principal, "changed", changes)
    data = item_of(register, id_, principal)
    return answer({"meta": await meta(request), "data": data})


async def _write(
    register: Register, id_: str, principal: Principal, kind: Kind, fields: dict[str, Any]
) -> None:
    at = int(datetime.now(UTC).timestamp() * 1000)
    event = Event(id_, uuid.uuid4().hex, at, principal.name, kind, fields)
    offset = await register.write(WORK_ITEMS, id_, encode(event))
    await register.seen(WORK_ITEMS, offset)


async def _check_mine(request: Request, register: Register, id_: str) -> None:
    """Raises Refused: another's is not there."""
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    await register.ready()
    item = register.journal.items.items.get(id_)
    if item is None or not principal.may_see_district(item["district"] or ""):
        raise Refused("not_found", "id", f"no work item {id_}")


def item_of(register: Register, id_: str, principal: Principal) -> dict[str, Any]:
    """The item as it stands, and what happened to it while it was the reader's."""
    item = register.journal.items.items[id_]
    history = seen_history(register.journal.items.history.get(id_, ()), principal)
    today = datetime.now(SHANGHAI).date().isoformat()
    return {
        "id": id_,
        "task": item["task"],
        "departments": item["departments"],
        "district": item["district"],
        "title": item["title"],
        "milestones": item["milestones"],
        "due_date": item["due_date"],
        "status": item["status"],
        "overdue": is_overdue(item, today),
        "escalated_at": _escalated_at(history) if is_overdue(item, today) else None,
        "evidence_url": item["evidence_url"],
        "alert_id": own_alert(item["alert_id"], principal),
        "history": [
            {"at": instant(e.at), "by": e.by, "kind": e.kind, "fields": _own_fields(e, principal)}
            for e in history
        ],
    }


def seen_history(events: Sequence[Event], principal: Principal) -> list[Event]:
    """A district sees events after which the item was its own: what others did before or between is theirs."""
    seen, district = [], ""
    for event in events:
        # An escalation says whose the item was; it moves nothing.
        if "district" in event.fields and event.kind != "escalated":
            district = event.fields["district"] or ""
        if principal.may_see_district(district):
            seen.append(event)
    return seen


def own_alert(id_: str | None, principal: Principal) -> str | None:
    """An item that was moved may name an alert of the district before."""
    return id_ if id_ and principal.may_see_district(district_of(id_)) else None


def _own_fields(event: Event, principal: Principal) -> dict[str, Any]:
    if "alert_id" not in event.fields:
        return event.fields
    return event.fields | {"alert_id": own_alert(event.fields["alert_id"], principal)}


def _escalated_at(events: Sequence[Event]) -> str | None:
    """When the bureau was told that it is overdue."""
    return next((instant(e.at) for e in reversed(events) if e.kind == "escalated"), None)


def _changes(asked: WorkItemChange, principal: Principal, register: Register) -> dict[str, Any]:
    """What a body sets. Raises Refused for another's district or alert."""
    found = asked.model_dump(mode="json", include=asked.model_fields_set)
    if "district" in found:
        _check_district(found["district"], principal)
    alert = found.get("alert_id")
    if alert is not None and _seen_alert(principal, register, alert) is None:
        raise Refused("invalid_field", "alert_id", f"no alert {alert!r}")
    if "milestones" in found:
        found["milestones"] = [m | {"done": bool(m["done"])} for m in found["milestones"] or ()]
    return found


def _check_district(code: str | None, principal: Principal) -> None:
    if principal.role == "district" and code != principal.code:
        raise Refused("forbidden", "district", f"district {code}: not yours")
    if code is not None and code not in districts():
        raise Refused("invalid_field", "district", f"{code!r} is no district code")


def _seen_alert(principal: Principal, register: Register, id_: str) -> Step | None:
    """Another's alert is not there."""
    alert = register.journal.alerts.get(id_)
    return alert if alert is not None and principal.may_see_district(alert.district) else None


def _check_alert(item: dict[str, Any], register: Register) -> None:
    """An item of one district names no alert of another. Raises Refused."""
    alert = register.journal.alerts.get(item["alert_id"] or "")
    if alert is not None and item["district"] not in (None, alert.district):
        message = f"alert {alert.id} is of another district than the item"
        raise Refused("invalid_field", "alert_id", message)

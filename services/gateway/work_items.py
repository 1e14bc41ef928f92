"""`/v1/work-items`: the work list (工作清单). Every change is an event of `work-items.v1`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from contracts.alerts.codec import Step, district_of
from contracts.work_items.codec import EMPTY, FIELDS, Event, Kind, Status, encode, is_overdue
from services.gateway.alerts import alerts_in_scope, answer, instant, meta, register_of
from services.gateway.bodies import Fields, parsed, taken
from services.gateway.errors import Refused
from services.gateway.login import principal_of
from services.gateway.parameters import Reader
from services.gateway.register import Register, plan_items
from yumai.access import Principal
from yumai.districts import districts
from yumai.store.figures import SHANGHAI
from yumai.topics import WORK_ITEMS

TASKS = 20
STATUSES = get_args(Status)
MILESTONES_MOST = 100
MILESTONE = ("title", "date", "done")
_LINK = re.compile(r"https?://[^\s]+")


async def list_items(request: Request) -> Response:
    reader = Reader(request.query_params, ("task", "district", "alert", "overdue", "status"))
    tasks = reader.codes("task", [str(n) for n in range(1, TASKS + 1)], "task (1 to 20)")
    asked, alert = reader.districts(), reader.text("alert")
    statuses = reader.codes("status", STATUSES, f"status ({', '.join(STATUSES)})")
    overdue = reader.text("overdue")
    if overdue not in (None, "true", "false", "1", "0"):
        reader.wrong("overdue", f"{overdue!r} is neither true nor false")
    reader.check()
    scope = alerts_in_scope(principal_of(request), asked)
    register = register_of(request)
    await register.ready()
    principal = principal_of(request)
    if alert is not None and _seen_alert(principal, register, alert) is None:
        alert = ""  # another's is like none
    found = [
        item_of(register, id_, principal)
        for id_, item in register.items.items.items()
        if (tasks is None or str(item["task"]) in tasks)
        and (scope is None or item["district"] in scope)
        and (alert is None or item["alert_id"] == alert)
        and (statuses is None or item["status"] in statuses)
    ]
    if overdue is not None:
        found = [item for item in found if item["overdue"] == (overdue in ("true", "1"))]
    return answer({"meta": await meta(request) | {"count": len(found)}, "data": found})


async def one(request: Request) -> Response:
    Reader(request.query_params, ()).check()
    register = register_of(request)
    id_ = await _mine(request, register)
    data = item_of(register, id_, principal_of(request))
    return answer({"meta": await meta(request), "data": data})


async def make(request: Request) -> Response:
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    register = register_of(request)
    await register.ready()
    changes = _read(parsed(await taken(request)), principal, register, new=True)
    if changes.get("departments") is None and changes.get("task"):
        changes["departments"] = plan_items()[f"plan-{changes['task']}"]["departments"]
    fields = EMPTY | {name: value for name, value in changes.items() if value is not None}
    _check_alert(fields, register)
    id_ = f"wi-{uuid.uuid4().hex[:12]}"
    await _write(register, id_, principal, "created", fields)
    data = item_of(register, id_, principal)
    return answer({"meta": await meta(request), "data": data}, 201)


async def change(request: Request) -> Response:
    principal = principal_of(request)
    register = register_of(request)
    id_ = await _mine(request, register)
    changes = _read(parsed(await taken(request)), principal, register, new=False)
    known = register.items.items[id_]
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


async def _mine(request: Request, register: Register) -> str:
    """The item of the path. Raises Refused: another's is not there."""
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    await register.ready()
    id_ = request.path_params["id"]
    item = register.items.items.get(id_)
    if item is None or not principal.may_see_district(item["district"] or ""):
        raise Refused("not_found", "id", f"no work item {id_}")
    return str(id_)


def item_of(register: Register, id_: str, principal: Principal) -> dict[str, Any]:
    """The item as it stands, and what happened to it while it was the reader's."""
    item = register.items.items[id_]
    history = seen_history(register.items.history.get(id_, ()), principal)
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


def _read(body: Any, principal: Principal, register: Register, new: bool) -> dict[str, Any]:
    """The fields that a body sets, checked. Raises Refused."""
    fields = Fields(body, FIELDS)
    found: dict[str, Any] = {}
    task = fields.get("task")
    if fields.has("task"):
        if task is not None and (
            not isinstance(task, int) or isinstance(task, bool) or not 1 <= task <= TASKS
        ):
            fields.wrong("task", "want a task of the plan, 1 to 20")
        found["task"] = task
    if fields.has("departments"):
        found["departments"] = _departments(fields)
    if fields.has("district") or (new and principal.role == "district"):
        found["district"] = _district(fields, principal)
    if fields.has("title") or new:
        found["title"] = fields.text("title", required=True, most=200)
    if fields.has("milestones"):
        found["milestones"] = _milestones(fields)
    if fields.has("due_date"):
        due = fields.day("due_date")
        found["due_date"] = due and due.isoformat()
    if fields.has("status"):
        if fields.get("status") not in STATUSES:
            fields.wrong("status", f"want one of {', '.join(STATUSES)}")
        found["status"] = fields.get("status")
    if fields.has("evidence_url"):
        link = fields.text("evidence_url")
        if link is not None and not _LINK.fullmatch(link):
            fields.wrong("evidence_url", "want an address that begins with https:// or http://")
        found["evidence_url"] = link
    if fields.has("alert_id"):
        found["alert_id"] = _alert(fields, principal, register)
    fields.check()
    return found


def _departments(fields: Fields) -> list[str]:
    known = {code for item in plan_items().values() for code in item["departments"]}
    value = fields.get("departments")
    if value is None:
        return []
    if not isinstance(value, list) or any(not isinstance(code, str) for code in value):
        fields.wrong("departments", "want a list of codes")
        return []
    for code in value:
        if code not in known:
            fields.wrong("departments", f"{code!r} is no department's code")
    return list(dict.fromkeys(value))


def _district(fields: Fields, principal: Principal) -> str | None:
    code = fields.text("district", most=10)
    if principal.role == "district":
        if fields.has("district") and code != principal.code:
            raise Refused("forbidden", "district", f"district {code}: not yours")
        return principal.code
    if code is not None and code not in districts():
        fields.wrong("district", f"{code!r} is no district code")
    return code


def _milestones(fields: Fields) -> list[dict[str, Any]]:
    value = fields.get("milestones")
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MILESTONES_MOST:
        fields.wrong("milestones", f"want a list of at most {MILESTONES_MOST}")
        return []
    found = []
    for index, body in enumerate(value):
        milestone = Fields(body, MILESTONE)
        day = milestone.day("date")
        done = milestone.get("done")
        if done not in (None, True, False):
            milestone.wrong("done", "want true or false")
        found.append(
            {
                "title": milestone.text("title", required=True, most=200),
                "date": day and day.isoformat(),
                "done": bool(done),
            }
        )
        for problem in milestone.problems:
            said = problem.errors[0]
            fields.wrong(f"milestones[{index}].{said['field']}", str(said["message"]))
    return found


def _alert(fields: Fields, principal: Principal, register: Register) -> str | None:
    id_ = fields.text("alert_id", most=40)
    if id_ is None:
        return None
    if _seen_alert(principal, register, id_) is None:
        fields.wrong("alert_id", f"no alert {id_!r}")
    return id_


def _seen_alert(principal: Principal, register: Register, id_: str) -> Step | None:
    """Another's alert is not there."""
    alert = register.alerts.get(id_)
    return alert if alert is not None and principal.may_see_district(alert.district) else None


def _check_alert(item: dict[str, Any], register: Register) -> None:
    """An item of one district names no alert of another. Raises Refused."""
    alert = register.alerts.get(item["alert_id"] or "")
    if alert is not None and item["district"] not in (None, alert.district):
        message = f"alert {alert.id} is of another district than the item"
        raise Refused("invalid_field", "alert_id", message)

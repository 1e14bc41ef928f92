"""`POST /v1/alerts/{id}/acknowledge|explain|silence`: an action of `actions.v1`, and what came of it.

200 with the alert after it; 202 while alerts is away: the action is durable and is done once, later.
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from contracts.actions.codec import Action, Kind, Verdict, encode
from contracts.alerts.codec import LIVE
from services.gateway.alerts import answer, meta, mine, register_of, shown
from services.gateway.bodies import Fields, parsed, taken
from services.gateway.errors import Refused
from services.gateway.login import principal_of
from services.gateway.register import Register
from yumai.store.figures import SHANGHAI
from yumai.topics import ACTIONS

SOON_SECONDS = 2.0
"""By then alerts has answered, or is asked whether it is there."""
LONGEST_SECONDS = 15.0
FIELDS: dict[str, tuple[str, ...]] = {
    "acknowledge": ("note",),
    "explain": ("text", "measure", "due_date"),
    "silence": ("until", "reason"),
}


async def acknowledge(request: Request) -> Response:
    return await _act(request, "acknowledge")


async def explain(request: Request) -> Response:
    return await _act(request, "explain")


async def silence(request: Request) -> Response:
    return await _act(request, "silence")


async def _act(request: Request, kind: Kind) -> Response:
    register = register_of(request)
    step = await mine(request, register)
    body = parsed(await taken(request), {} if kind == "acknowledge" else None)
    asked = _asked(kind, body)
    if step.state not in LIVE:
        raise _ended(step.id, step.state)
    action = Action(
        uuid.uuid4().hex,
        kind,
        int(time.time() * 1000),
        principal_of(request).name,
        alert_id=step.id,
        **asked,
    )
    await register.write(ACTIONS, action.id, encode(action))
    verdict = await verdict_of(request, register, action.id)
    about = await meta(request) | {"action": action.id}
    if verdict is None:
        about["note"] = "alerts is away: it is kept, and done once as soon as alerts is back"
        return answer({"meta": about, "data": await shown(request, register.alerts[step.id])}, 202)
    await register.until(lambda: _is_shown(register, step.id, verdict), LONGEST_SECONDS)
    after = register.alerts[step.id]
    if verdict.result == "refused":
        raise _ended(step.id, after.state)
    return answer({"meta": about, "data": await shown(request, after)})


def _asked(kind: Kind, body: Any) -> dict[str, Any]:
    """The fields of an action. Raises Refused."""
    fields = Fields(body, FIELDS[kind])
    found: dict[str, Any] = {}
    now = time.time()
    if kind == "acknowledge":
        found = {"note": fields.text("note")}
    elif kind == "explain":
        due = fields.day("due_date", required=True)
        if due is not None and due < datetime.now(SHANGHAI).date():
            fields.wrong("due_date", f"{due} has passed")
        found = {
            "text": fields.text("text", required=True),
            "measure": fields.text("measure", required=True),
            "due_date": due and due.isoformat(),
        }
    else:
        until = fields.until("until")
        if until is not None and until[1].timestamp() <= now:
            fields.wrong("until", f"{until[0]} has passed")
        found = {
            "reason": fields.text("reason", required=True),
            "until": until and until[0],
            "until_ms": until and int(until[1].timestamp() * 1000),
        }
    fields.check()
    return found


async def verdict_of(request: Request, register: Register, action: str) -> Verdict | None:
    """What came of an action; None while alerts is away."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not await register.until(lambda: action in register.verdicts, SOON_SECONDS):
        if time.monotonic() > deadline or await _is_away(request):
            break
    return register.verdicts.get(action)


async def _is_away(request: Request) -> bool:
    """Not there at all, or without its log; one whose store is away still does what people ask."""
    state = await request.app.state.readiness.state()
    return any(name.startswith("alerts") for name in state["waiting_for"])


def _is_shown(register: Register, alert: str, verdict: Verdict) -> bool:
    """Everything that the verdict followed can be read here."""
    step = register.alerts.get(alert)
    if step is None or step.seq < verdict.seq:
        return False
    return step.work_item_id is None or step.work_item_id in register.items.items


def _ended(alert: str, state: str) -> Refused:
    return Refused("ended", None, f"alert {alert} is {state}: nobody can act on it now")

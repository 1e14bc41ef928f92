"""`POST /v1/alerts/{id}/acknowledge|explain|silence`: an action of `actions.v1`, and what came of it.

200 with the alert after it; 202 while alerts is away: the action is durable and is done once, later.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.actions.codec import Action, Kind, Verdict, encode
from contracts.alerts.codec import LIVE, Step
from contracts.http.alerts import ActedOn
from services.gateway.alerts import AlertId, meta, mine, shown
from services.gateway.bodies import parsed, read, taken
from services.gateway.login import principal_of
from services.gateway.register import Register, register_of
from services.gateway.requests import Acknowledge, Explain, Silence
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import Responses, errors, takes
from yumai.http.refusals import Refused
from yumai.topics import ACTIONS

SOON_SECONDS = 2.0
"""By then alerts has answered, or is asked whether it is there."""
LONGEST_SECONDS = 15.0
ERRORS = errors(
    *("forbidden", "not_found", "body_undecodable", "too_large", "unsupported_media_type"),
    *("invalid_field", "ended"),
)
LATER: Responses = {
    202: {"model": ActedOn, "description": "It is kept, and done once as soon as alerts is back"}
}
router = APIRouter(route_class=Direct, tags=["alerts"])


@router.post(
    "/v1/alerts/{id}/acknowledge",
    response_model=ActedOn,
    responses=LATER | ERRORS,
    openapi_extra=takes(Acknowledge, needed=False),
)
async def acknowledge(request: Request, id_: AlertId) -> Response:
    """Somebody has seen it."""
    step, body = await _asked(request, id_, {})
    return await _act(request, step, "acknowledge", note=read(Acknowledge, body).note)


@router.post(
    "/v1/alerts/{id}/explain",
    response_model=ActedOn,
    responses=LATER | ERRORS,
    openapi_extra=takes(Explain),
)
async def explain(request: Request, id_: AlertId) -> Response:
    """Why, and what is done about it until when: it becomes a work item."""
    step, body = await _asked(request, id_)
    asked = read(Explain, body)
    due = asked.due_date.isoformat()
    return await _act(
        request, step, "explain", text=asked.text, measure=asked.measure, due_date=due
    )


@router.post(
    "/v1/alerts/{id}/silence",
    response_model=ActedOn,
    responses=LATER | ERRORS,
    openapi_extra=takes(Silence),
)
async def silence(request: Request, id_: AlertId) -> Response:
    """Nothing is told of it for a while."""
    step, body = await _asked(request, id_)
    asked = read(Silence, body)
    until_ms = int(asked.until.at.timestamp() * 1000)
    return await _act(
        request, step, "silence", reason=asked.reason, until=asked.until.text, until_ms=until_ms
    )


async def _asked(request: Request, id_: str, empty: Any = None) -> tuple[Step, Any]:
    """The alert and the body. Raises Refused: that another's is not there comes before what the body has wrong."""
    step = await mine(request, register_of(request), id_)
    return step, parsed(await taken(request), empty)


async def _act(request: Request, step: Step, kind: Kind, **asked: Any) -> Response:
    register = register_of(request)
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
        return answer(
            {"meta": about, "data": await shown(request, register.journal.alerts[step.id])}, 202
        )
    await register.until(lambda: _is_shown(register, step.id, verdict), LONGEST_SECONDS)
    after = register.journal.alerts[step.id]
    if verdict.result == "refused":
        raise _ended(step.id, after.state)
    return answer({"meta": about, "data": await shown(request, after)})


async def verdict_of(request: Request, register: Register, action: str) -> Verdict | None:
    """The verdict on an action; None while alerts is away."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not await register.until(lambda: action in register.journal.verdicts, SOON_SECONDS):
        if time.monotonic() > deadline or await _is_away(request):
            break
    return register.journal.verdicts.get(action)


async def _is_away(request: Request) -> bool:
    """Not there at all, or without its log; one whose store is away still does what people ask."""
    state = await request.app.state.readiness.state()
    return any(name.startswith("alerts") for name in state.body["waiting_for"])


def _is_shown(register: Register, alert: str, verdict: Verdict) -> bool:
    """Everything that the verdict followed can be read here."""
    step = register.journal.alerts.get(alert)
    if step is None or step.seq < verdict.seq:
        return False
    return step.work_item_id is None or step.work_item_id in register.journal.items.items


def _ended(alert: str, state: str) -> Refused:
    return Refused("ended", None, f"alert {alert} is {state}: nobody can act on it now")

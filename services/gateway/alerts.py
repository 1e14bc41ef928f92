"""`GET /v1/alerts` and `/v1/alerts/{id}`: each alert as its last step left it, and its whole history."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from contracts.alerts.codec import ENDED, Step
from contracts.http.alerts import Alerts, OneAlert
from services.gateway.figures import meta_of
from services.gateway.login import districts_in_scope, principal_of
from services.gateway.parameters import AlertsParameters
from services.gateway.progress import shown_sums
from services.gateway.register import Register, register_of
from services.gateway.standing import Standing
from services.gateway.store import Store
from yumai.access import Principal
from yumai.evaluation.shown import MOST_DIGITS, SECTOR_DIGITS, rounded
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused, Unavailable
from yumai.journal.fold import Journal
from yumai.store.figures import Freshness

router = APIRouter(route_class=Direct, tags=["alerts"])
AlertId = Annotated[str, Path(alias="id", description="An alert's id: year-district")]


@router.get("/v1/alerts", response_model=Alerts, responses=errors("forbidden", "invalid_parameter"))
async def alerts(request: Request, asked: Annotated[AlertsParameters, FROM_QUERY]) -> Response:
    """Each alert as its last step left it, newest year first, the furthest behind first."""
    register = register_of(request)
    year, states = asked.year, asked.state
    scope = alerts_in_scope(principal_of(request), asked.district)
    await register.ready()
    found = [
        await shown(request, step)
        for step in list(register.journal.alerts.values())
        if (year is None or step.year == year)
        and (scope is None or step.district in scope)
        and (states is None or step.state in states)
    ]
    about = await meta(request) | {"count": len(found)}
    return answer({"meta": about, "data": in_order(found)})


@router.get(
    "/v1/alerts/{id}",
    response_model=OneAlert,
    responses=errors("forbidden", "not_found", "invalid_parameter"),
)
async def one(request: Request, id_: AlertId, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """One alert and its whole history."""
    register = register_of(request)
    step = await mine(request, register, id_)
    history = [history_of(past) for past in register.journal.history[step.id]]
    if principal_of(request).role == "district":
        history = [past | coarse(past) for past in history]
    data = await shown(request, step) | {"history": history}
    return answer({"meta": await meta(request), "data": data})


async def meta(request: Request) -> dict[str, Any]:
    """The `meta` of every answer. Alerts are also answered while the store is away."""
    store: Store = request.app.state.store
    try:
        freshness = await store.freshness()
    except Unavailable:
        freshness = Freshness(None)
    return meta_of(freshness, datetime.now(UTC))


async def mine(request: Request, register: Register, id_: str) -> Step:
    """The alert of this id. Raises Refused: another's is not there."""
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    await register.ready()
    step = register.journal.alerts.get(id_)
    if step is None or not principal.may_see_district(step.district):
        raise Refused("not_found", "id", f"no alert {id_}")
    return step


async def shown(request: Request, step: Step) -> dict[str, Any]:
    """An alert as its last step left it; while it goes on, with the figures of now."""
    standing: Standing = request.app.state.standing
    alert = alert_of(register_of(request).journal, step)
    sums = None
    if principal_of(request).role == "district":
        alert |= coarse(alert)
        if step.state in ENDED:
            return alert
        try:
            last = date(step.year, 12, 31)
            sums = await shown_sums(request.app.state.store, step.district, step.year, last, None)
        except Unavailable:
            return alert
    now = await standing.of(step, sums)
    if now is not None:
        sectors, row = now
        alert["sectors"], alert["figures"] = msgspec.to_builtins(sectors), asdict(row)
    return alert


def shown_briefly(journal: Journal, step: Step) -> dict[str, Any]:
    """An alert without its sectors and what people said of it."""
    return {
        "id": step.id,
        "district": step.district,
        "year": step.year,
        "state": step.state,
        "level": step.level,
        "kind": step.kind,
        "seq": step.seq,
        "at": instant(step.at),
        "first_at": instant(journal.history[step.id][0].at),
        "figures": step.figures,
    }


def alert_of(journal: Journal, step: Step) -> dict[str, Any]:
    now = time.time() * 1000
    silence = step.silence if step.silence and step.silence.until_ms > now else None
    return shown_briefly(journal, step) | {
        "escalated_at": instant(step.escalated_at),
        "silence": silence and {"by": silence.by, "until": silence.until, "reason": silence.reason},
        "work_item_id": step.work_item_id,
        "sectors": msgspec.to_builtins(step.sectors),
        "opened_at": instant(step.opened_at),
    }


def coarse(alert: Mapping[str, Any]) -> dict[str, Any]:
    """An alert's figures and sectors, rounded as its district may see them."""
    found: dict[str, Any] = {}
    if "figures" in alert:
        digits = SECTOR_DIGITS if alert["figures"].get("sector") else MOST_DIGITS
        found["figures"] = rounded(alert["figures"], digits)
    if "sectors" in alert:
        found["sectors"] = [rounded(sector, SECTOR_DIGITS) for sector in alert["sectors"]]
    return found


def history_of(step: Step) -> dict[str, Any]:
    return {
        "seq": step.seq,
        "at": instant(step.at),
        "by": step.by,
        "kind": step.kind,
        "state": step.state,
        "level": step.level,
        "text": step.text,
        "figures": step.figures,
    }


def alerts_in_scope(principal: Principal, asked: Sequence[str] | None) -> Sequence[str] | None:
    """A platform has no part in alerts. Raises Refused."""
    if principal.role == "platform":
        raise Refused("forbidden", None, "alerts are the bureau's and the districts'")
    return districts_in_scope(principal, asked)


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest year first, the furthest behind first."""
    return sorted(found, key=lambda a: (-a["year"], a["figures"].get("pace") or 9.0, a["id"]))


def instant(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")

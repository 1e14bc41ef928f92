"""`GET /v1/deliveries`: how each message went. A district sees its own office's, the bureau all."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.alerts.outbox import BUREAU, Delivery, office_of
from contracts.http.alerts import Deliveries
from services.gateway.alerts import alerts_in_scope, instant, meta
from services.gateway.login import principal_of
from services.gateway.parameters import DeliveriesParameters
from services.gateway.register import register_of
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY

router = APIRouter(route_class=Direct, tags=["subscriptions"])


@router.get(
    "/v1/deliveries", response_model=Deliveries, responses=errors("forbidden", "invalid_parameter")
)
async def deliveries(
    request: Request, asked: Annotated[DeliveriesParameters, FROM_QUERY]
) -> Response:
    """How each message went, oldest first."""
    alert, subscription, states = asked.alert, asked.subscription, asked.state
    principal = principal_of(request)
    alerts_in_scope(principal, None)
    office = office_of(principal.role, principal.code)
    register = register_of(request)
    await register.ready()
    found = [
        d
        for d in register.journal.deliveries.values()
        if office in (BUREAU, d.office)
        and (alert is None or d.alert_id == alert)
        and (subscription is None or d.subscription == subscription)
        and (states is None or d.state in states)
    ]
    found.sort(key=lambda d: (d.created_at, d.alert_id or "", d.seq or 0, d.id))
    about = await meta(request) | {"count": len(found)}
    return answer({"meta": about, "data": [_shown(d) for d in found]})


def _shown(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "subscription": delivery.subscription,
        "office": delivery.office,
        "alert_id": delivery.alert_id,
        "seq": delivery.seq,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "created_at": instant(delivery.created_at),
        "at": instant(delivery.at),
    }

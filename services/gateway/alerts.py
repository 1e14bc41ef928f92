"""`GET /v1/alerts`: each alert as its last step left it, with the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import orjson
from starlette.requests import Request
from starlette.responses import Response

from contracts.alerts.codec import State
from services.gateway.errors import Refused
from services.gateway.figures import meta_of
from services.gateway.login import districts_in_scope, principal_of
from services.gateway.parameters import Reader
from services.gateway.store import Store
from yumai.access import Principal
from yumai.store.figures import Query

STATES = get_args(State)


async def alerts(request: Request) -> Response:
    store: Store = request.app.state.store
    now = datetime.now(UTC)
    reader = Reader(request.query_params, ("district", "state", "year"))
    districts, year = reader.districts(), reader.year("year")
    states = reader.codes("state", STATES, f"state ({', '.join(STATES)})")
    reader.check()
    scope = alerts_in_scope(principal_of(request), districts)
    freshness = await store.freshness()
    data = await read_alerts(store, year, scope, states)
    meta = meta_of(freshness, now) | {"count": len(data)}
    return Response(orjson.dumps({"meta": meta, "data": data}), media_type="application/json")


def alerts_in_scope(principal: Principal, asked: Sequence[str] | None) -> Sequence[str] | None:
    """A platform has no part in alerts. Raises Refused."""
    if principal.role == "platform":
        raise Refused("forbidden", None, "alerts are the bureau's and the districts'")
    return districts_in_scope(principal, asked)


async def read_alerts(
    store: Store,
    year: int | None,
    districts: Sequence[str] | None,
    states: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Newest year first, the furthest behind first."""
    terms = ["1"]
    parameters: dict[str, Any] = {}
    if year is not None:
        terms.append("year = {year:UInt16}")
        parameters["year"] = year
    if districts is not None:
        terms.append("district IN {districts:Array(String)}")
        parameters["districts"] = list(districts)
    rows = await store.rows(
        Query(
            "SELECT id, seq, toUnixTimestamp64Milli(at), year, district, kind, state, level, figures,"
            " min(toUnixTimestamp64Milli(at)) OVER (PARTITION BY id) FROM alerts FINAL"
            f" WHERE {' AND '.join(terms)} ORDER BY id, seq DESC LIMIT 1 BY id",
            parameters,
        )
    )
    found = [_alert(row) for row in rows if states is None or row[6] in states]
    return sorted(found, key=lambda a: (-a["year"], a["figures"].get("pace") or 9.0, a["id"]))


def _alert(row: Sequence[Any]) -> dict[str, Any]:
    id_, seq, at, year, district, kind, state, level, figures, first_at = row
    return {
        "id": id_,
        "district": district,
        "year": int(year),
        "state": state,
        "level": level or None,
        "kind": kind,
        "seq": int(seq),
        "at": _instant(int(at)),
        "first_at": _instant(int(first_at)),
        "figures": orjson.loads(figures or "{}"),
    }


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")

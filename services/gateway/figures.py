"""`GET /v1/cells`: figures by period, district, sector and platform, as JSON or CSV.

The store writes the rows as text itself (amounts are Int128: exact integers, beyond 2^63 too), and
they pass through: a million rows cost no Python object.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from contracts.days import SHANGHAI
from contracts.http.figures import Cells
from services.gateway import parameters
from services.gateway.login import (
    check_still_known,
    districts_in_scope,
    platforms_in_scope,
    principal_of,
)
from services.gateway.parameters import CellsParameters
from services.gateway.store import Store
from yumai import canary
from yumai.http.direct import Direct
from yumai.http.document import errors, or_csv
from yumai.http.parameters import FROM_QUERY
from yumai.store import disclosure
from yumai.store.figures import Filter, Freshness
from yumai.store.figures import cells as cells_query

BASIS = "transaction_estimate"
LOOK_SECONDS = 2.0
WHOLE_BYTES = 4 << 20
"""Up to here an answer is collected, so that a store that fails becomes a 503."""


router = APIRouter(route_class=Direct, tags=["figures"])


@router.get(
    "/v1/cells",
    response_model=Cells,
    responses=or_csv() | errors("forbidden", "invalid_parameter"),
)
async def cells(request: Request, given: Annotated[CellsParameters, FROM_QUERY]) -> Response:
    """Figures by period, district, sector and platform."""
    store: Store = request.app.state.store
    now = datetime.now(UTC)
    asked = parameters.cells(given, now.astimezone(SHANGHAI).date())
    principal = principal_of(request)
    within = Filter(
        asked.first,
        asked.last,
        districts_in_scope(principal, asked.districts),
        asked.sectors,
        platforms_in_scope(principal, asked.platforms),
        asked.as_of,
    )
    # Asked before the figures are read: they hold at least what it promises.
    freshness = await store.freshness()
    if principal.role == "district":
        closed = disclosure.Closed(freshness.as_of_closed)
        query = disclosure.cells(within, asked.grain, asked.group_by, closed)
    else:
        query = cells_query(within, asked.grain, asked.group_by)
    if principal.code == canary.PLATFORM:
        query = replace(query, with_canary=True)
    if asked.format == "csv":
        body = _rows(request, store, query, "CSVWithNames")
        name = f"cells-{asked.first}-{asked.last}.csv"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-As-Of-Closed": str(freshness.as_of_closed or ""),
        }
        return await _answer(body, "text/csv; charset=utf-8", headers)
    meta = meta_of(freshness, now) | {
        "from": asked.first.isoformat(),
        "to": asked.last.isoformat(),
        "grain": asked.grain,
        "group_by": list(asked.group_by),
        "as_of": asked.as_of and asked.as_of.isoformat(),
    }
    return await _answer(
        _enveloped(meta, _rows(request, store, query, "JSONEachRow")), "application/json"
    )


def meta_of(freshness: Freshness, now: datetime) -> dict[str, Any]:
    """What every answer says about itself."""
    closed = freshness.as_of_closed
    through = freshness.through
    return {
        "as_of_closed": closed and closed.isoformat(),
        "freshness": {
            "lag_seconds": freshness.lag_seconds(now),
            "through": through and through.isoformat(timespec="milliseconds"),
        },
        "basis": BASIS,
        "currency": "CNY",
        "unit": "fen",
        "generated_at": now.isoformat(timespec="milliseconds"),
    }


async def _rows(request: Request, store: Store, query: Any, format_: str) -> AsyncIterator[bytes]:
    """Raises Refused when who asked is no longer known: a long export ends with the key."""
    looked = time.monotonic()
    async with store.pieces(query, format_, any_size=True) as pieces:
        async for piece in pieces:
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                check_still_known(request)
            yield piece


async def _enveloped(meta: dict[str, Any], rows: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`{"meta": …, "data": […]}` from lines of JSON. A line break in a text is escaped: each ends a row."""
    yield b'{"meta":' + orjson.dumps(meta) + b',"data":['
    held = b""
    async for piece in rows:
        ends = piece.endswith(b"\n")
        yield held + (piece[:-1] if ends else piece).replace(b"\n", b",\n")
        held = b",\n" if ends else b""
    yield b"]}\n"


async def _answer(
    pieces: AsyncIterator[bytes], media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """Whole if it is small, else streamed; what fails in mid-stream breaks the connection off."""
    first: list[bytes] = []
    size = 0
    async for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return StreamingResponse(
                _chained(first, pieces), media_type=media_type, headers=headers
            )
    return Response(b"".join(first), media_type=media_type, headers=headers)


async def _chained(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"".join(first)
    async for piece in rest:
        yield piece

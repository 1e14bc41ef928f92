"""What ingest answers where. Who asks is known before anything else is looked at."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contracts.http import sending
from contracts.http.words import Health
from services.ingest.doors.parameters import (
    ControlTotalsParameters,
    MerchantParameters,
    ReceiptsParameters,
    RowsParameters,
)
from services.ingest.formats import MEDIA_TYPES
from services.ingest.merchants import ROWS_MAX, Row
from yumai.access import Principal
from yumai.http import health
from yumai.http.answers import answer
from yumai.http.document import errors, health_errors, or_csv
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused
from yumai.observability import scraping
from yumai.observability.instruments import exposition
from yumai.sharing.asking import asks

SERVICE = "ingest"
router = APIRouter()
BODY = (
    *("unsupported_media_type", "too_large", "body_undecodable", "unknown_column"),
    *("missing_column", "column_type"),
)


async def principal_of(request: Request) -> Principal:
    """Raises Refused (401)."""
    identity = request.app.state.ingest.identity
    principal: Principal | None = identity.authenticate(request.headers.get("authorization"))
    if principal is None:
        raise Refused("unauthorized", "authorization")
    asks(principal)
    return principal


Who = Annotated[Principal, Depends(principal_of)]
ReceiptId = Annotated[str, Path(description="32 hexadecimal digits")]


@cache
def _entry() -> dict[str, Any]:
    text = (files("contracts") / "entries" / "entry.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return {name: said for name, said in schema.items() if not name.startswith("$")}


def _entries() -> dict[str, Any]:
    """The body of `POST /v1/entries`, and the headers that count."""
    content: dict[str, Any] = {name: {"schema": {"type": "string"}} for name in MEDIA_TYPES}
    one_or_many = [_entry(), {"type": "array", "items": _entry()}]
    content["application/json"] = {"schema": {"oneOf": one_or_many}}

    def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
        said = {"type": "string", **schema}
        return {"name": name, "in": "header", "description": description, "schema": said}

    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [
            header("Idempotency-Key", "The same key and body: the same receipt", maxLength=1024),
            header("Recorded-On", "The bureau's: an import of history", format="date"),
            header("Content-Encoding", "gzip or zstd", enum=["gzip", "identity", "zstd"]),
            header("traceparent", "W3C Trace Context"),
        ],
    }


@router.post(
    "/v1/entries",
    tags=["entries"],
    response_model=sending.ReceiptGiven,
    responses=errors("forbidden", *BODY, "invalid_parameter", "key_reused"),
    openapi_extra=_entries(),
)
async def entries(request: Request) -> Response:
    """Takes entries. A wrong row is refused alone, with its reason in the receipt."""
    principal = await principal_of(request)
    ingest = request.app.state.ingest
    ingest.check_able()
    return await ingest.entries.post(request, principal)


@router.get(
    "/v1/receipts",
    tags=["receipts"],
    response_model=sending.Receipts,
    responses=errors("forbidden", "invalid_parameter"),
)
async def receipts(
    request: Request, principal: Who, asked: Annotated[ReceiptsParameters, FROM_QUERY]
) -> Response:
    """The newest, a platform's own."""
    return await request.app.state.ingest.receipts.newest(asked.limit, principal)


@router.get(
    "/v1/receipts/{receipt_id}",
    tags=["receipts"],
    response_model=sending.Receipt,
    responses=errors("not_found", "invalid_parameter"),
)
async def receipt(
    request: Request, receipt_id: ReceiptId, principal: Who, _: Annotated[Asked, FROM_QUERY]
) -> Response:
    """What became of a request."""
    return await request.app.state.ingest.receipts.show(receipt_id, principal)


@router.get(
    "/v1/receipts/{receipt_id}/rows",
    tags=["receipts"],
    response_model=sending.ReceiptRows,
    responses=or_csv() | errors("not_found", "invalid_parameter"),
)
async def rows(
    request: Request,
    receipt_id: ReceiptId,
    principal: Who,
    asked: Annotated[RowsParameters, FROM_QUERY],
) -> Response:
    """Which rows were not booked, and why."""
    return await request.app.state.ingest.receipts.rows(receipt_id, asked, principal)


@router.get(
    "/v1/control-totals",
    tags=["receipts"],
    response_model=sending.ControlTotals,
    responses=errors("forbidden", "invalid_parameter"),
)
async def control_totals(
    request: Request, principal: Who, asked: Annotated[ControlTotalsParameters, FROM_QUERY]
) -> Response:
    """Count and fen of a day, for both sides to sign."""
    return await request.app.state.ingest.receipts.control_totals(asked, principal)


@router.put(
    "/v1/merchants",
    tags=["merchants"],
    response_model=sending.MerchantsSet,
    responses=errors(
        *("forbidden", "unsupported_media_type", "too_large", "body_undecodable"),
        "invalid_merchant",
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "array",
                        "maxItems": ROWS_MAX,
                        "items": msgspec.json.schema_components([Row])[1]["Row"],
                    }
                }
            },
        }
    },
)
async def put_merchants(request: Request, principal: Who) -> Response:
    """Sets where merchants are and what they do, from a day on; all rows or none."""
    ingest = request.app.state.ingest
    ingest.check_able()
    return await ingest.merchants.put(request, principal)


@router.get(
    "/v1/merchants",
    tags=["merchants"],
    response_model=sending.Merchant,
    responses=errors("forbidden", "invalid_parameter"),
)
async def merchants(
    request: Request, principal: Who, asked: Annotated[MerchantParameters, FROM_QUERY]
) -> Response:
    """One merchant's history in the registry."""
    ingest = request.app.state.ingest
    if not ingest.follower.caught_up.is_set():
        raise Refused("unavailable", None, "the registry is still being read")
    return ingest.merchants.show(asked, principal)


@router.get("/health/live", tags=["health"], response_model=Health)
async def live() -> Response:
    """Whether the process works at all."""
    told = health.live(SERVICE)
    return answer(told.body, told.status)


@router.get("/health/ready", tags=["health"], response_model=Health, responses=health_errors())
async def ready(request: Request) -> Response:
    """Whether it takes entries."""
    waiting_for = request.app.state.ingest.problems()
    if request.app.state.draining.begun:
        waiting_for |= health.STOPPING
    told = health.ready(SERVICE, waiting_for)
    return answer(told.body, told.status)


@router.get("/metrics", response_class=PlainTextResponse, include_in_schema=False)
async def metrics(request: Request) -> Response:
    authorization = request.headers.get("authorization")
    if not scraping.may_read(authorization, request.app.state.metrics_token):
        return Response(status_code=401, headers=scraping.REFUSED)
    found, media_type = exposition(request.headers.get("accept", ""))
    return Response(found, media_type=media_type)

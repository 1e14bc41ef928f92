"""Query parameters of ingest's routes as typed values."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from contracts.days import book_day
from yumai.http.parameters import Asked, Platform

LIMIT_MOST = 10_000


def _day(given: object) -> date:
    try:
        return book_day(str(given))
    except ValueError as error:
        raise ValueError(f"{given!r}: {error}") from None


def _limit(given: object) -> int:
    text = str(given)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LIMIT_MOST:
        raise ValueError(f"want 1 to {LIMIT_MOST}")
    return int(text)


class ReceiptsParameters(Asked):
    limit: Annotated[
        int,
        BeforeValidator(_limit),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LIMIT_MOST}),
    ] = 20


class RowsParameters(Asked):
    verdict: Annotated[
        Literal["rejected", "duplicate", "conflict"] | None, Field(description="Left out: all")
    ] = None
    format: Literal["json", "csv"] = "json"


class ControlTotalsParameters(Asked):
    date: Annotated[
        date,
        BeforeValidator(_day),
        WithJsonSchema({"type": "string", "format": "date"}),
        Field(description="The day (Shanghai) on which it occurred"),
    ]
    platform: Annotated[Platform | None, Field(description="The bureau says which")] = None


class MerchantParameters(Asked):
    platform_id: Annotated[
        Platform | None, Field(description="Left out by a platform: its own")
    ] = None
    merchant_id: str

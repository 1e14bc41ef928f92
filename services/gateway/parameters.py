"""Query parameters of the gateway's routes as typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from contracts.alerts.codec import State
from contracts.alerts.outbox import DeliveryState, FeedState
from contracts.days import FIRST_DAY, LAST_DAY
from contracts.targets.codec import CITY
from contracts.work_items.codec import Status
from yumai.districts import UNKNOWN, districts
from yumai.http.parameters import Asked, Day, Listed, OneOf, Platform
from yumai.http.refusals import Refused
from yumai.sectors import SECTOR_NUMBERS
from yumai.store.figures import DIMENSIONS
from yumai.targets.asked import SECTORS

TASKS = 20


def _year(given: Any) -> int:
    if not re.fullmatch(r"[12]\d{3}", str(given), re.ASCII):
        raise ValueError(f"{given!r} is not a year")
    return int(given)


Year = Annotated[
    int,
    BeforeValidator(_year),
    WithJsonSchema({"type": "integer", "minimum": 1000, "maximum": 2999}),
]
District = Annotated[str, OneOf({*districts(), UNKNOWN}, "district code", shown=False)]
TargetDistrict = Annotated[
    str, OneOf({*districts(), CITY, "*"}, "district code, nor city", shown=False)
]
Districts = Annotated[
    list[District] | None, Listed, Field(description="GB/T 2260 codes; 000000: not known")
]
TargetDistricts = Annotated[
    list[TargetDistrict] | None,
    Listed,
    Field(description="GB/T 2260 codes, `city`, or `*` for all that you may see"),
]
TargetSectors = Annotated[
    list[Annotated[str, OneOf({*SECTORS, "*"}, "sector of services")]] | None,
    Listed,
    Field(description="Sectors of services, or `*` for all"),
]
Platforms = Annotated[list[Platform] | None, Listed, Field(description="Platform ids")]
AsOf = Annotated[Day | None, Field(description="As it was known at the end of that day (Shanghai)")]


def as_of_of(day: date | None) -> date | None:
    """Within the days that the books can hold: before and after nothing is known otherwise."""
    return None if day is None else min(max(day, FIRST_DAY), LAST_DAY)


class CellsParameters(Asked):
    """Parameters of `/v1/cells`. Default: this year, by day, not grouped by any dimension."""

    from_: Annotated[Day | None, Field(alias="from", description="First day, inclusive")] = None
    to: Annotated[Day | None, Field(description="Last day, inclusive")] = None
    grain: Literal["hour", "day", "month", "year"] = "day"
    group_by: Annotated[
        list[Annotated[str, OneOf(DIMENSIONS, "dimension (district, sector, platform)")]] | None,
        Listed,
        Field(description="Left out: one sum a period"),
    ] = None
    district: Districts = None
    sector: Annotated[list[Annotated[str, OneOf(SECTOR_NUMBERS, "sector code")]] | None, Listed] = (
        None
    )
    platform: Platforms = None
    as_of: AsOf = None
    format: Literal["json", "csv"] = "json"


@dataclass(frozen=True)
class CellsAsked:
    """What `/v1/cells` was asked for, before the scope is applied."""

    first: date
    last: date
    grain: str
    group_by: tuple[str, ...]
    districts: list[str] | None
    sectors: list[str] | None
    platforms: list[str] | None
    as_of: date | None
    format: str


def cells(given: CellsParameters, today: date) -> CellsAsked:
    """Raises Refused where the days are the wrong way round."""
    first, last = given.from_, given.to
    if first is None:
        first = date((last or today).year, 1, 1)
    if last is None:
        last = date(max(today.year, first.year), 12, 31)
    if first > last:
        raise Refused("invalid_parameter", "from", f"from {first} is after to {last}")
    return CellsAsked(
        first,
        last,
        given.grain,
        tuple(d for d in DIMENSIONS if d in (given.group_by or ())),
        given.district,
        given.sector,
        given.platform,
        given.as_of,
        given.format,
    )


class YearParameters(Asked):
    year: Annotated[Year | None, Field(description="The division of this year; default now")] = None


class AlertsParameters(Asked):
    district: Districts = None
    state: Annotated[list[State] | None, Listed] = None
    year: Year | None = None


class WorkItemsParameters(Asked):
    task: Annotated[
        list[Annotated[str, OneOf([str(n) for n in range(1, TASKS + 1)], "task (1 to 20)")]] | None,
        Listed,
        Field(description="Tasks of the plan"),
    ] = None
    district: Districts = None
    alert: Annotated[str | None, Field(description="Id of an alert")] = None
    overdue: Literal["true", "false", "1", "0"] | None = None
    status: Annotated[list[Status] | None, Listed] = None


class DeliveriesParameters(Asked):
    alert: Annotated[str | None, Field(description="Id of an alert")] = None
    subscription: Annotated[str | None, Field(description="Id of a subscription")] = None
    state: Annotated[list[DeliveryState] | None, Listed] = None


class FeedsParameters(Asked):
    platform: Platforms = None
    state: Annotated[list[FeedState] | None, Listed] = None


class TargetsParameters(Asked):
    year: Year | None = None
    district: TargetDistricts = None
    sector: TargetSectors = None
    as_of: AsOf = None


class ProgressParameters(Asked):
    year: Year | None = None
    district: TargetDistricts = None
    sector: Annotated[TargetSectors, Field(description="Left out: all services together")] = None
    at: Annotated[Day | None, Field(description="The end of that day; default now")] = None
    as_of: AsOf = None

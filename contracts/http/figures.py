"""Answers of figures: cells, the overview, and what their codes mean."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from contracts.alerts.codec import Kind, State
from contracts.alerts.outbox import FeedState
from contracts.http.words import CountedMeta, Day, District, Fen, Instant, Meta, Ratio, Sector


class Cell(TypedDict):
    """One sum. District, sector and platform where it was grouped by them.

    `suppressed`: too few entries stand behind it to be shown to a district; its figures are null then.
    """

    period: str
    district: NotRequired[District]
    sector: NotRequired[Sector]
    platform: NotRequired[str]
    net_fen: Fen | None
    sales_fen: Fen | None
    refunds_fen: Fen | None
    entries: int | None
    suppressed: NotRequired[bool]


class CellsMeta(TypedDict("From", {"from": Day}), Meta):  # type: ignore[misc]
    to: Day
    grain: Literal["hour", "day", "month", "year"]
    group_by: list[str]
    as_of: Day | None


class Cells(TypedDict):
    meta: CellsMeta
    data: list[Cell]


class Today(TypedDict):
    """`suppressed` to a district alone: something is left out."""

    net_fen: Fen
    entries: int
    suppressed: NotRequired[bool]


class Year(TypedDict):
    """Sums of all services; `service_share` is their share of services and goods. Only a district is told of suppressed parts."""

    net_fen: Fen
    entries: int
    goods_fen: Fen
    service_share: Ratio | None
    suppressed: NotRequired[bool]
    goods_suppressed: NotRequired[bool]


class FeedInTrouble(TypedDict):
    platform_id: str
    state: FeedState


class OverviewDistrict(TypedDict):
    """Pace and what follows from it as in `/v1/progress`; null to a platform."""

    code: District
    attained_fen: Fen
    today_fen: Fen
    target_fen: Fen | None
    comparable_fen: Fen | None
    expected_fen: Fen | None
    pace: Ratio | None
    nowcast_fen: Fen | None
    p_meet: Ratio | None
    required_growth: Ratio | None
    raw_level: str | None
    level: str | None
    guards: list[str]
    feeds: list[FeedInTrouble]


class OverviewSector(TypedDict):
    """`suppressed` to a district alone: some of its entries are not shown."""

    code: Sector
    net_fen: Fen
    today_fen: Fen
    last_year_fen: Fen | None
    suppressed: NotRequired[bool]


class OverviewAlert(TypedDict):
    id: str
    district: District
    year: int
    state: State
    level: str | None
    kind: Kind
    seq: int
    at: Instant
    first_at: Instant
    figures: dict[str, Any]


class OverviewMeta(Meta):
    """`at`: as far as the books are; role, code and name are the reader's."""

    year: int
    at: Instant
    today: Day
    role: Literal["bureau", "district", "platform"]
    code: str
    name: str
    warming_up: bool


class OverviewData(TypedDict):
    today: Today
    year: Year
    suppressed: NotRequired[bool]
    districts: list[OverviewDistrict]
    sectors: list[OverviewSector]
    alerts: list[OverviewAlert]


class Overview(TypedDict):
    meta: OverviewMeta
    data: OverviewData


class Feed(TypedDict):
    """`districts`: where it is in trouble."""

    platform_id: str
    state: FeedState
    last_entry_at: Instant | None
    districts: list[District]


class Feeds(TypedDict):
    meta: CountedMeta
    data: list[Feed]


class DivisionDistrict(TypedDict):
    """`successor`: the code that it is booked under from 2026 on."""

    code: District
    zh: str
    short_zh: str
    en: str
    kind: str
    group: str
    population: int | None
    successor: District | None


class DivisionMeta(TypedDict):
    year: int


class Districts(TypedDict):
    meta: DivisionMeta
    data: list[DivisionDistrict]


class SectorNamed(TypedDict):
    code: Sector
    zh: str
    en: str
    kind: str
    is_service: bool


class NoMeta(TypedDict):
    pass


class Sectors(TypedDict):
    meta: NoMeta
    data: list[SectorNamed]


OPEN = with_config(ConfigDict(extra="allow"))
"""GeoJSON's foreign members: a map of one's own may have others."""


class MapNote(TypedDict):
    en: str
    zh: str


class MapMeta(TypedDict):
    approximate: bool
    note: MapNote | None


@OPEN
class MapFeature(TypedDict):
    type: Literal["Feature"]
    properties: dict[str, Any]
    geometry: dict[str, Any]


@OPEN
class DistrictMap(TypedDict):
    """GeoJSON (RFC 7946); `adcode` of a feature's properties is the district's code."""

    type: Literal["FeatureCollection"]
    features: list[MapFeature]
    meta: MapMeta

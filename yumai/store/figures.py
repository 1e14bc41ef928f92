"""Reads that several services share, as queries with bound parameters. Pure: nothing is sent here.

Figures are sums over blocks with FINAL; sums of sums are Int128. Days are Asia/Shanghai's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.days import SHANGHAI
from yumai.sectors import SECTOR_CODES

_SHANGHAI_SECONDS = 8 * 3_600
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)

GRAINS = ("hour", "day", "month", "year")
DIMENSIONS = ("district", "sector", "platform")
SERVICE_SECTORS = tuple(code for n, code in SECTOR_CODES.items() if 1 <= n <= 12 or n == 99)
"""All services: S01 to S12 and S99; neither goods, nor excluded, nor unresolved."""

# Net is the signed sum: sale and refund_reversal +, refund and sale_reversal −.
LEDGER_NET = "if(kind IN ('sale', 'refund_reversal'), toInt128(amount_fen), -toInt128(amount_fen))"
"""Of a row of the ledger."""
NET = "toInt128(sales_fen) - refunds_fen - sale_reversals_fen + refund_reversals_fen"

BUCKETS = {
    "hour": ("toStartOfHour(period)", "formatDateTime(p, '%Y-%m-%dT%H:00+08:00')"),
    "day": ("toDate(period)", "toString(p)"),
    "month": ("toStartOfMonth(period)", "formatDateTime(p, '%Y-%m')"),
    "year": ("toYear(period)", "toString(p)"),
}
KEYS = {
    "district": ("district", "leftPad(toString({key}), 6, '0')"),
    # By number and not by name: the order is U00, S01 … S12, S99, G00, X00.
    "sector": ("sector", "toString({key})"),
    "platform": ("toString(platform)", "{key}"),
}


@dataclass(frozen=True)
class Query:
    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)
    with_canary: bool = False


@dataclass(frozen=True)
class Filter:
    """Which cells: `first` to `last` are inclusive days; None does not restrict."""

    first: date
    last: date
    districts: Sequence[str] | None = None
    sectors: Sequence[str] | None = None
    platforms: Sequence[str] | None = None
    as_of: date | None = None
    """Only what was recorded by the end of that day."""

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition on `cells` and its parameters."""
        terms = [
            "period >= toDateTime({low:UInt32}, 'Asia/Shanghai')",
            "period < toDateTime({high:UInt32}, 'Asia/Shanghai')",
        ]
        parameters: dict[str, Any] = {
            "low": midnight(self.first),
            "high": midnight(self.last + timedelta(days=1)) if self.last < date.max else 2**32 - 1,
        }
        if self.districts is not None:
            terms.append("district IN {districts:Array(UInt32)}")
            parameters["districts"] = [int(code) for code in self.districts]
        if self.sectors is not None:
            terms.append("toString(sector) IN {sectors:Array(String)}")
            parameters["sectors"] = list(self.sectors)
        if self.platforms is not None:
            terms.append("platform IN {platforms:Array(String)}")
            parameters["platforms"] = list(self.platforms)
        if self.as_of is not None:
            terms.append("recorded_date <= {as_of:Date}")
            parameters["as_of"] = min(max(self.as_of, _EPOCH), date(2149, 6, 6))
        return " AND ".join(terms), parameters


def midnight(day: date) -> int:
    """Start of a Shanghai day in epoch seconds, within what a ClickHouse DateTime holds."""
    seconds = (day - _EPOCH).days * _DAY_SECONDS - _SHANGHAI_SECONDS
    return min(max(seconds, 0), 2**32 - 1)


def cells(cells_of: Filter, grain: str, group_by: Sequence[str]) -> Query:
    """Sums by period and the dimensions of `group_by`, sorted by them.

    Columns: period, the dimensions, net_fen, sales_fen, refunds_fen (Int128), entries (UInt64).
    """
    bucket, shown = BUCKETS[grain]
    keys = [d for d in DIMENSIONS if d in group_by]
    names = {key: f"k{number}" for number, key in enumerate(keys)}
    inner = [f"{bucket} AS p", *(f"{KEYS[key][0]} AS {names[key]}" for key in keys)]
    outer = [f"{shown} AS period"]
    outer += [f"{KEYS[key][1].format(key=names[key])} AS {key}" for key in keys]
    order = ", ".join(["p", *names.values()])
    condition, parameters = cells_of.where()
    return Query(
        f"SELECT {', '.join(outer)}, net AS net_fen, sales AS sales_fen, refunds AS refunds_fen,"
        f" number AS entries FROM (SELECT {', '.join(inner)}, sum({NET}) AS net,"
        " sum(toInt128(sales_fen)) AS sales, sum(toInt128(refunds_fen)) AS refunds,"
        f" sum(entries) AS number FROM cells FINAL WHERE {condition}"
        f" GROUP BY {order} ORDER BY {order})",
        parameters,
    )


# -- how far the books are ------------------------------------------------------------------------

FRESHNESS = Query(
    "SELECT min(through) AS through, count() AS known,"
    " (SELECT max(partitions) FROM epochs FINAL WHERE epoch = (SELECT max(epoch) FROM epochs))"
    " AS wanted FROM progress FINAL WHERE epoch = (SELECT max(epoch) FROM epochs)"
)
"""One row: through (UTC), partitions that have told it, partitions there are."""


@dataclass(frozen=True)
class Freshness:
    """Every record appended before `through` is in the figures; None: not known yet."""

    through: datetime | None

    @classmethod
    def of_row(cls, through: datetime | None, known: int, wanted: int | None) -> Freshness:
        """From the row of FRESHNESS. A partition that has told nothing leaves it unknown."""
        if through is None or not wanted or known < wanted:
            return cls(None)
        return cls(through if through.tzinfo else through.replace(tzinfo=UTC))

    @property
    def as_of_closed(self) -> date | None:
        """The latest recorded day that every partition has announced past."""
        if self.through is None:
            return None
        return self.through.astimezone(SHANGHAI).date() - timedelta(days=1)

    def lag_seconds(self, now: datetime) -> float | None:
        if self.through is None:
            return None
        return max(0.0, round((now - self.through).total_seconds(), 3))


def ledger_changes(epoch: int, part: int, after: int, last: int, platforms: Sequence[str]) -> Query:
    """What the positions after `after` up to `last` added to some platforms' cells.

    Columns platform, district (UInt32), sector, net_fen (Int128), entries.
    """
    return Query(
        "SELECT toString(platform) AS of, district, toString(sector) AS code,"
        f" sum({LEDGER_NET})"
        " AS net_fen, count() AS entries FROM entries FINAL"
        " WHERE epoch = {epoch:UInt16} AND part = {part:UInt16} AND off > {after:Int64}"
        " AND off <= {last:Int64} AND platform IN {platforms:Array(String)}"
        " GROUP BY of, district, code ORDER BY of, district, code",
        {"epoch": epoch, "part": part, "after": after, "last": last, "platforms": list(platforms)},
    )

"""What a district is shown of its own books: sums of whole atoms of three entries or more. Pure.

A base cell is all of one day, district, sector and recorded day. A base cell of LEAST entries or more is an
atom, shown at once. Smaller ones are put together, in the order in which they were recorded, until LEAST
entries stand behind an atom (microaggregation: Handbook on Statistical Disclosure Control, 2nd ed. 2024).
Every figure adds up whole atoms and leaves the rest out. Atoms never overlap and never change once they are
shown, so whatever is added to or taken from whatever (a total and its parts, two days, two `as_of`) is made
of whole atoms again. An hour or a platform is a slice of a base cell of LEAST entries or more.

Small base cells of one month and sector that are recorded in that month are a chain, in the order of recorded
day and day, cut where its running number of entries passes a multiple of GROUP. What is recorded later, and
what no group has taken when the month is over, is the chain of the year, cut in the same way. So a sector's
year lacks six entries at most, and what is recorded on a day that is not over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from yumai.store.figures import BUCKETS, DIMENSIONS, KEYS, NET, Filter, Query

LEAST = 3
GROUP = 2 * LEAST - 2
"""A small cell has LEAST − 1 entries at most and may reach LEAST − 2 over a border: LEAST are left."""

_BASE = ("day", "district", "sector", "recorded_date")
_SUMS = (
    f"sum({NET}) AS net, sum(toInt128(sales_fen)) AS sales, sum(toInt128(refunds_fen)) AS refunds,"
    " sum(entries) AS number"
)
_FIRST, _LAST = date(1970, 1, 1), date(2149, 6, 6)


@dataclass(frozen=True)
class Closed:
    """Small base cells are put together once their recorded day is over; `day`: the last such day, None: none."""

    day: date | None

    def known(self, as_of: date | None) -> Closed:
        """The days closed by the end of `as_of`."""
        return self if self.day is None or as_of is None else Closed(min(self.day, as_of))

    def parameters(self) -> dict[str, Any]:
        """`closed`, and the first day of a month that is not over."""
        day = min(max(self.day or _FIRST, _FIRST), _LAST - timedelta(days=1))
        return {"closed": day, "running": (day + timedelta(days=1)).replace(day=1)}


def atoms(within: Filter, closed: Closed, grain: str) -> Query:
    """Base cells of all platforms; `fine` says which a row of that `grain` (day, month, year) may count.

    Columns: day, district, sector, recorded_date, net, sales, refunds (Int128), number, fine.
    """
    by_day = grain == "day"
    first, last = (min(max(day, _FIRST), _LAST) for day in (within.first, within.last))
    # Whole chains are read, also where a part of their days is asked for.
    begin = first.replace(month=first.month if by_day else 1, day=1)
    end = _month_end(last) if by_day else date(last.year, 12, 31)
    condition, parameters = replace(within, first=begin, last=end, platforms=None).where()
    parameters |= closed.known(within.as_of).parameters() | {"first": first, "last": last}
    sql = (
        f"SELECT *, number < {LEAST} AND recorded_date <= {{closed:Date}} AS small,"
        " toStartOfMonth(day) AS month, toStartOfMonth(recorded_date) = month AS prompt,"
        " if(small AND prompt, number, 0) AS early FROM (SELECT"
        f" toDate(period) AS day, {', '.join(_BASE[1:])}, {_SUMS} FROM cells FINAL WHERE {condition}"
        f" GROUP BY {', '.join(_BASE)})"
    )
    sql = _grouped(sql, "early", "district, sector, month", "recorded_date, day")
    shown, atom = "early_full", "month, early_group"
    if not by_day:
        sql = (
            "SELECT *, toYear(day) AS year, if(prompt, toLastDayOfMonth(day), recorded_date) AS since,"
            " if(small AND NOT early_full AND (NOT prompt OR month < {running:Date}), number, 0) AS late"
            f" FROM ({sql})"
        )
        sql = _grouped(sql, "late", "district, sector, year", "since, recorded_date, day")
        shown = "early_full OR late_full"
        atom = "late > 0, if(late > 0, toDate(0), month), if(late > 0, late_group, early_group)"
    lies = [] if begin == first and end == last else ["from >= {first:Date}", "to <= {last:Date}"]
    lies += {"day": ["from = to"], "month": ["toStartOfMonth(from) = toStartOfMonth(to)"]}.get(
        grain, []
    )
    if lies:
        sql = (
            "SELECT *, min(day) OVER of_atom AS from, max(day) OVER of_atom AS to"
            f" FROM ({sql}) WINDOW of_atom AS (PARTITION BY district, sector, toYear(day), small, {atom})"
        )
    return Query(
        f"SELECT day, district, sector, recorded_date, net, sales, refunds, number, number >= {LEAST}"
        f" OR {' AND '.join([f'({shown})', *lies])} AS fine FROM ({sql})"
        " WHERE day >= {first:Date} AND day <= {last:Date}",
        parameters,
    )


def _grouped(sql: str, of: str, chain: str, order: str) -> str:
    """Adds to the cells of a chain (`of`: their entries in it, else 0) their group, and whether it is full."""
    return (
        f"SELECT *, intDiv({of}_to - {of}, {GROUP}) AS {of}_group,"
        f" {of} > 0 AND {of}_group < intDiv({of}_all, {GROUP}) AS {of}_full FROM (SELECT *,"
        # One order for both windows: one sort.
        f" sum({of}) OVER (of_{of} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS {of}_all,"
        f" sum({of}) OVER (of_{of} ROWS UNBOUNDED PRECEDING) AS {of}_to"
        f" FROM ({sql}) WINDOW of_{of} AS (PARTITION BY {chain} ORDER BY {order}))"
    )


def _month_end(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def slices(within: Filter, sliced: Sequence[str], more: str = "") -> Query:
    """Slices of base cells by hour and platform, as a query; `fine` says which may be shown.

    Columns: day, hour, district, sector, recorded_date, platform, net, sales, refunds (Int128), number, fine.
    `sliced`: hour, platform or both; `more`: a condition on the columns, on top of `within`.
    """
    # Which slices there are follows from all platforms, also where one alone is asked for.
    condition, parameters = replace(within, platforms=None).where()
    terms = [more] if more else []
    if within.platforms is not None:
        terms.append("platform IN {platforms:Array(String)}")
        parameters |= {"platforms": list(within.platforms)}
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    base = ", ".join(_BASE)
    # Hours lie within platforms where these are shown: hours and platforms side by side would give the
    # difference of one and the other.
    fine = {
        ("hour",): "both OR (hours AND NOT platforms)",
        ("platform",): "platforms",
        ("hour", "platform"): "both",
    }[tuple(sorted(sliced))]
    return Query(
        f"SELECT *, {fine} AS fine FROM (SELECT *,"
        + ", ".join(
            f" min({of}) OVER (PARTITION BY {base}) >= {LEAST} AS {name}"
            for of, name in (("number", "both"), ("of_hour", "hours"), ("of_platform", "platforms"))
        )
        + f" FROM (SELECT *, sum(number) OVER (PARTITION BY {base}, hour) AS of_hour,"
        f" sum(number) OVER (PARTITION BY {base}, platform) AS of_platform FROM"
        f" (SELECT toDate(period) AS day, toStartOfHour(period) AS hour, {', '.join(_BASE[1:])},"
        f" toString(platform) AS platform, {_SUMS} FROM cells FINAL WHERE {condition}"
        f" GROUP BY {base}, hour, platform))){where}",
        parameters,
    )


def cells(within: Filter, grain: str, group_by: Sequence[str], closed: Closed) -> Query:
    """As `figures.cells`, for a district: sums of what it may see, null where it may see nothing.

    Column `suppressed`: something was left out.
    """
    bucket, shown = BUCKETS[grain]
    keys = [d for d in DIMENSIONS if d in group_by]
    names = {key: f"k{number}" for number, key in enumerate(keys)}
    sliced = ["hour"] if grain == "hour" else []
    if "platform" in keys or within.platforms is not None:
        sliced.append("platform")
    inner = slices(within, sliced) if sliced else atoms(within, closed, grain)
    period = "hour" if grain == "hour" else bucket.replace("period", "day")
    groups = [f"{period} AS p", *(f"{key} AS {names[key]}" for key in keys)]
    outer = [f"{shown} AS period"]
    outer += [f"{KEYS[key][1].format(key=names[key])} AS {key}" for key in keys]
    order = ", ".join(["p", *names.values()])
    figures = ", ".join(
        f"if(open > 0, {of}, NULL) AS {name}"
        for of, name in (
            ("net", "net_fen"),
            ("sales", "sales_fen"),
            ("refunds", "refunds_fen"),
            ("number", "entries"),
        )
    )
    return Query(
        f"SELECT {', '.join(outer)}, {figures}, toBool(open < all) AS suppressed FROM"
        f" (SELECT {', '.join(groups)}, sumIf(net, fine) AS net, sumIf(sales, fine) AS sales,"
        " sumIf(refunds, fine) AS refunds, sumIf(number, fine) AS number, countIf(fine) AS open,"
        f" count() AS all FROM ({inner.sql}) GROUP BY {order} ORDER BY {order})",
        inner.parameters,
    )


def sums(inner: Query) -> Query:
    """Columns sector code, net, entries that are shown, entries that are left out; of `atoms` or `slices`."""
    return Query(
        "SELECT toString(sector) AS code, sumIf(net, fine), sumIf(number, fine),"
        f" sumIf(number, NOT fine) FROM ({inner.sql}) GROUP BY code",
        inner.parameters,
    )

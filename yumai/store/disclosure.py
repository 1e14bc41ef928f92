"""What a district is shown of its own books: nothing that stands on fewer than three entries. Pure.

A base cell is all of one day, district, sector and recorded day. A district's figures add up base cells of
LEAST entries or more and leave the others out, at every grain alike: so the difference of any two figures
(a total and its parts, two days, two `as_of`) is made of whole base cells again. An hour or a platform is
a slice of a base cell: its slices are shown where each of them has LEAST entries, else none of them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from yumai.store.figures import BUCKETS, DIMENSIONS, KEYS, NET, Filter, Query

LEAST = 3

_BASE = ("day", "district", "sector", "recorded_date")
_SUMS = (
    f"sum({NET}) AS net, sum(toInt128(sales_fen)) AS sales, sum(toInt128(refunds_fen)) AS refunds,"
    " sum(entries) AS number"
)


def slices(
    within: Filter, sliced: Sequence[str] = (), more: str = ""
) -> tuple[str, dict[str, Any]]:
    """Slices of base cells, as a query and its parameters; `fine` says which may be shown.

    Columns: day, district, sector, recorded_date, what `sliced` names ("expression AS name"), net, sales,
    refunds (Int128), number, fine. `more`: a condition on these columns, on top of `within`.
    """
    by_platform = within.platforms is not None
    if by_platform and not any(one.endswith(" AS platform") for one in sliced):
        sliced = (*sliced, "toString(platform) AS platform")
    names = [one.rpartition(" AS ")[2] for one in sliced]
    # Which slices there are follows from all platforms, also where one alone is asked for.
    condition, parameters = replace(within, platforms=None).where()
    columns = ", ".join(["toDate(period) AS day", *_BASE[1:], *sliced])
    terms = [more] if more else []
    if by_platform:
        terms.append("platform IN {platforms:Array(String)}")
        parameters |= {"platforms": list(within.platforms or ())}
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    return (
        f"SELECT * FROM (SELECT *, min(number) OVER (PARTITION BY {', '.join(_BASE)}) >= {LEAST} AS fine"
        f" FROM (SELECT {columns}, {_SUMS} FROM cells FINAL WHERE {condition}"
        f" GROUP BY {', '.join([*_BASE, *names])})){where}",
        parameters,
    )


def cells(within: Filter, grain: str, group_by: Sequence[str]) -> Query:
    """As `figures.cells`, for a district: sums of what may be shown, null where nothing may.

    Column `suppressed`: something was left out.
    """
    bucket, shown = BUCKETS[grain]
    keys = [d for d in DIMENSIONS if d in group_by]
    names = {key: f"k{number}" for number, key in enumerate(keys)}
    sliced = ["toStartOfHour(period) AS hour"] if grain == "hour" else []
    if "platform" in keys:
        sliced.append("toString(platform) AS platform")
    inner, parameters = slices(within, sliced)
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
        f" count() AS all FROM ({inner}) GROUP BY {order} ORDER BY {order})",
        parameters,
    )


def counted(within: Filter) -> Query:
    """Columns sector code, entries: all of them, to judge by what else is made of them."""
    condition, parameters = within.where()
    return Query(
        "SELECT toString(sector) AS code, sum(entries) AS number FROM cells FINAL"
        f" WHERE {condition} GROUP BY code",
        parameters,
    )

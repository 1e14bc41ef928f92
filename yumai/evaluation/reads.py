"""What an evaluation asks of the store, as queries with bound parameters. Pure: nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from yumai.store.figures import NET, SERVICE_SECTORS, Filter, Query

JUDGED_SECTORS = (*SERVICE_SECTORS, "G00")
"""Services, and the goods of the city's share."""


def booked_of_year(year: int) -> Query:
    """Columns district (UInt32), sector code, net_fen (Int128), of services."""
    condition, parameters = Filter(
        date(year, 1, 1), date(year, 12, 31), sectors=SERVICE_SECTORS
    ).where()
    return Query(
        f"SELECT district, toString(sector) AS code, sum({NET}) AS net_fen FROM cells FINAL"
        f" WHERE {condition} GROUP BY district, code",
        parameters,
    )


def daily(first: date, last: date, as_of: date | None = None) -> Query:
    """Columns district (UInt32), sector (Int16), platform, day (UInt16: since 1970), net_fen, entries.

    net_fen is a decimal, since Arrow has no Int128.

    To be read as Arrow: some hundred thousand rows a year.
    """
    condition, parameters = Filter(first, last, sectors=JUDGED_SECTORS, as_of=as_of).where()
    return Query(
        "SELECT district, toInt16(sector) AS number, toString(platform) AS name,"
        f" toUInt16(toDate(period)) AS day, toDecimal128(sum({NET}), 0) AS net_fen,"
        " toUInt32(sum(entries)) AS counted"
        f" FROM cells FINAL WHERE {condition} GROUP BY district, number, name, day",
        parameters,
    )


STAND = Query(
    "SELECT epoch, part, max(last_offset) AS through FROM blocks GROUP BY epoch, part"
    " ORDER BY epoch, part"
)
"""How far the cells go: asked before they are read, they hold at least that."""


def changed_days(stand: Sequence[tuple[int, int, int]], first: date) -> Query:
    """Column day: days from `first` on whose cells were written after a stand (`STAND`'s rows)."""
    condition, parameters = Filter(first, date(2105, 1, 1)).where()
    keys = [int(epoch) * 2**16 + int(part) for epoch, part, _ in stand]
    return Query(
        "SELECT DISTINCT toDate(period) AS day FROM cells"
        f" WHERE {condition} AND NOT (has({{keys:Array(UInt32)}}, toUInt32(epoch) * 65536 + part)"
        " AND last_offset <= {through:Array(UInt64)}"
        "[indexOf({keys:Array(UInt32)}, toUInt32(epoch) * 65536 + part)])",
        parameters | {"keys": keys, "through": [int(offset) for _, _, offset in stand]},
    )

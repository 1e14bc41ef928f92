"""One block of the books, recounted exactly and cell by cell (see `audit.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from clickhouse_connect.driver.client import Client

from yumai.entry import BLOCK_OFFSETS
from yumai.store.figures import LEDGER_NET

LISTED = 1000
"""Differing cells are counted to the last, and listed up to here."""
KINDS = {1: "sales", 2: "refunds", 3: "sale_reversals", 4: "refund_reversals"}
HOUR = "toStartOfHour(toDateTime(occurred_at))"
SPILL = {
    "max_bytes_before_external_group_by": 500_000_000,
    "max_bytes_before_external_sort": 500_000_000,
}


@dataclass(frozen=True, order=True)
class Block:
    epoch: int
    part: int
    block: int


@dataclass(frozen=True)
class Announced:
    """What `blocks` says of a block; all 0 where it says nothing yet."""

    next_offset: int = 0
    entries: int = 0
    net_fen: int = 0


@dataclass(frozen=True)
class Days:
    """The days of occurrence that are looked at; inclusive, None: no bound."""

    first: date | None = None
    last: date | None = None

    @property
    def all(self) -> bool:
        return self.first is None and self.last is None

    def of(self, column: str) -> str:
        """A condition on a column of instants."""
        bounds = []
        if self.first:
            bounds.append(f"toDate({column}) >= {{first:Date}}")
        if self.last:
            bounds.append(f"toDate({column}) <= {{last:Date}}")
        return " AND ".join(bounds) or "1"

    @property
    def parameters(self) -> dict[str, date]:
        bounds = {"first": self.first, "last": self.last}
        return {name: day for name, day in bounds.items() if day}


@dataclass(frozen=True)
class Differing:
    """`total` cells differ by `fen`; `cells` are the first of them."""

    total: int = 0
    fen: int = 0
    cells: tuple[dict[str, Any], ...] = ()


_KEY = "hour, recorded_date, district, sector, platform"
_MEASURES = ("entries", *(f"{kind}_fen" for kind in KINDS.values()))
_AMOUNTS = ", ".join(
    f"if(kind = {number}, amount_fen, 0) AS {kind}_fen" for number, kind in KINDS.items()
)
# One row a cell: what it holds, and what the ledger holds for it. Ledger rows that are not announced
# are kept aside (`later`: a flush or two), and counted as far as the cell itself has come.
_BY_CELL = f"""
SELECT {_KEY},
    maxIf(off + 1, is_cell) AS through,
    {", ".join(f"sumIf({m}, is_cell) AS cell_{m}" for m in _MEASURES)},
    groupArrayIf((off, {", ".join(_MEASURES)}), NOT is_cell AND off >= {{next:UInt64}}) AS later,
    {
    ", ".join(
        f"sumIf({m}, NOT is_cell AND off < {{next:UInt64}})"
        f" + arraySum(arrayMap(x -> if(x.1 < through, x.{n}, 0), later)) AS ledger_{m}"
        for n, m in enumerate(_MEASURES, start=2)
    )
}
FROM (
    SELECT 1 AS is_cell, last_offset AS off, period AS hour, recorded_date, district, sector, platform,
        {", ".join(f"toInt64({m}) AS {m}" for m in _MEASURES)}
    FROM cells FINAL
    WHERE epoch = {{epoch:UInt16}} AND part = {{part:UInt16}} AND block = {{block:UInt64}} AND __CELL_DAYS__
    UNION ALL
    SELECT 0 AS is_cell, off, {HOUR} AS hour, recorded_date, district, sector, platform,
        toInt64(1) AS entries, {_AMOUNTS}
    FROM entries FINAL
    WHERE epoch = {{epoch:UInt16}} AND part = {{part:UInt16}} AND __LEDGER_DAYS__
        AND off >= {{block:UInt64}} * {BLOCK_OFFSETS} AND off < ({{block:UInt64}} + 1) * {
    BLOCK_OFFSETS
}
)
GROUP BY {_KEY}
HAVING {" OR ".join(f"cell_{m} != ledger_{m}" for m in _MEASURES)}
"""
_FEN = " + ".join(f"abs(toInt128(cell_{m}) - ledger_{m})" for m in _MEASURES[1:])


def differing_cells(client: Client, days: Days, block: Block, announced: Announced) -> Differing:
    """The cells of a block that are not what the ledger holds for them."""
    by_cell = _BY_CELL.replace("__CELL_DAYS__", days.of("period"))
    by_cell = by_cell.replace("__LEDGER_DAYS__", days.of("occurred_at"))
    rows = client.query(
        f"""
        SELECT formatDateTime(hour, '%Y-%m-%dT%H:%i+08:00', 'Asia/Shanghai'), toString(recorded_date),
            leftPad(toString(district), 6, '0'), toString(sector), platform, toInt64(through) - 1,
            {", ".join(f"cell_{m}" for m in _MEASURES)}, {", ".join(f"ledger_{m}" for m in _MEASURES)},
            {_FEN} AS fen, count() OVER (), sum(fen) OVER ()
        FROM ({by_cell}) ORDER BY {_KEY} LIMIT {LISTED}""",
        parameters={**vars(block), "next": announced.next_offset, **days.parameters},
        settings=SPILL,
    ).result_rows
    if not rows:
        return Differing()
    return Differing(int(rows[0][-2]), int(rows[0][-1]), tuple(_cell(block, row) for row in rows))


def _cell(block: Block, row: Sequence[Any]) -> dict[str, Any]:
    width = len(_MEASURES)
    held = dict(zip(_MEASURES, map(int, row[6 : 6 + width]), strict=True))
    counted = dict(zip(_MEASURES, map(int, row[6 + width : 6 + 2 * width]), strict=True))
    return {
        "period": row[0],
        "recorded_date": row[1],
        "district": row[2],
        "sector": row[3],
        "platform": row[4],
        **vars(block),
        "last_offset": int(row[5]) if row[5] >= 0 else None,
        "cell": held,
        "ledger": counted,
        "difference_fen": int(row[6 + 2 * width]),
    }


def recount(client: Client, block: Block, announced: Announced) -> Announced:
    """What `blocks` should say of a block as far as it is announced."""
    row = client.query(
        f"""
        SELECT count(),
            sum({LEDGER_NET})
        FROM entries FINAL
        WHERE epoch = {{epoch:UInt16}} AND part = {{part:UInt16}}
            AND off >= {{block:UInt64}} * {BLOCK_OFFSETS}
            AND off < least(({{block:UInt64}} + 1) * {BLOCK_OFFSETS}, {{next:UInt64}})""",
        parameters={**vars(block), "next": announced.next_offset},
    ).result_rows[0]
    return replace(announced, entries=int(row[0]), net_fen=int(row[1]))

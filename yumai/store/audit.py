"""The proof of the books: the ledger recounted against the cells, block by block. 0 fen expected.

Both sides are taken as of what was announced when the audit began, so that it can run while workers
write: the ledger is written before the cells, the cells before `blocks`. Hence a block's rows up to
the `last_offset` read first are all there, and a cell that is ahead of it (a flush under way, or one
that a crash cut short) must equal the recount up to the cell's own `last_offset`.

Twice over. First each block by one number a side: the sum of every measure times a 64-bit hash of
its cell, in 128 bits. A block with a wrong cell has equal numbers with a chance of 2^-63 or less;
20 million rows take seconds and no memory. Then, exactly and cell by cell (`audit_block.py`), each
block whose numbers differ or that is ahead, with fresh `blocks`, up to three times: what still
differs then is reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from clickhouse_connect.driver.client import Client

from yumai.entry import BLOCK_OFFSETS
from yumai.store import audit_block
from yumai.store.audit_block import KINDS, LISTED, SPILL, Announced, Block, Days
from yumai.store.figures import LEDGER_NET

IDS_AT_ONCE = 4_000_000
TWICE_LISTED = 100

_ATTEMPTS, _PAUSE_SECONDS = 3, 1.0
_NO_BLOCK = 2**63


@dataclass
class Report:
    """What was recounted and what differs. Differences in fen are absolute, summed over the kinds."""

    first: date | None
    last: date | None
    blocks: int = 0
    entries: int = 0
    net_fen: int = 0
    difference_fen: int = 0
    cells_differing: list[dict[str, Any]] = field(default_factory=list)
    cells_differing_total: int = 0
    blocks_differing: list[dict[str, Any]] = field(default_factory=list)
    ids_twice: list[dict[str, Any]] = field(default_factory=list)
    ids_twice_total: int = 0
    receipts_overbooked: list[dict[str, Any]] = field(default_factory=list)
    blocks_recounted_by_cell: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (
            self.cells_differing_total
            or self.blocks_differing
            or self.ids_twice_total
            or self.receipts_overbooked
        )

    def to_dict(self) -> dict[str, Any]:
        figures = {
            name: value for name, value in vars(self).items() if name not in ("first", "last")
        }
        days = {"from": self.first, "to": self.last}
        return {
            "ok": self.ok,
            **{k: v.isoformat() if v else None for k, v in days.items()},
            **figures,
        }


def audit(client: Client, first: date | None = None, last: date | None = None) -> Report:
    """Recounts what occurred from `first` to `last` (Shanghai dates, inclusive; None: no bound).

    `blocks` and receipts are totals of all days: compared only where no day is left out. Ids are
    unique over the whole ledger, so they are always looked at. Raises one of STORE_ERRORS.
    """
    started = time.monotonic()
    report = Report(first, last)
    days = Days(first, last)
    blocks = announced_blocks(client)
    cells = _cells_in_short(client, days)  # before the ledger: what they hold stands there by now
    ledger = _ledger_in_short(client, days, blocks)
    suspects = []
    for block in sorted(blocks.keys() | cells.keys()):
        announced = blocks.get(block, Announced())
        cell, rows = cells.get(block, _Short()), ledger.get(block, _Short())
        report.blocks += block in blocks
        report.entries += rows.entries
        report.net_fen += rows.net_fen
        counted = (
            (announced.entries, announced.net_fen) if days.all else (rows.entries, rows.net_fen)
        )
        if (
            cell.next_offset > announced.next_offset
            or (cell.entries, cell.number) != (rows.entries, rows.number)
            or counted != (rows.entries, rows.net_fen)
        ):
            suspects.append(block)
    report.blocks_recounted_by_cell = len(suspects)
    for block in suspects:
        _recount_by_cell(client, days, block, report)
    _find_ids_twice(client, report)
    if days.all:
        _find_overbooked_receipts(client, report)
    report.seconds = round(time.monotonic() - started, 1)
    return report


def announced_blocks(client: Client, only: Block | None = None) -> dict[Block, Announced]:
    """The rows of `blocks`: how far each is announced, and what it says it holds."""
    where = (
        "WHERE epoch = {epoch:UInt16} AND part = {part:UInt16} AND block = {block:UInt64}"
        if only
        else ""
    )
    rows = client.query(
        f"SELECT epoch, part, block, last_offset, entries, net_fen FROM blocks FINAL {where}",
        parameters=vars(only) if only else None,
    ).result_rows
    return {
        Block(int(epoch), int(part), int(block)): Announced(
            int(last_offset) + 1, int(entries), int(net_fen)
        )
        for epoch, part, block, last_offset, entries, net_fen in rows
    }


@dataclass(frozen=True)
class _Short:
    """A block in short; `number` is the sum of every measure times its cell's hash."""

    entries: int = 0
    net_fen: int = 0
    number: int = 0
    next_offset: int = 0


# The hash's first argument tells a cell's measures apart: 0 the count, else the kind's number.
_HASH = "toInt128(cityHash64(toInt8({of}), toUInt32({hour}), recorded_date, district, sector, platform))"
_LEDGER_HASH = _HASH.format(of="{of}", hour=audit_block.HOUR)
_CELLS_HASH = _HASH.format(of="{of}", hour="period")


def _cells_in_short(client: Client, days: Days) -> dict[Block, _Short]:
    number = " + ".join(
        f"sum({_CELLS_HASH.format(of=number)} * {kind}_fen)" for number, kind in KINDS.items()
    )
    rows = client.query(
        f"""
        SELECT epoch, part, block, sum(entries),
            sum(toInt128(sales_fen) - refunds_fen - sale_reversals_fen + refund_reversals_fen),
            {number} + sum({_CELLS_HASH.format(of=0)} * entries),
            max(last_offset) + 1
        FROM cells FINAL WHERE {days.of("period")} GROUP BY epoch, part, block""",
        parameters=days.parameters,
        settings=SPILL,
    ).result_rows
    return {Block(*map(int, row[:3])): _Short(*map(int, row[3:])) for row in rows}


def _ledger_in_short(
    client: Client, days: Days, blocks: dict[Block, Announced]
) -> dict[Block, _Short]:
    """Sums of the ledger's announced rows by block; one query over one range a partition."""
    found = {}
    for epoch, part in sorted({(block.epoch, block.part) for block in blocks}):
        mine = {b.block: a for b, a in blocks.items() if (b.epoch, b.part) == (epoch, part)}
        # Where a block is not announced to its end, its rows count up to there. A hole between
        # announced blocks (a store that is being filled again from the log) counts not at all.
        ends = {
            block: a.next_offset
            for block, a in mine.items()
            if a.next_offset != (block + 1) * BLOCK_OFFSETS
        }
        ends |= {block: 0 for block in range(min(mine), max(mine)) if block not in mine}
        ends[_NO_BLOCK] = 0  # the function wants at least one
        rows = client.query(
            f"""
            SELECT intDiv(off, {BLOCK_OFFSETS}) AS block, count(),
                sum({LEDGER_NET}),
                sum({_LEDGER_HASH.format(of="kind")} * amount_fen + {_LEDGER_HASH.format(of=0)})
            FROM entries FINAL
            WHERE epoch = {{epoch:UInt16}} AND part = {{part:UInt16}} AND off < {{next:UInt64}}
                AND off < transform(block, {{open:Array(UInt64)}}, {{ends:Array(UInt64)}}, {{next:UInt64}})
                AND {days.of("occurred_at")}
            GROUP BY block""",
            parameters={
                "epoch": epoch,
                "part": part,
                "next": max(a.next_offset for a in mine.values()),
                "open": list(ends),
                "ends": list(ends.values()),
                **days.parameters,
            },
            settings=SPILL,
        ).result_rows
        for row in rows:
            found[Block(epoch, part, int(row[0]))] = _Short(*map(int, row[1:]))
    return found


def _recount_by_cell(client: Client, days: Days, block: Block, report: Report) -> None:
    """Adds a block's differences to the report. Each attempt compares what is announced by then."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        announced = announced_blocks(client, block).get(block, Announced())
        differing = audit_block.differing_cells(client, days, block, announced)
        recount = audit_block.recount(client, block, announced) if days.all else announced
        if not differing.total and recount == announced:
            return
    report.difference_fen += differing.fen
    report.cells_differing_total += differing.total
    report.cells_differing += differing.cells[: max(LISTED - len(report.cells_differing), 0)]
    if recount != announced:
        report.blocks_differing.append(
            {
                **vars(block),
                "last_offset": announced.next_offset - 1,
                "entries": announced.entries,
                "net_fen": announced.net_fen,
                "ledger_entries": recount.entries,
                "ledger_net_fen": recount.net_fen,
            }
        )


def _find_ids_twice(client: Client, report: Report) -> None:
    """One id of one platform at two positions: booked twice. Slice by slice, so that memory does not grow."""
    count = int(client.query("SELECT count() FROM entries").result_rows[0][0])
    slices = count // IDS_AT_ONCE + 1
    for number in range(slices):
        rows = client.query(
            # The id's low half chooses the partition; its high half is even in each.
            """
            SELECT DISTINCT hex(id) FROM entries
            WHERE reinterpretAsUInt64(substring(id, 9, 8)) % {slices:UInt32} = {number:UInt32}
            GROUP BY platform, id
            HAVING min(cityHash64(epoch, part, off, row)) != max(cityHash64(epoch, part, off, row))""",
            parameters={"slices": slices, "number": number},
            settings=SPILL,
        ).result_rows
        report.ids_twice_total += len(rows)
        listed = [row[0] for row in rows[: TWICE_LISTED - len(report.ids_twice)]]
        if listed:
            report.ids_twice += _positions(client, listed)


def _positions(client: Client, ids: list[str]) -> list[dict[str, Any]]:
    rows = client.query(
        """
        SELECT lower(hex(id)), platform, groupUniqArray((epoch, part, off, row)) AS positions, any(amount_fen)
        FROM entries WHERE hex(id) IN {ids:Array(String)}
        GROUP BY platform, id HAVING length(positions) > 1 ORDER BY id, platform""",
        parameters={"ids": ids},
    ).result_rows
    keys = ("epoch", "part", "offset", "row")
    return [
        {
            "id": id_,
            "platform": platform,
            "positions": [dict(zip(keys, position, strict=True)) for position in sorted(positions)],
            "amount_fen": int(amount),
        }
        for id_, platform, positions, amount in rows
    ]


def _find_overbooked_receipts(client: Client, report: Report) -> None:
    """Booked + duplicates + conflicts must not pass what was accepted.

    Less is no fault: the rest is under way. The Kafka door's receipts grow with their topic, and so
    say how much was accepted only in passing.
    """
    rows = client.query(
        f"""
        SELECT lower(hex(receipt)), sum(accepted) AS accepted, sum(booked) AS booked,
            sum(duplicate) AS duplicates, sum(conflict) AS conflicts
        FROM (
            SELECT receipt, 1 AS known, toInt64(accepted) AS accepted, 0 AS booked, 0 AS duplicate, 0 AS conflict
            FROM receipts FINAL WHERE format != 'kafka'
            UNION ALL
            SELECT receipt, 0, 0, toInt64(booked), 0, 0 FROM receipt_bookings FINAL
            UNION ALL
            SELECT receipt, 0, 0, 0, verdict = 'duplicate', verdict = 'conflict' FROM verdicts FINAL
        )
        GROUP BY receipt HAVING max(known) AND booked + duplicates + conflicts > accepted
        ORDER BY receipt LIMIT {TWICE_LISTED}""",
        settings=SPILL,
    ).result_rows
    names = ("receipt_id", "accepted", "booked", "duplicates", "conflicts")
    report.receipts_overbooked = [
        {names[0]: row[0], **{n: int(v) for n, v in zip(names[1:], row[1:], strict=True)}}
        for row in rows
    ]

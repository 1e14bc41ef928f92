"""Progress rows as their own district is shown them: no figure tells of fewer than three entries. Pure.

`attained_fen` is what `yumai.store.disclosure` shows. What is judged follows from all entries and so is
rounded: a step stands for LEAST average entries of the year at least, and for a thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from yumai.evaluation.rows import FROM_ENTRIES, ProgressRow
from yumai.methods import guards
from yumai.store.disclosure import LEAST
from yumai.targets import SECTORS

MOST_DIGITS = 3


@dataclass(frozen=True, slots=True)
class ShownRow(ProgressRow):
    """`suppressed`: something is left out of `attained_fen`."""

    suppressed: bool


@dataclass(frozen=True, slots=True)
class Sums:
    """Of a year so far. `hidden`: entries that are left out."""

    fen: int = 0
    entries: int = 0
    hidden: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.fen + other.fen, self.entries + other.entries, self.hidden + other.hidden)


def by_sector(rows: Iterable[tuple[str, int, int, int]]) -> dict[str | None, Sums]:
    """From rows of sector, fen, entries, hidden entries; None: all services together."""
    found: dict[str | None, Sums] = {None: Sums()}
    for code, fen, entries, hidden in rows:
        if code in SECTORS:
            sums = Sums(int(fen), int(entries), int(hidden))
            found[code] = found.get(code, Sums()) + sums
            found[None] += sums
    return found


def shown_row(row: ProgressRow, sums: Mapping[str | None, Sums]) -> ShownRow:
    of = sums.get(row.sector, Sums())
    fields: dict[str, Any] = asdict(row)
    booked = of.entries + of.hidden
    if booked and not of.entries:
        nothing = dict.fromkeys(FROM_ENTRIES)
        hidden = {"guards": [*row.guards, guards.SUPPRESSED], "suppressed": True}
        return ShownRow(**fields | nothing | hidden)
    if booked:
        fields |= {"attained_fen": of.fen} | _rounded(row, digits_of(booked))
    return ShownRow(**fields, suppressed=of.hidden > 0)


def digits_of(entries: int) -> int:
    """Digits after the point of a share of all, of which no step is less than LEAST average entries."""
    return min(len(str(entries // LEAST)) - 1, MOST_DIGITS) if entries >= LEAST else 0


def _rounded(row: ProgressRow, digits: int) -> dict[str, Any]:
    if not digits:
        judged = ("comparable_fen", "pace", "nowcast_fen", "nowcast_low_fen", "nowcast_high_fen")
        return dict.fromkeys((*judged, "p_meet", "required_growth"))
    pace = _round(row.pace, digits)
    comparable = _significant(row.comparable_fen, digits)
    if pace is not None and row.expected_fen:
        comparable = round(pace * row.expected_fen)
    return {
        "comparable_fen": comparable,
        "pace": pace,
        "nowcast_fen": _significant(row.nowcast_fen, digits),
        "nowcast_low_fen": _significant(row.nowcast_low_fen, digits),
        "nowcast_high_fen": _significant(row.nowcast_high_fen, digits),
        "p_meet": _round(row.p_meet, min(digits, 2)),
        "required_growth": _round(row.required_growth, digits),
    }


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _significant(fen: int | None, digits: int) -> int | None:
    """The first digits of an amount."""
    if not fen:
        return fen
    return round(fen, digits - 1 - math.floor(math.log10(abs(fen))))

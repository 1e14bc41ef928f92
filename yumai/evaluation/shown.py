"""Progress rows as their own district is shown them: no figure tells of fewer than three entries. Pure.

`attained_fen` is what `yumai.store.disclosure` shows. What is judged follows from all entries and so is
rounded: a step stands for LEAST average entries of the year at least, and for a thousandth. What an alert
remembers of its day is rounded to a thousandth, of a sector to a hundredth: it does not say how many entries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from yumai.evaluation.rows import FROM_ENTRIES, ProgressRow
from yumai.methods import guards
from yumai.store.disclosure import LEAST
from yumai.targets.asked import SECTORS

MOST_DIGITS = 3
SECTOR_DIGITS = 2
SHARES = ("pace", "p_meet", "required_growth")
AMOUNTS = tuple(name for name in FROM_ENTRIES if name.endswith("_fen"))


@dataclass(frozen=True, slots=True)
class ShownRow(ProgressRow):
    """`suppressed`: something is left out of `attained_fen`."""

    suppressed: bool


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of a year so far. `hidden`: the number of suppressed entries."""

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
        fields |= rounded(fields, digits_of(booked)) | {"attained_fen": of.fen}
    return ShownRow(**fields, suppressed=of.hidden > 0)


def digits_of(entries: int) -> int:
    """Digits after the point of a share of all, of which no step is less than LEAST average entries."""
    return min(len(str(entries // LEAST)) - 1, MOST_DIGITS) if entries >= LEAST else 0


def rounded(figures: Mapping[str, Any], digits: int) -> dict[str, Any]:
    """Figures of a row with what follows from entries rounded; with no digit they are not told."""
    found = dict(figures)
    for name in set(figures) & {*AMOUNTS, *SHARES}:
        if not digits:
            found[name] = None
        elif name in SHARES:
            found[name] = _round(figures[name], digits)
        else:
            found[name] = _significant(figures[name], digits)
    expected = figures.get("expected_fen")
    if found.get("pace") is not None and expected and "comparable_fen" in found:
        found["comparable_fen"] = round(found["pace"] * expected)
    return found


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _significant(fen: int | None, digits: int) -> int | None:
    """The first digits of an amount."""
    if not fen:
        return fen
    return round(fen, digits - 1 - math.floor(math.log10(abs(fen))))

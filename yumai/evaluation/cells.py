"""The cells that are judged in a year, and their figures like for like. Pure.

Cells are districts × (all services, S01 … S12, S99), and the city's the same way. Past years are laid
on the judged year's districts (the division change: approximate), and each is compared with the next
over the platforms present in both (`yumai.methods.like_for_like`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from contracts.targets.codec import CITY
from yumai.districts import CHANGE_DATE, ENDED, districts_of
from yumai.evaluation.columns import Bools, Ints, Year
from yumai.methods import like_for_like
from yumai.methods.festival import days_of
from yumai.methods.like_for_like import Panel, Present
from yumai.methods.monthly import by_month
from yumai.targets.asked import SECTORS

Floats = npt.NDArray[np.float64]

SECTOR_NUMBERS: tuple[int, ...] = tuple(int(code[1:]) for code in SECTORS)
OF_ALL = 0
"""Column of all services among a district's cells."""
WIDTH = len(SECTORS) + 1


@dataclass(frozen=True)
class Frame:
    """Cells of a judged year. Cell number = place of the district × WIDTH + place of the sector."""

    year: int
    districts: tuple[str, ...]
    """The city is the last."""

    @classmethod
    def of(cls, year: int) -> Frame:
        return cls(year, (*districts_of(year), CITY))

    @property
    def size(self) -> int:
        return len(self.districts) * WIDTH

    @property
    def city(self) -> int:
        """Number of the city's first cell."""
        return self.size - WIDTH

    def number(self, district: str, sector: str | None) -> int:
        column = OF_ALL if sector is None else SECTORS.index(sector) + 1
        return self.districts.index(district) * WIDTH + column

    def keys(self) -> list[tuple[str, str | None]]:
        return [(d, s) for d in self.districts for s in (None, *SECTORS)]

    def sector_groups(self) -> Ints:
        """Cells of one number lean on each other; the city's lean on none."""
        groups = np.tile(np.arange(WIDTH), len(self.districts))
        groups[self.city :] += 1_000
        return groups

    def place(self, year: Year) -> tuple[Ints, Ints]:
        """Each line's district (−1: none of this year's, the city's alone) and sector column (−1: goods)."""
        known = {int(code): n for n, code in enumerate(self.districts[:-1])}
        if self.year >= CHANGE_DATE.year > year.year:
            known |= {int(old): known[int(new)] for old, new in ENDED.items()}
        column = {number: n + 1 for n, number in enumerate(SECTOR_NUMBERS)}
        districts = np.array([known.get(int(d), -1) for d in year.district], dtype=np.int64)
        sectors = np.array([column.get(int(s), -1) for s in year.sector], dtype=np.int64)
        return districts, sectors


@dataclass(frozen=True)
class Placed:
    """A year's lines of services on a frame. `pair`: district place × platforms + platform."""

    year: Year
    district: Ints
    column: Ints
    platform: Ints
    platforms: int

    @property
    def pair(self) -> Ints:
        """Lines outside the frame's districts are pairs of a place of their own, behind the last."""
        return self.district * self.platforms + self.platform

    def judged(self, panel: Panel) -> tuple[Bools, Bools]:
        """Which lines a panel judges: of districts, of the city."""
        return panel.pairs[self.pair], panel.city[self.platform]


def placed(frame: Frame, years: Mapping[int, Year]) -> tuple[dict[int, Placed], tuple[str, ...]]:
    """Every year on the frame, and the names that `platform` numbers."""
    names = sorted({name for year in years.values() for name in np.unique(year.platform).tolist()})
    number = {name: n for n, name in enumerate(names)}
    found = {}
    for of, year in years.items():
        lines = year.services
        kept = Year(
            of,
            year.district[lines],
            year.sector[lines],
            year.platform[lines],
            year.fen[lines],
            year.counted[lines],
        )
        districts, columns = frame.place(kept)
        outside = districts < 0
        found[of] = Placed(
            kept,
            np.where(outside, len(frame.districts) - 1, districts),
            columns,
            np.array([number[name] for name in kept.platform.tolist()], dtype=np.int64),
            max(len(names), 1),
        )
    return found, tuple(names)


def grouped(values: npt.NDArray, index: Ints, size: int) -> npt.NDArray:
    """Sums of lines by index: `values[lines, …]` → `[size, …]`."""
    out = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
    if len(index):
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        out[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


def summed(frame: Frame, of: Placed, kept: Bools, city_kept: Bools) -> Ints:
    """Daily sums of every cell `[cells, days]` over kept lines; the city's over its own choice."""
    fen = of.year.fen
    places = len(frame.districts)
    inside = kept & (of.district < places - 1)
    cells = grouped(
        fen[inside], of.district[inside] * WIDTH + of.column[inside], frame.size
    ).reshape(places, WIDTH, -1)
    cells[-1] = grouped(fen[city_kept], of.column[city_kept], WIDTH)
    cells[:, OF_ALL] = cells[:, 1:].sum(axis=1)
    return cells.reshape(frame.size, -1)


def everything(frame: Frame, of: Placed) -> Ints:
    lines = np.ones(len(of.district), dtype=bool)
    return summed(frame, of, lines, lines)


def present(frame: Frame, of: Placed) -> Present:
    days = of.year.days
    first = like_for_like.first_days((of.year.counted > 0) | (of.year.fen != 0))
    pairs = np.full(len(frame.districts) * of.platforms, days)
    np.minimum.at(pairs, of.pair, first)
    whole = np.full(of.platforms, days)
    np.minimum.at(whole, of.platform, first)
    return Present(pairs, whole, days)


@dataclass(frozen=True)
class Past:
    """`daily[k]` of year Y−k−1, newest first, like for like and linked; `months[n, k, 12]`, NaN unknown."""

    years: tuple[int, ...]
    daily: tuple[Floats, ...]
    months: Floats


def past(
    frame: Frame,
    years: Mapping[int, Placed],
    panel: Panel,
    known_from: date,
) -> Past:
    """Past years of a frame, `panel` deciding about last year. Days before `known_from` are unknown."""
    daily: list[Floats] = []
    used: list[int] = []
    link = np.ones(frame.size)
    chosen = panel
    for back in range(1, len(years)):
        number = frame.year - back
        if number not in years or known_from.year > number:
            break
        of = years[number]
        sums = summed(frame, of, *of.judged(chosen)).astype(np.float64)
        daily.append(sums * link[:, None])
        used.append(number)
        older = years.get(number - 1)
        if older is None:
            break
        next_choice = like_for_like.in_both(present(frame, older), present(frame, of))
        over = summed(frame, of, *of.judged(next_choice)).sum(axis=1)
        link = link * like_for_like.ratio(sums.sum(axis=1), over)
        chosen = next_choice
    months = np.full((frame.size, len(daily), 12), np.nan)
    for k, (number, days) in enumerate(zip(used, daily, strict=True)):
        months[:, k] = by_month(days, number)
        for month in range(12):
            if date(number, month + 1, 3) < known_from:
                months[:, k, month] = np.nan
    return Past(tuple(used), tuple(daily), months)


def day_number(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal()


def last_day(year: int) -> date:
    return date.fromordinal(date(year, 1, 1).toordinal() + days_of(year) - 1)

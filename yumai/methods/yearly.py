"""Monthly history judged again at every month-end of every year, each as it could be known then. Pure.

The walk over years that backtests, and the service's own parameters, stand on: α, σ and the law of z of
a date come from the same date in earlier years only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from yumai.methods import nowcast, uncertainty
from yumai.methods.festival import spring_festival
from yumai.methods.nowcast import Nowcasts
from yumai.methods.seasons import MONTHS, YEARS_MOST, Floats, Ints
from yumai.methods.uncertainty import Past, Spread

JANUARY_SHARE = 31.0 / 59.25
"""Of January and February together, where a moving festival makes their split meaningless."""
SPLIT_YEARS_MOST = 10
SPLIT_YEARS_LEAST = 3
SPLIT_RIDGE = 0.05


@dataclass(frozen=True)
class MonthEnd:
    """All cells at the end of month `month` (1–12) of year number `year` (0-based)."""

    year: int
    month: int
    booked: Floats
    total: Floats
    around: Spread
    found: Nowcasts


def month_ends(
    sales: Floats, sector: Ints, *, first_year: int | None = None, last: tuple[int, int]
) -> Iterator[MonthEnd]:
    """Every month-end of years 1, 2, … of `sales[n, years, 12]` (NaN: unknown), up to `last` (year, month).

    `first_year`: the calendar year of year number 0, where Spring Festival moves between January and
    February: then the two are judged as one period (as the National Bureau publishes them), and January's end
    is judged on how January and February usually split with the festival on that date.
    """
    moving = first_year is not None
    lessons = [Past() for _ in range(MONTHS)]
    totals = sales.sum(axis=2)
    even = evened(sales) if moving else sales
    for year in range(1, last[0] + 1):
        past = even[:, max(year - YEARS_MOST - 1, 0) : year][:, ::-1]
        over: list[tuple[int, Nowcasts, Floats, Spread]] = []
        for month in range(1, (MONTHS if year < last[0] else last[1]) + 1):
            now, done = so_far(even[:, year], month)
            if first_year is not None and month == 1:
                now, done = january(sales, sector, first_year, year)
            same = np.where(done > 0, past[:, 0] * done, 0.0).sum(axis=1)
            found = nowcast.nowcasts(past, now, done, same, float(month), sector)
            best = uncertainty.best_alpha(lessons, month - 1, found.seasons)
            shown = found.total(best)
            around = uncertainty.spread(lessons[month - 1], found.seasons, float(month))
            booked = np.nan_to_num(sales[:, year, :month]).sum(axis=1)
            yield MonthEnd(year, month, booked, shown, around, found)
            over.append((month, found, shown, around))
        for month, found, shown, around in over:
            lessons[month - 1].learn(found.totals, shown, around.sigma, totals[:, year])


def so_far(months: Floats, month: int) -> tuple[Floats, Floats]:
    """This year's months as booked by the end of `month`, and which part of each that is."""
    now, done = np.zeros((len(months), MONTHS)), np.zeros((len(months), MONTHS))
    known = ~np.isnan(months[:, :month])
    now[:, :month] = np.where(known, months[:, :month], 0.0)
    done[:, :month] = known
    return now, done


def evened(sales: Floats) -> Floats:
    """January and February share their sum by their days, where both are known."""
    both = sales[:, :, 0] + sales[:, :, 1]
    fine = ~np.isnan(both)
    out = sales.copy()
    out[:, :, 0] = np.where(fine, both * JANUARY_SHARE, sales[:, :, 0])
    out[:, :, 1] = np.where(fine, both * (1.0 - JANUARY_SHARE), sales[:, :, 1])
    return out


def festival_in_january(year: int) -> float:
    """h: which share of the days −14 … +7 around Spring Festival lies in January."""
    distance = (date(year, 2, 1) - spring_festival(year)).days
    return min(max(distance + 14, 0), 22) / 22.0


def january(sales: Floats, sector: Ints, first_year: int, year: int) -> tuple[Floats, Floats]:
    """January alone, as a part of January and February together: `now`, `done` as of its end.

        ŝ = s̄ + β (h − h̄),   s = x₁/(x₁ + x₂) of each past year, β pooled over the sector

    With fewer than three years β is not known: then January says nothing (`done` 0).
    """
    now, done = np.zeros((len(sales), MONTHS)), np.zeros((len(sales), MONTHS))
    first = max(year - SPLIT_YEARS_MOST, 0)
    both = sales[:, first:year, 0] + sales[:, first:year, 1]
    split = np.where(both > 0, sales[:, first:year, 0] / np.where(both > 0, both, 1.0), np.nan)
    known = ~np.isnan(split)
    count = known.sum(axis=1)
    h = np.array([festival_in_january(first_year + y) for y in range(first, year)])
    size = np.maximum(count, 1)
    middle = np.where(known, split, 0.0).sum(axis=1) / size
    middle_h = np.where(known, h, 0.0).sum(axis=1) / size
    off_h = np.where(known, h - middle_h[:, None], 0.0)
    off = np.where(known, split - middle[:, None], 0.0)
    slope = np.zeros(len(sales))
    for code in np.unique(sector):
        members = sector == code
        slope[members] = (off_h[members] * off[members]).sum() / (
            (off_h[members] ** 2).sum() + SPLIT_RIDGE
        )
    guess = middle + slope * (festival_in_january(first_year + year) - middle_h)
    seen = sales[:, year, 0]
    fine = (count >= SPLIT_YEARS_LEAST) & ~np.isnan(seen) & (guess > 0.05) & (guess < 0.95)
    # In evened months January and February are one: what is booked is `guess` of the two.
    worth = np.where(fine, guess, 0.0)
    shares = np.array([JANUARY_SHARE, 1.0 - JANUARY_SHARE])
    now[:, :2] = np.where(fine, seen, 0.0)[:, None] * shares
    done[:, :2] = worth[:, None]
    return now, done

"""Monthly history judged again at every month-end of every year, each as it could be known then. Pure.

The walk over years that backtests, and the service's own parameters, stand on: α, σ and the law of z of
a date come from the same date in earlier years only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yumai.methods import nowcast, uncertainty
from yumai.methods.nowcast import ALPHAS, Nowcasts
from yumai.methods.seasons import MONTHS, YEARS_MOST, Floats, Ints
from yumai.methods.uncertainty import Past, Spread

JANUARY_SHARE = 31.0 / 59.25
"""Of January and February together, where a moving festival makes their split meaningless."""


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
    sales: Floats, sector: Ints, *, moving_festival: bool = False, last: tuple[int, int]
) -> Iterator[MonthEnd]:
    """Of `sales[n, years, 12]` (NaN unknown), every month-end of years 1, 2, … up to `last` (year, month).

    `moving_festival`: Spring Festival lies in January or February, so the two are judged as one period
    (as the National Bureau publishes them), and January's end alone says nothing new.
    """
    lessons = [Past() for _ in range(MONTHS)]
    totals = sales.sum(axis=2)
    even = evened(sales) if moving_festival else sales
    for year in range(1, last[0] + 1):
        past = even[:, max(year - YEARS_MOST - 1, 0) : year][:, ::-1]
        over: list[tuple[int, Nowcasts, Floats, Spread]] = []
        for month in range(1, (MONTHS if year < last[0] else last[1]) + 1):
            now, done = so_far(sales[:, year], even[:, year], month, moving_festival)
            same = np.where(done > 0, past[:, 0], 0.0).sum(axis=1)
            found = nowcast.nowcasts(past, now, done, same, float(month), sector)
            best = uncertainty.best_alpha(lessons[month - 1], ALPHAS)
            around = uncertainty.spread(
                lessons[month - 1], found.seasons.variance, found.seasons.usable, float(month)
            )
            booked = np.nan_to_num(sales[:, year, :month]).sum(axis=1)
            yield MonthEnd(year, month, booked, found.totals[:, best], around, found)
            over.append((month, found, found.totals[:, best], around))
        for month, found, shown, around in over:
            lessons[month - 1].learn(found.totals, shown, around.sigma, totals[:, year])


def evened(sales: Floats) -> Floats:
    """January and February share their sum by their days, where both are known."""
    both = sales[:, :, 0] + sales[:, :, 1]
    fine = ~np.isnan(both)
    out = sales.copy()
    out[:, :, 0] = np.where(fine, both * JANUARY_SHARE, sales[:, :, 0])
    out[:, :, 1] = np.where(fine, both * (1.0 - JANUARY_SHARE), sales[:, :, 1])
    return out


def so_far(raw: Floats, even: Floats, month: int, moving_festival: bool) -> tuple[Floats, Floats]:
    """This year's months as booked by the end of `month`, and which part of each that is."""
    seen = (raw if month < 2 else even)[:, :month]
    now, done = np.zeros((len(raw), MONTHS)), np.zeros((len(raw), MONTHS))
    if month == 1 and moving_festival:
        return now, done
    known = ~np.isnan(seen)
    now[:, :month] = np.where(known, seen, 0.0)
    done[:, :month] = known
    return now, done

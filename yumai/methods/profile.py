"""The seasonal profile: which share of a year is usually reached by a day (METHODS §5.1). Pure.

    p_y(t) = Σ_{u≤t} x̃_{y,u} / Σ_u x̃_{y,u},   p(t) = mean over past years y

x̃_y are the daily net sales of year y, laid on the days of the judged year: within 21 days of Spring
Festival by distance to it; otherwise by month-day, on the nearest day of the same weekday, which must
be ordinary in its own year (else the festival counts twice when it moves).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache

import numpy as np

from yumai.methods.festival import (
    FESTIVE_DAYS,
    days_of,
    each_day,
    is_festive,
    is_fixed,
    same_month_day,
    spring_festival,
)

LENT_MONTHS = 6.0
"""A district with so many months of history counts half, the city the other half."""
MONTHS_A_YEAR = 12.0


@cache
def aligned_days(year: int, past: int) -> np.ndarray:
    """For each day of `year` (0-based) the day of `past` that it is like."""
    begin = date(past, 1, 1)
    found = np.array([(_alike(day, past) - begin).days for day in each_day(year)], dtype=np.int64)
    found.setflags(write=False)
    return found


def _alike(day: date, past: int) -> date:
    distance = (day - spring_festival(day.year)).days
    if abs(distance) <= FESTIVE_DAYS:
        return max(spring_festival(past) + timedelta(days=distance), date(past, 1, 1))
    same = same_month_day(day, past)
    if is_fixed(day) and not is_festive(same):
        return same
    shift = 0
    while True:
        for candidate in (same + timedelta(days=shift), same - timedelta(days=shift)):
            if (
                candidate.year == past
                and candidate.weekday() == day.weekday()
                and not is_festive(candidate)
                and not is_fixed(candidate)
            ):
                return candidate
        shift += 1


def linear(year: int) -> np.ndarray:
    """Days gone by: what is left where there is no history."""
    days = days_of(year)
    return np.arange(1, days + 1, dtype=np.float64) / days


def cumulative_share(history: Mapping[int, np.ndarray], year: int) -> np.ndarray | None:
    """Share of `year` usually reached by the end of each day; the last is 1 and it never falls.

    `history`: past year -> net sales of each of its days, in any unit. Years without sales are left
    out; None without any. A day below zero (refunds) counts as zero.
    """
    shares = []
    for past, daily in history.items():
        if len(daily) != days_of(past):
            raise ValueError(f"{past}: {len(daily)} days")
        aligned = np.clip(np.asarray(daily, dtype=np.float64), 0.0, None)[aligned_days(year, past)]
        total = aligned.sum()
        if total > 0:
            shares.append(np.cumsum(aligned) / total)
    if not shares:
        return None
    return _finished(np.mean(shares, axis=0))


def leaning(own: np.ndarray | None, pool: np.ndarray, months: float) -> np.ndarray:
    """A district's own profile, leaning on the city's where it has few months of history."""
    if own is None:
        return pool
    weight = months / (months + LENT_MONTHS)
    return _finished(weight * own + (1.0 - weight) * pool)


def _finished(share: np.ndarray) -> np.ndarray:
    share = np.maximum.accumulate(np.clip(share, 0.0, 1.0))
    share[-1] = 1.0
    return share


def share_at(cumulative: np.ndarray, day: int, fraction: float) -> float:
    """Within day number `day` (0-based), of which `fraction` has gone."""
    before = float(cumulative[day - 1]) if day else 0.0
    return before + (float(cumulative[day]) - before) * min(max(fraction, 0.0), 1.0)

"""Which day of a past year a day is like. Pure.

Within 21 days of Spring Festival by distance to it; otherwise by month-day, on the nearest day of the same
weekday, which must be ordinary in its own year (else the festival counts twice when it moves). By
month-day alone, a festival three weeks later makes January look a tenth too poor.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np

from yumai.methods.festival import (
    FESTIVE_DAYS,
    each_day,
    is_festive,
    is_fixed,
    same_month_day,
    spring_festival,
)


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

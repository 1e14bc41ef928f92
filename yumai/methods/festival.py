"""Days that move or stand out in a year: Spring Festival and the fixed long holidays. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from lunardate import LunarDate

FESTIVE_DAYS = 21
"""Around Spring Festival, to either side: here days are alike by distance, not by month-day."""
FIXED = {(1, 1), *((5, day) for day in range(1, 6)), *((10, day) for day in range(1, 8))}
"""New Year, Labour Day and National Day: (month, day)."""


@cache
def spring_festival(year: int) -> date:
    """First day of the lunar year that begins in `year` (1900 to 2099)."""
    return LunarDate(year, 1, 1).to_solar_date()


def days_of(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days


def is_festive(day: date) -> bool:
    return abs((day - spring_festival(day.year)).days) <= FESTIVE_DAYS


def is_fixed(day: date) -> bool:
    return (day.month, day.day) in FIXED


def same_month_day(day: date, year: int) -> date:
    """29 February becomes the 28th where there is none."""
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def each_day(year: int) -> list[date]:
    return [date(year, 1, 1) + timedelta(days=n) for n in range(days_of(year))]

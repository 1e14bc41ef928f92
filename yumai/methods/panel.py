"""Daily net sales by district, and whether they are whole enough to be judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np

from yumai.districts import ENDED, UNKNOWN, districts_of
from yumai.methods import profile
from yumai.methods.festival import days_of

YEAR_DAYS_LEAST = 300
"""A past year with sales on fewer days has no profile."""
RECENT_DAYS = 3
MISSING_DAYS_MOST = 3

Daily = dict[str, dict[int, np.ndarray]]
"""District code -> year -> net fen of each day."""


def daily(rows: Iterable[tuple[int, date, int]]) -> Daily:
    """From (district number, day, net fen) rows."""
    panel: Daily = {}
    for number, day, net_fen in rows:
        years = panel.setdefault(f"{number:06d}", {})
        if day.year not in years:
            years[day.year] = np.zeros(days_of(day.year))
        years[day.year][(day - date(day.year, 1, 1)).days] += float(net_fen)
    return panel


def of_district(panel: Daily, code: str, years: Iterable[int]) -> dict[int, np.ndarray]:
    """A district's past years; where it did not exist yet, its predecessors' together.

    The division change is no exact merge (towns moved to and from 北碚): approximate.
    """
    found = {}
    predecessors = [old for old, new in ENDED.items() if new == code]
    for year in years:
        parts = [panel[c][year] for c in (code, *predecessors) if year in panel.get(c, {})]
        if parts:
            found[year] = np.sum(parts, axis=0)
    return found


def of_city(panel: Daily, years: Iterable[int]) -> dict[int, np.ndarray]:
    found = {}
    for year in years:
        parts = [by[year] for code, by in panel.items() if code != UNKNOWN and year in by]
        if parts:
            found[year] = np.sum(parts, axis=0)
    return found


def shares(panel: Daily, year: int) -> dict[str, np.ndarray] | None:
    """Expected cumulative share of `year` by district; None where the city has no whole past year."""
    past = sorted({y for by in panel.values() for y in by if year - 3 <= y < year})
    city = {y: x for y, x in of_city(panel, past).items() if _whole(x)}
    pool = profile.cumulative_share(city, year)
    if pool is None:
        return None
    found = {}
    for code in districts_of(year):
        own = {y: x for y, x in of_district(panel, code, city).items() if _whole(x)}
        months = profile.MONTHS_A_YEAR * len(own)
        found[code] = profile.leaning(profile.cumulative_share(own, year), pool, months)
    return found


def _whole(days: np.ndarray) -> bool:
    return int(np.count_nonzero(days)) >= min(YEAR_DAYS_LEAST, len(days))


def is_covered(city: np.ndarray, day: int) -> bool:
    """Whether a year's figures are whole up to day number `day` (0-based, itself not counted).

    Days still to be loaded are missing, not lagging: nothing is judged on them.
    """
    gone = city[:day]
    if len(gone) == 0 or not np.all(gone[-RECENT_DAYS:] > 0):
        return False
    return int(np.count_nonzero(gone <= 0)) <= MISSING_DAYS_MOST


def by_day(panel: Mapping[str, Mapping[int, np.ndarray]], year: int) -> np.ndarray:
    """The city's days of one year, zeros where nothing is known."""
    parts = [by[year] for by in panel.values() if year in by]
    return np.sum(parts, axis=0) if parts else np.zeros(days_of(year))

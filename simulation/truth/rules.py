"""The simple rules that offices use, for comparison: a year-end by rule of three, a level by the gap alone. Pure."""

from __future__ import annotations

from datetime import date

import numpy as np

from simulation.truth.city import City
from simulation.truth.judging import Levels, Said
from yumai.methods.levels import NONE, RED, RED_GAP, YELLOW, YELLOW_GAP, course


def by_days(city: City, seen: Said) -> Levels:
    """F = C · days of the year/days gone."""
    days = city.whole.days
    gone = np.arange(seen.first + 1, days + 1)
    return _by_gap(seen.comparable * (days / gone)[:, None], city)


def by_last_year(city: City, seen: Said) -> Levels:
    """F = C/share of last year that was booked by the same day."""
    last = city.past[city.year - 1]
    place = np.searchsorted([int(code) for code in city.codes], last.district)
    daily = np.zeros((len(city.codes), last.days))
    np.add.at(daily, place, last.fen.astype(np.float64))
    share = np.cumsum(daily, axis=1) / daily.sum(axis=1, keepdims=True)
    days = [_same_day(city, seen.first + n) for n in range(len(seen.comparable))]
    return _by_gap(seen.comparable / share[:, days].T, city)


def _same_day(city: City, day: int) -> int:
    end = date(city.year - 1, 12, 31)
    return min(day, (end - date(end.year, 1, 1)).days)


def _by_gap(total: np.ndarray, city: City) -> Levels:
    gap = 1.0 - total / city.target
    level = np.where(gap >= RED_GAP, RED, np.where(gap >= YELLOW_GAP, YELLOW, 0))
    raw = np.where(np.isnan(gap), NONE, level).astype(np.int8)
    return course(raw, np.where(raw >= YELLOW, 0.0, 1.0))

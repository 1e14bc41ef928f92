"""Past years' days laid on the judged year's calendar, for many cells at once. Pure.

`profile.aligned_days` says which day of a past year a day is like: within 21 days of Spring Festival by
distance to it; else by month-day, on the nearest ordinary day of the same weekday. What comes out is
what the past year would have sold had it had this year's calendar, so growth and shares compare like with like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise

import numpy as np

from yumai.methods.festival import days_of, each_day, same_month_day
from yumai.methods.profile import aligned_days
from yumai.methods.seasons import MONTHS, YEARS_MOST, Floats, Ints


@cache
def month_starts(year: int) -> Ints:
    """Day number (0-based) of each month's first day; the thirteenth is the year's length."""
    first = date(year, 1, 1)
    starts = [(date(year, month, 1) - first).days for month in range(1, MONTHS + 1)]
    return np.array([*starts, days_of(year)], dtype=np.int64)


@dataclass(frozen=True)
class Aligned:
    """The past of one judged year on that year's calendar, newest year first.

    `months[n, k, 12]` (NaN where the cell has no such year); `last_year[n, days]` the newest year by
    day, `last_year_plain` by month-day, not aligned; `shape[n, days]` how a month's sales usually spread over its days: cumulative, 1 on its last.
    """

    year: int
    months: Floats
    last_year: Floats
    last_year_plain: Floats
    shape: Floats


def align(history: Mapping[int, Floats], year: int, sector: Ints) -> Aligned | None:
    """From `history`: year -> net sales `[n, days]` (a cell's row all NaN where it has none). None without last year."""
    if year - 1 not in history:
        return None
    starts = month_starts(year)
    months, days = [], []
    for past in range(year - 1, year - YEARS_MOST - 2, -1):
        if past not in history:
            break
        laid = np.asarray(history[past], dtype=np.float64)[:, aligned_days(year, past)]
        days.append(laid)
        months.append(np.add.reduceat(laid, starts[:MONTHS], axis=1))
    plain = np.asarray(history[year - 1], dtype=np.float64)[:, _month_days(year, year - 1)]
    return Aligned(year, np.stack(months, axis=1), days[0], plain, _shape(days[:3], starts, sector))


@cache
def _month_days(year: int, past: int) -> Ints:
    first = date(past, 1, 1)
    return np.array([(same_month_day(day, past) - first).days for day in each_day(year)])


def _shape(days: list[Floats], starts: Ints, sector: Ints) -> Floats:
    """Half the cell's own mean of the last three years, half its sector's; a day below zero counts as none."""
    usual = np.sum([np.nan_to_num(np.clip(laid, 0.0, None)) for laid in days], axis=0)
    pooled = np.empty_like(usual)
    for code in np.unique(sector):
        pooled[sector == code] = usual[sector == code].sum(axis=0)
    return 0.5 * (_within(usual, starts) + _within(pooled, starts))


def _within(days: Floats, starts: Ints) -> Floats:
    out = np.empty_like(days)
    for first, end in pairwise(starts):
        total = days[:, first:end].sum(axis=1, keepdims=True)
        even = np.arange(1, end - first + 1) / (end - first)
        share = np.cumsum(days[:, first:end], axis=1) / np.where(total > 0, total, 1.0)
        out[:, first:end] = np.where(total > 0, share, even)
        out[:, end - 1] = 1.0
    return out


def expected_share(shape: Floats, factors: Floats, growth: Floats, year: int) -> Floats:
    """p(t) by the end of each day: `[n, days]`, never falling, exactly 1 on 31 December.

        p(t) = Σ_{i ≤ t} S_i e^{g c_i/12} / Σ_i S_i e^{g c_i/12}

    From past years only, so that it does not move while the year runs.
    """
    starts = month_starts(year)
    centres = np.arange(MONTHS) + 0.5
    weight = np.clip(factors, 0.0, None) * np.exp(growth[:, None] * centres / MONTHS)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.where(total > 0, weight / np.where(total > 0, total, 1.0), 1.0 / MONTHS)
    before = np.concatenate([np.zeros((len(weight), 1)), np.cumsum(weight, axis=1)], axis=1)
    month = np.repeat(np.arange(MONTHS), np.diff(starts))
    p = before[:, month] + weight[:, month] * shape
    p = np.maximum.accumulate(np.clip(p, 0.0, 1.0), axis=1)
    p[:, -1] = 1.0
    return p


def share_within(p: Floats, day: int, fraction: float) -> Floats:
    """p within day number `day` (0-based) of which `fraction` has gone, for each cell."""
    before = p[:, day - 1] if day else np.zeros(len(p))
    return before + (p[:, day] - before) * min(max(fraction, 0.0), 1.0)

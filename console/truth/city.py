"""A simulated city by day, district and platform, whose year-end is known. All levels of noise are assumptions.

    ln sales = level + trend + season(day) + tilt + city's shock + district's shock + a walk + a day's noise

Targets are set afterwards from the true year-end: A/(1 − short). So what a district grows by tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from yumai.methods.festival import days_of, is_fixed, spring_festival
from yumai.methods.seasons import Bools, Floats

DISTRICTS = 37
PLATFORMS = 5
"""The last one joins during the judged year."""
PAST_YEARS = 3
SHORT_MOST, SHORT = 0.06, 0.03
LAGGING = 7
"""One is `SHORT_MOST` short, the others `SHORT`."""
SURPLUS_MOST = 0.05
MONTH_DAYS = 30.4375
LATE = np.array([0.04, 0.02, 0.01, 0.005])
"""Share of a day's sales not yet known at its end, a day, two, three days later."""
SILENT_DAYS = 7


@dataclass(frozen=True)
class City:
    """`history[year]` and `sales` are `[districts, platforms, days]`; `short[n]` is what the target is missed by."""

    year: int
    history: dict[int, Floats]
    sales: Floats
    target: Floats
    short: Floats
    silent_platform: int
    silent_from: int
    backfilled_on: int
    joined_on: int
    joins: Bools


def city(seed: int) -> City:
    rng = np.random.default_rng([20260217, seed])
    year = 2025 + seed % 2  # Spring Festival on 29 January, on 17 February
    years = list(range(year - PAST_YEARS, year + 1))
    days = [date(y, 1, 1) + timedelta(days=d) for y in years for d in range(days_of(y))]
    log = _seasons(rng, days) + _noise(rng, len(days))
    shares = rng.dirichlet(np.array([8.0, 6.0, 4.0, 3.0]), DISTRICTS)
    shares = np.concatenate([shares, rng.uniform(0.1, 0.35, (DISTRICTS, 1))], axis=1)
    daily = np.exp(log)[:, None, :] * shares[:, :, None]
    daily *= np.exp(rng.normal(0.0, 0.06, daily.shape))

    begins = np.cumsum([0, *(days_of(y) for y in years)])
    by_year = {y: daily[:, :, begins[i] : begins[i + 1]].copy() for i, y in enumerate(years)}
    joins = np.zeros(DISTRICTS, dtype=bool)
    joins[rng.permutation(DISTRICTS)[:12]] = True
    joined_on = int(rng.integers(20, 240))
    for y in years[:-1]:
        by_year[y][:, -1] = 0.0
    sales = by_year.pop(year)
    sales[:, -1, :joined_on] = 0.0
    sales[~joins, -1] = 0.0

    total = sales[:, :-1].sum(axis=(1, 2))
    short = -rng.uniform(0.0, SURPLUS_MOST, DISTRICTS)
    lagging = rng.permutation(DISTRICTS)[:LAGGING]
    short[lagging] = SHORT
    short[lagging[0]] = SHORT_MOST
    silent_from = int(rng.integers(65, 320))
    return City(
        year,
        by_year,
        sales,
        total / (1.0 - short),
        short,
        int(rng.integers(0, PLATFORMS - 1)),
        silent_from,
        silent_from + SILENT_DAYS + int(rng.integers(0, 14)),
        joined_on,
        joins,
    )


def _seasons(rng: np.random.Generator, days: list[date]) -> Floats:
    """Months, weekdays, the festival and the long holidays, a little different in each district."""
    month = np.array([d.month - 1 + (d.day - 0.5) / 31 for d in days])
    weekday = np.array([d.weekday() for d in days])
    from_festival = np.array([(d - spring_festival(d.year)).days for d in days])
    holiday = np.array([is_fixed(d) for d in days], dtype=np.float64)
    out = np.zeros((DISTRICTS, len(days)))
    tilt = rng.normal(1.0, 0.3, (DISTRICTS, 1))
    for k, size in ((1, 0.05), (2, 0.03), (3, 0.02)):
        phase = rng.uniform(0, 2 * np.pi)
        wave = size * np.cos(2 * np.pi * k * month / 12 + phase)
        out += wave * tilt + rng.normal(0, 0.01, (DISTRICTS, 1)) * np.sin(
            2 * np.pi * k * month / 12
        )
    out += rng.normal(0, 0.06, 7)[weekday] * rng.normal(1.0, 0.3, (DISTRICTS, 1))
    before = rng.uniform(0.05, 0.25) * ((from_festival >= -14) & (from_festival < 0))
    during = rng.uniform(-0.5, 0.4) * ((from_festival >= 0) & (from_festival < 7))
    after = rng.uniform(-0.15, 0.0) * ((from_festival >= 7) & (from_festival < 15))
    out += (before + during + after) * rng.normal(1.0, 0.3, (DISTRICTS, 1))
    return out + holiday * rng.uniform(0.0, 0.4) * rng.normal(1.0, 0.3, (DISTRICTS, 1))


def _noise(rng: np.random.Generator, days: int) -> Floats:
    """Trend, the city's and the district's monthly shocks (AR 0.6), and a walk of 0.4 % a month."""
    time = np.arange(days) / 365.25
    level = rng.normal(0.0, 0.8, (DISTRICTS, 1)) + 18.0
    trend = rng.normal(0.06, 0.01) + rng.normal(0.0, 0.015, (DISTRICTS, 1))
    months = int(days / MONTH_DAYS) + 2
    shocks = _ar(rng, (1, months), 0.6, 0.008) + _ar(rng, (DISTRICTS, months), 0.6, 0.015)
    walk = np.cumsum(rng.normal(0.0, 0.004, (DISTRICTS, months)), axis=1)
    place = np.arange(days) / MONTH_DAYS
    smooth = np.array([np.interp(place, np.arange(months), row) for row in shocks + walk])
    return level + trend * time + smooth


def _ar(
    rng: np.random.Generator, shape: tuple[int, int], kept: float, deviation: float
) -> npt.NDArray[np.float64]:
    """First-order autoregression with that standard deviation."""
    out = rng.normal(0.0, deviation, shape)
    step = np.sqrt(1.0 - kept**2)
    for i in range(1, shape[1]):
        out[:, i] = kept * out[:, i - 1] + step * out[:, i]
    return out


def known(city: City, day: int, *, with_silence: bool = True) -> Floats:
    """This year's sales as the books have them at the end of day number `day`: late ones and silent ones are missing."""
    seen = city.sales[:, :, : day + 1].copy()
    for back, share in enumerate(LATE):
        if day - back >= 0:
            seen[:, :, day - back] *= 1.0 - share
    if with_silence and city.silent_from <= day < city.backfilled_on:
        gone = slice(city.silent_from, min(city.silent_from + SILENT_DAYS, day + 1))
        seen[:, city.silent_platform, gone] = 0.0
    return seen

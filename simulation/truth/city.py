"""A simulated city by day, district, sector and platform, whose year-end is known. All levels of noise are assumptions.

    ln sales = level + trend + season(day) + tilt + city's shock + district's shock + a walk + a day's noise

Targets are set afterwards from the true year-end: A/(1 − short). So what a district grows by tells nothing.
Books come as the store has them: columns of fen and entries, in the judged year's districts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from yumai.districts import districts_of
from yumai.evaluation.columns import Bools, Ints, Year
from yumai.methods.festival import days_of, is_fixed, spring_festival

Floats = npt.NDArray[np.float64]

DISTRICTS = 37
"""Of the 38 that 2025 had, one sells nothing."""
PLATFORMS = 5
"""The last one joins during the judged year."""
SECTORS = (1, 4, 11)
TICKET_FEN = 8_000
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
    """`past` years and the judged one as they are known in the end; `short[n]` is what the target is missed by.

    `target[districts]` and `total[districts]`: fen; `total` and the targets are of the platforms that were there before.
    """

    year: int
    codes: tuple[str, ...]
    past: dict[int, Year]
    whole: Year
    total: Ints
    target: Ints
    short: Floats
    silent_platform: int
    silent_from: int
    backfilled_on: int
    joined_on: int
    joins: Bools

    def known(self, day: int, *, silence: bool = True, joining: bool = True) -> Year:
        """The judged year as the books have it at the end of day number `day`: late and silent entries are missing.

        Without `silence` the feed never fell silent, without `joining` the last platform is left out.
        """
        whole = self.whole
        lines = np.full(len(whole.district), True) if joining else whole.platform != _name(-1)
        fen, counted = whole.fen[lines], whole.counted[lines]
        fen[:, day + 1 :], counted[:, day + 1 :] = 0, 0
        for back, share in enumerate(LATE[: day + 1]):
            fen[:, day - back] -= (fen[:, day - back] * share).astype(np.int64)
            counted[:, day - back] -= (counted[:, day - back] * share).astype(np.int32)
        if silence and self.silent_from <= day < self.backfilled_on:
            mute = whole.platform[lines] == _name(self.silent_platform)
            gone = slice(self.silent_from, min(self.silent_from + SILENT_DAYS, day + 1))
            fen[mute, gone], counted[mute, gone] = 0, 0
        return Year(
            self.year,
            whole.district[lines],
            whole.sector[lines],
            whole.platform[lines],
            fen,
            counted,
        )


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

    short = -rng.uniform(0.0, SURPLUS_MOST, DISTRICTS)
    lagging = rng.permutation(DISTRICTS)[:LAGGING]
    short[lagging] = SHORT
    short[lagging[0]] = SHORT_MOST
    silent_from = int(rng.integers(65, 320))
    silent_platform = int(rng.integers(0, PLATFORMS - 1))
    backfilled_on = silent_from + SILENT_DAYS + int(rng.integers(0, 14))

    codes = tuple(districts_of(year)[:DISTRICTS])
    parts = rng.dirichlet(np.array([8.0, 4.0, 2.0]), DISTRICTS)
    past = {y: _columns(rng, y, codes, of, parts) for y, of in by_year.items()}
    whole = _columns(rng, year, codes, sales, parts)
    before = whole.platform != _name(-1)
    total = np.array(
        [whole.fen[before & (whole.district == int(code))].sum() for code in codes], dtype=np.int64
    )
    return City(
        year,
        codes,
        past,
        whole,
        total,
        (total / (1.0 - short)).astype(np.int64),
        short,
        silent_platform,
        silent_from,
        backfilled_on,
        joined_on,
        joins,
    )


def _name(platform: int) -> str:
    return f"platform-{platform % PLATFORMS}"


def _columns(
    rng: np.random.Generator, year: int, codes: tuple[str, ...], sales: Floats, parts: Floats
) -> Year:
    """Sales `[districts, platforms, days]` as lines; `parts[districts, sectors]` of each day, about."""
    shape = (*sales.shape[:2], len(SECTORS), sales.shape[2])
    split = parts[:, None, :, None] * np.exp(rng.normal(0.0, 0.05, shape))
    split *= sales[:, :, None, :] / split.sum(axis=2, keepdims=True)
    fen = np.floor(split).astype(np.int64).reshape(-1, sales.shape[2])
    counted = rng.poisson(fen / TICKET_FEN).astype(np.int32)
    counted[fen == 0] = 0
    place, platform, sector = (n.ravel() for n in np.indices(shape[:3]))
    sold = fen.any(axis=1)
    return Year(
        year,
        np.array([int(code) for code in codes])[place][sold],
        np.array(SECTORS)[sector][sold],
        np.array([_name(n) for n in range(PLATFORMS)])[platform][sold],
        fen[sold],
        np.maximum(counted, fen > 0)[sold].astype(np.int32),
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


def _ar(rng: np.random.Generator, shape: tuple[int, int], kept: float, deviation: float) -> Floats:
    """First-order autoregression with that standard deviation."""
    out = rng.normal(0.0, deviation, shape)
    step = np.sqrt(1.0 - kept**2)
    for i in range(1, shape[1]):
        out[:, i] = kept * out[:, i - 1] + step * out[:, i]
    return out

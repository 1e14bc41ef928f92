"""Forecasts of past years as they could have been made then, and how good they were beside simple rules. Pure.

Where a cell's year before is whole but its total is not positive, where a month of the years looked at is
negative, or where σ is beyond `SIGMA_MOST`, growth, shares and logarithms mean nothing: there

    F = C + Σ_{i unknown} x_{Y−1,i},   spread = 1.5 · sd of its months · √(months unknown)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yumai.methods import uncertainty
from yumai.methods.seasons import MONTHS, YEARS_MOST, Bools, Floats, Ints
from yumai.methods.yearly import MonthEnd, month_ends

RULES = (
    "months / 12",
    "last year's share",
    "mean share of 3 years",
    "mean share of 5 years",
    "booked + last year's rest",
)
SHOWN_MONTHS = (3, 6, 9)
SIGMA_MOST = 3.0
"""A factor of e³ either way: nothing is known of the year's end."""
USUAL_TARGETS = (0.97, 1.0, 1.03, 1.06)
"""Of last year's total: what P(meet) is checked on where no targets are given."""


@dataclass(frozen=True)
class Forecast:
    """One month-end; `judged[n]`: the cells whose year before has all twelve months. No NaN among those
    but in `p_meet` where there is no target.
    """

    year: int
    month: int
    judged: Bools
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats
    end: MonthEnd
    fine: Bools
    """Forecast by growth and shares; the others by the rule above."""


def forecasts(
    sales: Floats,
    sector: Ints,
    targets: Floats,
    last: tuple[int, int],
    *,
    first_year: int,
    moving_festival: bool = False,
) -> Iterator[Forecast]:
    """Forecasts from `sales[n, years, 12]` (NaN: unknown) up to `last` (year number, month); `targets[n, years]`, NaN: none."""
    dates = first_year if moving_festival else None
    for end in month_ends(sales, sector, first_year=dates, last=last):
        now = sales[:, end.year, : end.month]
        known = ~np.isnan(now)
        plain, spread = _plain(sales, end)
        fine = _is_multiplicative(sales, end)
        total = np.where(fine, end.total, plain)
        low, high = uncertainty.interval(
            np.where(fine, end.total, 1.0), end.around.sigma, end.around.z_low, end.around.z_high
        )
        low = np.where(fine, low, plain - uncertainty.TAIL_Z * spread)
        high = np.where(fine, high, plain + uncertainty.TAIL_Z * spread)
        if end.month == MONTHS:
            over: Bools = np.all(known, axis=1)
            total, low, high = (np.where(over, end.booked, a) for a in (total, low, high))
        else:
            over = np.zeros(len(total), dtype=bool)
        p = chance(total, targets[:, end.year], end, fine, spread, over)
        judged: Bools = ~np.any(np.isnan(sales[:, end.year - 1]), axis=1)
        yield Forecast(
            end.year,
            end.month,
            judged,
            total,
            np.minimum(low, total),
            np.maximum(high, total),
            p,
            end,
            fine,
        )


def chance(
    total: Floats, target: Floats, end: MonthEnd, fine: Bools, spread: Floats, over: Bools
) -> Floats:
    """P(meet); NaN without a target. Where logarithms mean nothing, from the law of the difference."""
    p = uncertainty.p_meet(np.where(fine, total, np.nan), target, end.around)
    wide = np.where(fine, end.around.sigma * np.abs(total), spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(wide > 0, (total - target) / np.where(wide > 0, wide, 1.0), np.inf)
    z = np.where((wide <= 0) & (total < target), -np.inf, z)
    p = np.where(np.isnan(p), uncertainty.student(np.nan_to_num(z, nan=0.0)), p)
    p = np.where(over, total >= target, p)
    return np.where(np.isnan(target), np.nan, p)


def _is_multiplicative(sales: Floats, end: MonthEnd) -> Bools:
    """Cells that are forecast by growth and shares."""
    first = max(end.year - YEARS_MOST, 0)
    months = np.nan_to_num(sales[:, first : end.year + 1]).reshape(len(sales), -1)
    # What comes after the month-end is not known then.
    ahead = MONTHS - end.month
    seen = months[:, : months.shape[1] - ahead]
    positive = (seen >= 0).all(axis=1) & (np.nan_to_num(end.total) > 0) & np.isfinite(end.total)
    known = np.nan_to_num(end.around.sigma, nan=np.inf) <= SIGMA_MOST
    return end.found.seasons.usable & positive & known


def _plain(sales: Floats, end: MonthEnd) -> tuple[Floats, Floats]:
    now = sales[:, end.year].copy()
    now[:, end.month :] = np.nan
    unknown = np.isnan(now)
    last = np.nan_to_num(sales[:, end.year - 1])
    total = end.booked + np.where(unknown, last, 0.0).sum(axis=1)
    history = sales[:, max(end.year - YEARS_MOST, 0) : end.year].reshape(len(sales), -1)
    seen = ~np.isnan(history)
    count = np.maximum(seen.sum(axis=1), 1)
    middle = np.where(seen, history, 0.0).sum(axis=1) / count
    apart = np.where(seen, history - middle[:, None], 0.0)
    deviation = np.sqrt((apart**2).sum(axis=1) / count)
    return total, 1.5 * deviation * np.sqrt(unknown.sum(axis=1))


def simple_rules(sales: Floats, year: int, month: int) -> Floats:
    """`[5, n]` in the order of `RULES`; NaN where a rule has no answer."""
    booked = sales[:, year, :month].sum(axis=1)
    shares = []
    for before in range(1, min(5, year) + 1):
        past = sales[:, year - before]
        total = past.sum(axis=1)
        fine = np.nan_to_num(total) > 0
        shares.append(
            np.where(fine, past[:, :month].sum(axis=1) / np.where(fine, total, 1.0), np.nan)
        )
    found = [booked * MONTHS / month]
    for years in (1, 3, 5):
        some = np.stack(shares[:years])
        known = ~np.isnan(some)
        mean = np.where(known, some, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        found.append(np.where(mean > 0, booked / np.where(mean > 0, mean, 1.0), np.nan))
    found.append(booked + sales[:, year - 1, month:].sum(axis=1))
    return np.stack(found)


@dataclass
class MonthRecord:
    """What one month of the year has shown so far: a row a forecast of a year that is over."""

    errors: list[Floats]  # [6, rows]: ours first, then RULES
    inside: list[Bools]
    chances: list[Floats]
    met: list[Bools]

    @staticmethod
    def empty() -> MonthRecord:
        return MonthRecord([], [], [], [])

    def add(self, forecast: Forecast, sales: Floats, targets: Floats, has_targets: bool) -> None:
        actual = sales[:, forecast.year].sum(axis=1)
        rows = forecast.judged & ~np.isnan(actual) & (actual != 0)
        truth = actual[rows]
        rules = simple_rules(sales, forecast.year, forecast.month)[:, rows]
        shown = np.concatenate([forecast.nowcast[rows][None], rules])
        self.errors.append(np.abs(shown / truth - 1.0))
        self.inside.append((forecast.low[rows] <= truth) & (truth <= forecast.high[rows]))
        last = sales[:, forecast.year - 1].sum(axis=1)
        wanted = (
            [targets[:, forecast.year]] if has_targets else [last * part for part in USUAL_TARGETS]
        )
        fine = forecast.fine
        for target in wanted:
            p = chance(
                forecast.nowcast,
                target,
                forecast.end,
                fine,
                np.zeros(len(target)),
                np.zeros(len(target), dtype=bool),
            )
            asked = rows & ~np.isnan(p)
            self.chances.append(p[asked])
            self.met.append(actual[asked] >= target[asked])

    def median_errors(self) -> Floats:
        """Ours, then `RULES`; NaN where there is nothing."""
        if not self.errors or not sum(e.shape[1] for e in self.errors):
            return np.full(len(RULES) + 1, np.nan)
        all_errors = np.concatenate(self.errors, axis=1)
        return np.array(
            [np.median(e[~np.isnan(e)]) if (~np.isnan(e)).any() else np.nan for e in all_errors]
        )

    def coverage(self) -> float:
        inside = np.concatenate(self.inside) if self.inside else np.empty(0, dtype=bool)
        return float(inside.mean()) if len(inside) else float("nan")

    def calibration(self) -> list[tuple[float, float, int]]:
        """Mean P, share met, number, in five equal bins of P that are not empty."""
        if not self.chances:
            return []
        p, met = np.concatenate(self.chances), np.concatenate(self.met)
        bins = np.clip((p * 5).astype(int), 0, 4)
        return [
            (float(p[bins == b].mean()), float(met[bins == b].mean()), int((bins == b).sum()))
            for b in range(5)
            if (bins == b).any()
        ]

    def miscalibration(self) -> float:
        """Mean over the forecasts of |P − share met| of their bin."""
        bins = self.calibration()
        number = sum(count for _, _, count in bins)
        return (
            sum(abs(p - met) * count for p, met, count in bins) / number if number else float("nan")
        )

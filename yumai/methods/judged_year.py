"""A year judged day by day: nowcast, interval, P(meet), pace and growth of many cells, a whole course at once. Pure.

What is learnt (factors, drift, α, σ, the law of z) is learnt once for each month-end, from this year
and, by the same walk over earlier years, from theirs; a day carries the last month-end's on:

    L(τ + δ) = [above·(1−α)^δ e^{gδ/12} + (1−α)^a x e^{ga/12}] / [below·(1−α)^δ + (1−α)^a S q],  a = max(δ − ½, 0)

x is what the begun month has booked, q the part of it that is usual by then, δ how much of it has gone.
σ and P run straight between the two month-ends around the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from yumai.methods import like_for_like, nowcast, uncertainty
from yumai.methods.aligned import Aligned, align, expected_share, month_starts
from yumai.methods.festival import days_of
from yumai.methods.nowcast import ALPHAS, Nowcasts
from yumai.methods.seasons import CENTRES, MONTHS, Floats, Ints
from yumai.methods.uncertainty import Past, Spread

MARCH = 2


@dataclass(frozen=True)
class Course:
    """Every array `[days, n]`, a row for the end of each judged day; day numbers (0-based) in `days`.

    `yoy`: cumulative growth on last year's days as aligned, `yoy_plain`: on the same month-days.
    """

    year: int
    days: Ints
    booked: Floats
    expected_share: Floats
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats
    yoy: Floats
    yoy_plain: Floats
    last_year_total: Floats
    last_year_rest: Floats

    @property
    def least_shrinking(self) -> Floats:
        """The higher growth: sales shrink only where they do by either calendar.

        A leap day, or a festival's edge that is aligned a day off, is no decline.
        """
        return np.fmax(self.yoy, self.yoy_plain)


@dataclass(frozen=True)
class Lessons:
    """What earlier years taught, by month-end (0: New Year), and the judged year's aligned past.

    `new_year`: factors and drift before anything of the year is known; `laws`: of z, with its quantiles.
    """

    aligned: Aligned
    past: list[Past]
    new_year: Nowcasts
    laws: list[Spread]


def lessons(history: Mapping[int, Floats], year: int, sector: Ints) -> Lessons | None:
    """Walks the years before `year` as they stood at each month-end. None without last year's sales.

    Depends on past years alone: keep it while they are not restated.
    """
    judged = align(history, year, sector)
    if judged is None:
        return None
    first = year - judged.months.shape[1]
    past = [Past() for _ in range(MONTHS + 1)]
    for earlier in range(first + 1, year):
        then = align(history, earlier, sector)
        if then is None:
            continue
        sales = np.asarray(history[earlier], dtype=np.float64)
        actual = sales.sum(axis=1)
        booked = np.add.reduceat(sales, month_starts(earlier)[:MONTHS], axis=1)
        over: list[tuple[Nowcasts, Floats, Floats]] = []
        for month in range(MONTHS + 1):
            found = at_month_end(then, booked, month, sector)
            best = uncertainty.best_alpha(past, month, found.seasons)
            sigma = uncertainty.sigmas(past[month], found.seasons, float(month))
            over.append((found, found.total(best), sigma))
        for month, (found, shown, sigma) in enumerate(over):
            past[month].learn(found.totals, shown, sigma, actual)
    nothing = np.zeros((len(sector), MONTHS))
    new_year = at_month_end(judged, nothing, 0, sector)
    laws = [_around(lesson, new_year, month) for month, lesson in enumerate(past)]
    return Lessons(judged, past, new_year, laws)


def at_month_end(
    aligned: Aligned, booked: Floats, month: int, sector: Ints, alphas: Floats = ALPHAS
) -> Nowcasts:
    """`booked[n, 12]` of the judged year by month; what comes after `month` (0–12) is not looked at."""
    done = np.zeros((len(booked), MONTHS))
    done[:, :month] = ~np.isnan(booked[:, :month])
    now = np.where(done > 0, booked, 0.0)
    day = month_starts(aligned.year)[month]
    same = aligned.last_year[:, :day].sum(axis=1)
    return nowcast.nowcasts(aligned.months, now, done, same, float(month), sector, alphas)


def course(
    learnt: Lessons,
    sales: Floats,
    target: Floats,
    sector: Ints,
    *,
    first_day: int,
    last_day: int,
    fraction: float = 1.0,
) -> Course:
    """Judged at the end of each day `first_day` … `last_day` (0-based), the last after `fraction` of it.

    `sales[n, ≥ last_day + 1]`: this year's net sales by day; `target[n]`, NaN without one. A day is
    judged from what had occurred by its end; past years' lessons are one knowledge for the whole course.
    """
    aligned, year = learnt.aligned, learnt.aligned.year
    starts = month_starts(year)
    n = len(sales)
    upto = np.zeros((n, days_of(year) + 1))
    upto[:, 1 : last_day + 2] = np.cumsum(np.nan_to_num(sales[:, : last_day + 1]), axis=1)
    upto[:, last_day + 2 :] = upto[:, last_day + 1 : last_day + 2]
    booked = np.diff(upto[:, starts], axis=1)

    days = np.arange(first_day, last_day + 1)
    month_of = np.searchsorted(starts, days, side="right") - 1
    new_year = learnt.new_year
    share = expected_share(aligned.shape, new_year.seasons.factors, new_year.drift, year)
    if not new_year.seasons.usable.all():
        even = np.arange(1, days_of(year) + 1) / days_of(year)
        share = np.where(new_year.seasons.usable[:, None], share, even)
    parts = []
    for month in np.unique(month_of):
        inside = days[month_of == month]
        parts_of_days = np.where(inside == last_day, fraction, 1.0)
        parts.append(
            _month(learnt, booked, upto, target, sector, int(month), inside, parts_of_days)
        )
    total, low, high, p = (np.concatenate([part[i] for part in parts]) for i in range(4))
    expected, same = share[:, days].T.copy(), _cumulative(aligned.last_year, days, fraction)
    before = share[:, last_day - 1] if last_day else np.zeros(n)
    expected[-1] = before + (share[:, last_day] - before) * fraction
    gone = upto[:, days + 1].T
    plain = _cumulative(aligned.last_year_plain, days, fraction)
    yoy, yoy_plain = like_for_like.growth(gone, same), like_for_like.growth(gone, plain)
    whole = np.broadcast_to(aligned.last_year.sum(axis=1), gone.shape)
    return Course(
        year, days, gone, expected, total, low, high, p, yoy, yoy_plain, whole, whole - same
    )


def _cumulative(daily: Floats, days: Ints, fraction: float) -> Floats:
    """By the end of each of `days`, of the last after `fraction` of it: `[days, n]`."""
    found = np.cumsum(daily, axis=1)[:, days].T.copy()
    found[-1] -= (1.0 - fraction) * daily[:, days[-1]]
    return found


def _month(
    learnt: Lessons,
    booked: Floats,
    upto: Floats,
    target: Floats,
    sector: Ints,
    month: int,
    days: Ints,
    parts: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """The days of one month: nowcast, low, high, P(meet), each `[days, n]`.

    `month` have gone before it; `parts[days]`: how much of each day has gone.
    """
    aligned = learnt.aligned
    starts = month_starts(aligned.year)
    length = float(starts[month + 1] - starts[month])
    found = at_month_end(aligned, booked, month, sector)
    best = uncertainty.best_alpha(learnt.past, month, found.seasons)
    keep = 1.0 - ALPHAS[best]
    factors, g = found.seasons.factors, found.drift
    cells = np.arange(len(best))
    above, below = found.above[cells, best], found.below[cells, best]

    delta = ((days - starts[month] + parts) / length)[:, None]
    age = np.maximum(delta - 0.5, 0.0)
    shape = aligned.shape[:, days].T
    before = np.where(days > starts[month], aligned.shape[:, np.maximum(days - 1, 0)], 0.0).T
    usual = np.where(parts[:, None] < 1.0, before + (shape - before) * parts[:, None], shape)
    sold = (upto[:, days + 1] - upto[:, [starts[month]]]).T

    top = above * keep**delta * np.exp(g * delta / MONTHS) + keep**age * sold * np.exp(
        g * age / MONTHS
    )
    under = below * keep**delta + keep**age * factors[:, month] * usual
    level = np.where(under > 0, top / np.where(under > 0, under, 1.0), 0.0)
    tau = month + delta
    rest = factors[:, month] * (1.0 - usual) * np.exp(g * (month + (1 + delta) / 2 - tau) / MONTHS)
    for later in range(month + 1, MONTHS):
        rest = rest + factors[:, later] * np.exp(g * (CENTRES[later] - tau) / MONTHS)
    last = np.nan_to_num(aligned.months[:, 0])
    last_rest = last[:, month] * (1.0 - usual) + last[:, month + 1 :].sum(axis=1)
    grown = nowcast.last_year_grown(found.seasons, g) * last_rest
    total = upto[:, days + 1].T + nowcast.mixed(
        level * rest, grown, nowcast.last_year_part(found.seasons, float(month))
    )
    total = np.where(found.seasons.usable, total, np.nan)

    ahead = _now(learnt, found, month)
    behind = _now(learnt, found, month + 1)
    sigma = ahead.sigma * (1 - delta) + behind.sigma * delta
    z_low = ahead.z_low * (1 - delta) + behind.z_low * delta
    z_high = ahead.z_high * (1 - delta) + behind.z_high * delta
    low, high = uncertainty.interval(total, sigma, z_low, z_high)
    z = uncertainty.log_error(total, np.broadcast_to(target, total.shape)) / sigma
    p = ahead.law.below(z) * (1 - delta) + behind.law.below(z) * delta
    if days[-1] + parts[-1] >= starts[-1]:  # the year is over: nothing is uncertain
        low[-1] = high[-1] = total[-1]
        p[-1] = np.where(np.isnan(z[-1]), np.nan, total[-1] >= target)
    return total, low, high, p


def _now(learnt: Lessons, found: Nowcasts, month: int) -> Spread:
    """The law as learnt, σ by what the cells look like now."""
    seasons = found.seasons
    sigma = uncertainty.sigmas(learnt.past[month], seasons, float(month))
    return replace(learnt.laws[month], sigma=sigma)


def _around(past: Past, found: Nowcasts, month: int) -> Spread:
    return uncertainty.spread(past, found.seasons, float(month))

"""A year's cells judged day by day: progress rows for the gateway, levels for alerts. Pure.

One knowledge (columns and targets as they are known now) judges every day from 1 March on, each from
what had occurred by its end; so a restatement or a new target moves the whole course at once, and the
course up to an earlier day is the beginning of the course up to a later one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from contracts.targets.codec import CITY
from yumai.districts import CHANGE_DATE
from yumai.evaluation import cells as cells_
from yumai.evaluation import coverage
from yumai.evaluation.cells import OF_ALL, WIDTH, Floats, Frame, Panel, Placed
from yumai.evaluation.columns import GOODS, Bools, Ints, Year, first_day
from yumai.evaluation.coverage import Doubts, Quiet
from yumai.methods import city_share, guards, judged_year, levels, like_for_like
from yumai.methods.festival import days_of
from yumai.methods.uncertainty import first_sigma
from yumai.targets import changed_districts

PAST_YEARS = 5
FIRST_JUDGED = (3, 1)
VARIANCE_UNKNOWN = 0.01
SHARE_DAYS = 365
PANELS_KEPT = 64
SPARSE_DAYS = 60
"""A year with sales on no more days than this was reported by the month: its days say nothing."""
RATIO_LEAST, RATIO_MOST = 0.5, 2.0

Targets = Mapping[tuple[str, str | None], int]
"""(district or city, sector or None) -> fen."""


@dataclass(frozen=True)
class Moment:
    """The end of a day, or `fraction` of it gone."""

    day: date
    fraction: float = 1.0

    @classmethod
    def of(cls, year: int, at: datetime, today: date) -> Moment:
        """`at` in Shanghai: the end of a day that is over, else the part of it that has gone."""
        day = min(at.date(), cells_.last_day(year))
        if day < at.date() or day < today:
            return cls(day)
        gone = at - at.replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(day, min(max(gone.total_seconds() / 86_400, 1e-6), 1.0 - 1e-9))


@dataclass(frozen=True)
class Judged:
    """Consecutive days of a year; every array `[days, cells]`, the last day the moment asked for."""

    frame: Frame
    moment: Moment
    days: tuple[date, ...]
    booked: Ints
    comparable: Ints
    expected_share: Floats
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats
    required_growth: Floats
    yoy: Floats
    raw: levels.Levels
    level: levels.Levels
    stale: Bools
    target: Floats
    targets: Targets
    approximate: frozenset[str]
    shares: tuple[float | None, ...]
    """The city's share of services in all retail, of the 12 months up to each day."""
    share_path: float | None


@dataclass
class Memory:
    """What depends on past years alone, kept between evaluations by the panel that it was made for."""

    year: int = 0
    of: tuple[Ints, ...] = ()
    lessons: dict[bytes, tuple[cells_.Past, judged_year.Lessons | None]] = field(
        default_factory=dict
    )

    def fits(self, year: int, past: tuple[Ints, ...]) -> None:
        """Forgets everything where these are not the very columns that it remembers."""
        same = len(past) == len(self.of) and all(a is b for a, b in zip(past, self.of, strict=True))
        if year != self.year or not same or len(self.lessons) > PANELS_KEPT:
            self.year, self.of = year, past
            self.lessons.clear()


@dataclass(frozen=True)
class _Parts:
    """Segments of days with one panel, put together."""

    expected: Floats
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats
    yoy: Floats
    rest: Floats
    comparable: Ints
    target: Floats
    """What the judged platforms are to bring: all of it, but for the part of those that left."""
    base: Floats
    """Last year's total of the judged platforms."""


def judge(
    years: Mapping[int, Year],
    year: int,
    targets: Targets,
    moment: Moment,
    *,
    share_path: float | None = None,
    rules: str = "severity",
    memory: Memory | None = None,
    doubts: Doubts | None = None,
) -> Judged:
    """Cells of `year` from 1 March (or, before it, only the moment) to the moment.

    `years`: the judged year and up to five before it. What occurred after the moment is not looked at.
    `doubts`: what is known of feeds beyond their days, where the moment is the present.
    """
    frame = Frame.of(year)
    last = cells_.day_number(moment.day)
    first = min(cells_.day_number(date(year, *FIRST_JUDGED)), last)
    years = {**years, year: years[year].until(last + 1)}
    placed, platforms = cells_.placed(frame, years)
    this = placed[year]
    quiet = coverage.quiet(frame, placed, platforms, moment.day, moment.fraction, doubts or {})
    known_from = first_day(years) or moment.day
    memory = Memory() if memory is None else memory
    memory.fits(year, tuple(years[y].fen for y in sorted(years) if y != year))

    target = np.full(frame.size, np.nan)
    for (district, sector), fen in targets.items():
        if district in frame.districts:
            target[frame.number(district, sector)] = float(fen)

    parts = [
        _segment(frame, placed, panel, quiet, target, known_from, low, high, moment, last, memory)
        for low, high, panel in _panels(frame, placed, quiet, first, last)
    ]
    joined = _Parts(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in _Parts.__annotations__
        )
    )
    booked = np.cumsum(cells_.everything(frame, this), axis=1)[:, first : last + 1].T
    stale = quiet.stale[:, first : last + 1].T
    raw, level = _levels(frame, joined, stale, rules)
    if (moment.day.month, moment.day.day) < FIRST_JUDGED:
        raw[:], level[:] = levels.NONE, levels.NONE
    days = tuple(date.fromordinal(date(year, 1, 1).toordinal() + n) for n in range(first, last + 1))
    return Judged(
        frame,
        moment,
        days,
        booked,
        joined.comparable,
        joined.expected,
        joined.nowcast,
        joined.low,
        joined.high,
        joined.p_meet,
        _required(target, joined),
        joined.yoy,
        raw,
        level,
        stale,
        target,
        targets,
        _approximate(year, years),
        _shares(years, year, first, last),
        share_path,
    )


# -- who is compared --------------------------------------------------------------------------------


def _panels(
    frame: Frame, placed: Mapping[int, Placed], quiet: Quiet, first: int, last: int
) -> list[tuple[int, int, Panel]]:
    """Runs of days `low` … `high` (inclusive) with one panel."""
    this = placed[frame.year]
    before = placed.get(frame.year - 1)
    size = len(frame.districts) * this.platforms
    if before is None:
        return [(first, last, Panel(np.ones(size, bool), np.ones(this.platforms, bool)))]
    came, came_city = cells_.present(frame, this)
    was, was_city = cells_.present(frame, before)
    past_days = before.year.days
    gone = quiet.pairs.gone[:, quiet.offset :]
    found: list[tuple[int, int, Panel]] = []
    for day in range(first, last + 1):
        panel = Panel(
            (was < past_days) & (came <= day) & ~gone[:, day],
            (was_city < past_days) & (came_city <= day) & ~quiet.gone_city[:, day],
        )
        if found and all(
            np.array_equal(a, b)
            for a, b in ((found[-1][2].pairs, panel.pairs), (found[-1][2].city, panel.city))
        ):
            found[-1] = (found[-1][0], day, found[-1][2])
        else:
            found.append((day, day, panel))
    return found


# -- one run of days ----------------------------------------------------------------------------------


def _segment(
    frame: Frame,
    placed: Mapping[int, Placed],
    panel: Panel,
    quiet: Quiet,
    target: Floats,
    known_from: date,
    low: int,
    high: int,
    moment: Moment,
    last: int,
    memory: Memory,
) -> _Parts:
    year, this = frame.year, placed[frame.year]
    groups = frame.sector_groups()
    key = np.packbits(panel.pairs).tobytes() + np.packbits(panel.city).tobytes()
    if key not in memory.lessons:
        past = cells_.past(frame, placed, panel, known_from)
        memory.lessons[key] = (
            past,
            judged_year.lessons(_history(past, known_from), year, groups) if past.years else None,
        )
    past, learnt = memory.lessons[key]
    sums = cells_.summed(frame, this, *panel.lines(this))
    comparable = np.cumsum(sums, axis=1)[:, low : high + 1].T
    fraction = moment.fraction if high == last else 1.0
    if learnt is None:
        return _without_history(frame, comparable, target, low, high, fraction)
    sales = sums.astype(np.float64) + _filled(frame, this, panel, quiet, last)
    _even_begun_year(sales, past.daily[0], year, last)
    scaled = target * _kept(frame, placed, panel)
    found = judged_year.course(
        learnt, sales, scaled, groups, first_day=low, last_day=high, fraction=fraction
    )
    plain = _without_history(frame, comparable, target, low, high, fraction)
    known = ~np.isnan(found.nowcast)
    return _Parts(
        found.expected_share,
        np.where(known, found.nowcast, plain.nowcast),
        np.where(known, found.low, plain.low),
        np.where(known, found.high, plain.high),
        np.where(known, found.p_meet, plain.p_meet),
        # Sales shrink only where they do by either calendar: a leap day is no decline.
        np.fmax(found.yoy, getattr(found, "yoy_plain", found.yoy)),
        found.last_year_rest,
        comparable,
        np.broadcast_to(scaled, comparable.shape),
        found.last_year_total,
    )


def _history(past: cells_.Past, known_from: date) -> dict[int, Floats]:
    """Whole past years by day; what was not recorded yet is unknown, not zero."""
    return {
        year: _evened(daily, year)
        for year, daily in zip(past.years, past.daily, strict=True)
        if date(year, 1, 31) >= known_from
    }


def _sparse(daily: Floats) -> Bools:
    return (daily != 0).sum(axis=1) <= SPARSE_DAYS


def _evened(daily: Floats, year: int) -> Floats:
    """Where a year came by the month, each month's sum spread over its days: a lump is no rhythm."""
    lumps = _sparse(daily)
    if not lumps.any():
        return daily
    starts = cells_.month_starts(year)
    lengths = np.diff([*starts, daily.shape[1]])
    out = daily.copy()
    out[lumps] = np.repeat(cells_.by_month(daily[lumps], year) / lengths, lengths, axis=1)
    return out


def _even_begun_year(sales: Floats, before: Floats, year: int, last: int) -> None:
    """The same for the judged year, in place; what the begun month has not brought yet is as usual."""
    lumps = np.flatnonzero(_sparse(before) & (before != 0).any(axis=1))
    if not len(lumps):
        return
    starts = cells_.month_starts(year)
    lengths = np.diff([*starts, sales.shape[1]])
    month = int(np.searchsorted(starts, last, side="right")) - 1
    begun = last + 1 < starts[month] + lengths[month]
    sums = cells_.by_month(sales[lumps], year)
    usual = cells_.by_month(before[lumps], year - 1)
    whole = month if begun else month + 1
    then, now = usual[:, :whole].sum(axis=1), sums[:, :whole].sum(axis=1)
    ratio = np.clip(
        np.where(then > 0, now / np.where(then > 0, then, 1.0), 1.0), RATIO_LEAST, RATIO_MOST
    )
    if begun:
        missing = sums[:, month] == 0
        sums[:, month] = np.where(missing, usual[:, month] * ratio, sums[:, month])
    days = np.repeat(sums / lengths, lengths, axis=1)
    days[:, last + 1 :] = 0.0
    sales[lumps] = days


def _without_history(
    frame: Frame, comparable: Ints, target: Floats, low: int, high: int, fraction: float
) -> _Parts:
    """Days gone by: all that is known of a year that has none before it. Its interval is wide."""
    gone = np.arange(low + 1, high + 2, dtype=np.float64)
    gone[-1] += fraction - 1.0
    share = np.broadcast_to((gone / days_of(frame.year))[:, None], comparable.shape)
    positive = (comparable > 0) & (share > 0)
    total = np.where(positive, comparable / np.where(share > 0, share, 1.0), np.nan)
    variance, unrest = np.full(frame.size, VARIANCE_UNKNOWN), np.full(frame.size, np.nan)
    sigma = np.stack([first_sigma(variance, unrest, 12.0 * s) for s in share[:, 0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(
            positive & ~np.isnan(target),
            _normal(np.nan_to_num(np.log(total / target) / sigma)),
            np.nan,
        )
    none = np.full(comparable.shape, np.nan)
    return _Parts(
        share,
        total,
        total * np.exp(-1.2815515655446004 * sigma),
        total * np.exp(1.2815515655446004 * sigma),
        p,
        none,
        none,
        comparable,
        np.broadcast_to(target, comparable.shape),
        none,
    )


def _filled(frame: Frame, this: Placed, panel: Panel, quiet: Quiet, last: int) -> Floats:
    """What silent feeds would usually have brought: not booked, but no lag either. `[cells, days]`."""
    out = np.zeros((frame.size, this.year.days))
    missed = quiet.pairs.missed[:, quiet.offset :] * panel.pairs[:, None]
    if not missed.any():
        return out
    lost = (missed * quiet.pairs.rate[:, quiet.offset :])[this.pair]
    # A pair's lines as they have shared its sales so far.
    mine = np.cumsum(this.year.fen[:, : last + 1], axis=1).astype(np.float64)
    whole = cells_.grouped(mine, this.pair, len(panel.pairs))[this.pair]
    lost *= np.where(whole > 0, mine / np.where(whole > 0, whole, 1.0), 0.0)
    cell = this.district * WIDTH + this.column
    out[:, : last + 1] = cells_.grouped(lost, cell, frame.size)
    rows_ = out.reshape(len(frame.districts), WIDTH, -1)
    rows_[-1, :, : last + 1] = cells_.grouped(lost, this.column, WIDTH)
    rows_[:, OF_ALL] = rows_[:, 1:].sum(axis=1)
    return out


def _kept(frame: Frame, placed: Mapping[int, Placed], panel: Panel) -> Floats:
    """Which part of last year the judged platforms made: a target covers those that left as well."""
    last = placed[frame.year - 1]
    whole = cells_.everything(frame, last).sum(axis=1).astype(np.float64)
    kept = cells_.summed(frame, last, *panel.lines(last)).sum(axis=1).astype(np.float64)
    fine = (whole > 0) & (kept > 0)
    return np.where(fine, kept / np.where(fine, whole, 1.0), 1.0)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _normal(z: Floats) -> Floats:
    """Φ(z)."""
    return 0.5 * (1.0 + _erf(z / math.sqrt(2.0)))


# -- levels -----------------------------------------------------------------------------------------


def _levels(
    frame: Frame, parts: _Parts, stale: Bools, rules: str
) -> tuple[levels.Levels, levels.Levels]:
    """Each day is a run of its own for Benjamini–Hochberg, over all cells with a target."""
    if rules == "tianjin":
        base = parts.base
        planned = np.where(base > 0, parts.target / np.where(base > 0, base, 1.0) - 1.0, np.nan)
        raw = np.stack(
            [
                levels.tianjin_levels(yoy, plan, float(yoy[frame.city]))
                for yoy, plan in zip(parts.yoy, planned, strict=True)
            ]
        )
        return raw, levels.tianjin_course(raw, stale)
    raw = np.stack(
        [
            levels.raw_levels(*day)
            for day in zip(
                parts.p_meet, parts.nowcast, parts.target, parts.yoy, parts.base, strict=True
            )
        ]
    )
    # A silence from the first day on has no level that it could keep.
    judged = np.logical_or.accumulate((raw >= 0) & ~stale, axis=0)
    return raw, np.where(judged, levels.course(raw, parts.p_meet, stale), levels.NONE)


def _required(target: Floats, parts: _Parts) -> Floats:
    return np.stack(
        [
            like_for_like.required_growth(target, parts.comparable[n], parts.rest[n])
            for n in range(len(parts.rest))
        ]
    )


def _approximate(year: int, years: Mapping[int, Year]) -> frozenset[str]:
    """Districts whose history comes through the crosswalk of the division change."""
    if year < CHANGE_DATE.year or not any(y < CHANGE_DATE.year for y in years):
        return frozenset()
    return frozenset(changed_districts())


def _shares(
    years: Mapping[int, Year], year: int, first: int, last: int
) -> tuple[float | None, ...]:
    """Services in all retail, over the 12 months up to each day; with less known, over what there is."""
    spans = [years[y] for y in (year - 1, year) if y in years]
    goods, services = (
        np.concatenate(
            [
                np.zeros(1, np.int64),
                *(y.fen[(y.sector == GOODS) == of_goods].sum(axis=0) for y in spans),
            ]
        ).cumsum()
        for of_goods in (True, False)
    )
    offset = sum(y.days for y in spans[:-1])
    found = []
    for day in range(first, last + 1):
        end = offset + day + 1
        begin = max(end - SHARE_DAYS, 0)
        found.append(
            city_share.share_of(
                float(services[end] - services[begin]), float(goods[end] - goods[begin])
            )
        )
    return tuple(found)


# -- rows -------------------------------------------------------------------------------------------


def rows(
    judged: Judged,
    districts: Sequence[str] | None,
    sectors: Sequence[str | None] | None,
    *,
    at: str,
    day: int = -1,
) -> list[dict[str, Any]]:
    """Progress rows of a day (default: the moment); None: all districts and the city, all sectors."""
    when = judged.days[day]
    found = []
    for number, (district, sector) in enumerate(judged.frame.keys()):
        if (districts is None or district in districts) and (sectors is None or sector in sectors):
            found.append(_row(judged, number, district, sector, day, when, at))
    return found


def _row(
    judged: Judged, number: int, district: str, sector: str | None, day: int, when: date, at: str
) -> dict[str, Any]:
    target = judged.targets.get((district, sector))
    share = float(judged.expected_share[day, number])
    comparable = int(judged.comparable[day, number])
    expected = None
    if target is not None:
        # The product of floats must not cost the target its last fen on 31 December.
        expected = target if share >= 1.0 else math.floor(target * share + 0.5)
    told = guards.guards(
        district,
        when,
        has_target=target is not None,
        has_silent_feed=bool(judged.stale[day, number]),
    )
    quiet = {guards.STALE}
    level = judged.level[day, number] if set(told) <= quiet else levels.NONE
    row = {
        "district": district,
        "sector": sector,
        "year": judged.frame.year,
        "at": at,
        "target_fen": target,
        "attained_fen": int(judged.booked[day, number]),
        "comparable_fen": comparable,
        "expected_fen": expected,
        "pace": comparable / expected if expected else None,
        "nowcast_fen": _fen(judged.nowcast[day, number]),
        "nowcast_low_fen": _fen(judged.low[day, number]),
        "nowcast_high_fen": _fen(judged.high[day, number]),
        "p_meet": _number(judged.p_meet[day, number]) if target is not None else None,
        "required_growth": _number(judged.required_growth[day, number])
        if target is not None
        else None,
        "raw_level": levels.name(int(judged.raw[day, number])),
        "level": levels.name(int(level)),
        "guards": told,
        "approximate": district in judged.approximate,
    }
    if district == CITY and sector is None:
        actual, path = judged.shares[day], judged.share_path
        row["share"], row["share_path"] = actual, path
        row["share_gap"] = None if actual is None or path is None else actual - path
    return row


def _number(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(value)


def _fen(value: float) -> int | None:
    return None if math.isnan(value) or math.isinf(value) else math.floor(float(value) + 0.5)

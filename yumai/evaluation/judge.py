"""A year's cells judged day by day: figures and levels for progress rows and alerts. Pure.

One knowledge (columns and targets as they are known now) judges every day from 1 March on, each from
what had occurred by its end; so a restatement or a new target moves the whole course at once, and the
course up to an earlier day is the beginning of the course up to a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from yumai.districts import CHANGE_DATE, changed_districts
from yumai.evaluation import cells, coverage
from yumai.evaluation.cells import Floats, Frame, Placed
from yumai.evaluation.columns import GOODS, Bools, Ints, Year, first_day
from yumai.evaluation.coverage import Doubts, Quiet
from yumai.evaluation.segment import Ground, Memory, Segment, joined, segment
from yumai.methods import city_share, levels, like_for_like
from yumai.methods.like_for_like import Gone, Panel, PanelDays

PAST_YEARS = 5
FIRST_JUDGED = (3, 1)
SHARE_DAYS = 365

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
        day = min(at.date(), cells.last_day(year))
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
    """`[cells]`, NaN without one."""
    targets: Targets
    approximate: frozenset[str]
    shares: tuple[float | None, ...]
    """The city's share of services in all retail, of the 12 months up to each day."""
    share_path: float | None


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
    last = cells.day_number(moment.day)
    first = min(cells.day_number(date(year, *FIRST_JUDGED)), last)
    years = {**years, year: years[year].until(last + 1)}
    placed, platforms = cells.placed(frame, years)
    quiet = coverage.quiet(frame, placed, platforms, moment.day, moment.fraction, doubts or {})
    memory = Memory() if memory is None else memory
    memory.fits(year, tuple(years[y].fen for y in sorted(years) if y != year))
    ground = Ground(
        frame,
        placed,
        quiet,
        _amounts(frame, targets),
        first_day(years) or moment.day,
        last,
        moment.fraction,
        memory,
    )
    found = joined([segment(ground, run) for run in _runs(frame, placed, quiet, first, last)])
    stale = quiet.stale[:, first : last + 1].T
    raw, level = _levels(frame, found, stale, rules)
    if (moment.day.month, moment.day.day) < FIRST_JUDGED:
        raw[:], level[:] = levels.NONE, levels.NONE
    new_year = date(year, 1, 1).toordinal()
    return Judged(
        frame,
        moment,
        tuple(date.fromordinal(new_year + n) for n in range(first, last + 1)),
        np.cumsum(cells.everything(frame, placed[year]), axis=1)[:, first : last + 1].T,
        found.comparable,
        found.expected,
        found.nowcast,
        found.low,
        found.high,
        found.p_meet,
        like_for_like.required_growth(ground.target, found.comparable, found.rest),
        found.yoy,
        raw,
        level,
        stale,
        ground.target,
        targets,
        _approximate(year, years),
        _shares(years, year, first, last),
        share_path,
    )


def _amounts(frame: Frame, targets: Targets) -> Floats:
    out = np.full(frame.size, np.nan)
    for (district, sector), fen in targets.items():
        if district in frame.districts:
            out[frame.number(district, sector)] = float(fen)
    return out


def _runs(
    frame: Frame, placed: Mapping[int, Placed], quiet: Quiet, first: int, last: int
) -> list[PanelDays]:
    """Runs of days with one panel; in a city's first year everybody is judged."""
    this = placed[frame.year]
    before = placed.get(frame.year - 1)
    if before is None:
        pairs = np.ones(len(frame.districts) * this.platforms, dtype=bool)
        return [PanelDays(first, last, Panel(pairs, np.ones(this.platforms, dtype=bool)))]
    return like_for_like.runs(
        cells.present(frame, before),
        cells.present(frame, this),
        Gone(quiet.pairs.gone, quiet.gone_city),
        first,
        last,
    )


def _levels(
    frame: Frame, found: Segment, stale: Bools, rules: str
) -> tuple[levels.Levels, levels.Levels]:
    """Each day is a run of its own for Benjamini–Hochberg, over all cells with a target."""
    if rules == "tianjin":
        planned = like_for_like.growth(found.target, found.base)
        raw = levels.tianjin_levels(found.yoy, planned, found.yoy[:, [frame.city]])
        return raw, levels.tianjin_course(raw, stale)
    raw = levels.raw_levels(found.p_meet, found.nowcast, found.target, found.yoy, found.base)
    # A silence from the first day on has no level that it could keep.
    judged = np.logical_or.accumulate((raw >= 0) & ~stale, axis=0)
    return raw, np.where(judged, levels.course(raw, found.p_meet, stale), levels.NONE)


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

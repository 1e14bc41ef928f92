"""A city judged every day from 1 March on, as it was known each day, by Yumai and by simple rules. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from console.truth.city import SILENT_DAYS, City, known
from yumai.methods import like_for_like, silence
from yumai.methods.aligned import month_starts
from yumai.methods.festival import days_of
from yumai.methods.judged_year import MARCH, course, judged_levels, lessons
from yumai.methods.levels import (
    NONE,
    RED,
    RED_GAP,
    YELLOW,
    YELLOW_GAP,
    Levels,
    tianjin_levels,
)
from yumai.methods.levels import course as hysteresis
from yumai.methods.profile import aligned_days
from yumai.methods.seasons import Bools, Floats

WAYS = ("yumai", "days / 365", "last year's share", "天津")


@dataclass(frozen=True)
class Verdicts:
    """`levels[way]`: `[days, districts]` after hysteresis, from day number `first` on."""

    first: int
    levels: dict[str, Levels]
    inside: Bools
    from_silent_feed: int
    from_joining_platform: int


@dataclass(frozen=True)
class Day:
    """Raw levels by way, P(meet), who is frozen, and whose year-end lies inside the interval."""

    raw: dict[str, Levels]
    p_meet: Floats
    frozen: Bools
    inside: Bools


def judge(city: City) -> Verdicts:
    first, last = int(month_starts(city.year)[MARCH]), days_of(city.year) - 1
    panel = like_for_like.in_both_years(city.history[city.year - 1], city.sales)
    judge_day = _judging(city, panel)
    days = [judge_day(day, True) for day in range(first, last + 1)]
    levels = {way: _course(days, way) for way in WAYS}

    # The same year without the silence, of which only the days until the backfill differ.
    window = slice(city.silent_from - 1 - first, city.backfilled_on + SILENT_DAYS - first)
    calm = days.copy()
    for day in range(city.silent_from, city.backfilled_on + silence.HOLE_DAYS):
        if day <= last:
            calm[day - first] = judge_day(day, False)
    without_silence = _course(calm, "yumai")

    old = panel.copy()
    old[:, -1] = False
    if np.array_equal(old, panel):
        without_joining = levels["yumai"]
    else:
        judge_old = _judging(city, old)
        without_joining = _course([judge_old(day, True) for day in range(first, last + 1)], "yumai")

    ends = month_starts(city.year)[MARCH + 1 : -1] - 1 - first
    on_time = city.short < 0.03
    return Verdicts(
        first,
        levels,
        np.stack([days[end].inside for end in ends]),
        _new_alerts(levels["yumai"][window], without_silence[window], on_time),
        _new_alerts(levels["yumai"], without_joining, city.joins & on_time),
    )


def _new_alerts(levels: Levels, without: Levels, among: Bools) -> int:
    """Districts in which an alert begins that would not be there but for what is left out in `without`.

    One that was there the day before and is only kept, frozen, is not new.
    """
    rises = np.any((levels[1:] >= YELLOW) & (levels[:-1] < YELLOW), axis=0)
    usual = np.any(without >= YELLOW, axis=0)
    return int((rises & ~usual & among).sum())


def _course(days: list[Day], way: str) -> Levels:
    daily = np.array([day.raw[way] for day in days], dtype=np.int8)
    if way == "yumai":
        return hysteresis(
            daily, np.array([d.p_meet for d in days]), np.array([d.frozen for d in days])
        )
    return hysteresis(daily, np.where(daily >= YELLOW, 0.0, 1.0))


def _judging(city: City, panel: Bools) -> Callable[[int, bool], Day]:
    """(day, with silence) -> that day as it was known then, on the platforms of `panel`."""
    history = {y: like_for_like.comparable(x, panel) for y, x in city.history.items()}
    sector = np.zeros(len(city.target), dtype=np.int64)
    learnt = lessons(history, city.year, sector)
    assert learnt is not None
    last = days_of(city.year) - 1
    before = city.history[city.year - 1]
    last_year = history[city.year - 1]
    base = last_year.sum(axis=1)
    same_date = np.cumsum(last_year, axis=1)
    aligned = np.cumsum(last_year[:, aligned_days(city.year, city.year - 1)], axis=1)
    actual = like_for_like.comparable(city.sales, panel).sum(axis=1)

    def day_of(day: int, with_silence: bool) -> Day:
        seen = known(city, day, with_silence=with_silence)
        sales = like_for_like.comparable(seen, panel)
        today = course(learnt, sales, city.target, sector, first_day=day, last_day=day)
        booked = sales.sum(axis=1)
        share = same_date[:, min(day, same_date.shape[1] - 1)] / base
        yoy = booked / aligned[:, day] - 1.0
        whole = float(booked.sum() / aligned[:, day].sum() - 1.0)
        return Day(
            {
                "yumai": judged_levels(today, city.target)[0],
                "days / 365": _by_gap(booked * (last + 1) / (day + 1), city.target),
                "last year's share": _by_gap(booked / share, city.target),
                "天津": tianjin_levels(yoy, city.target / base - 1.0, whole),
            },
            today.p_meet[0],
            silence.affected(np.concatenate([before, seen], axis=2)),
            (today.low[0] <= actual) & (actual <= today.high[0]),
        )

    return day_of


def _by_gap(total: Floats, target: Floats) -> Levels:
    """A simple rule's level, by the gap alone."""
    gap = 1.0 - total / target
    level = np.where(gap >= RED_GAP, RED, np.where(gap >= YELLOW_GAP, YELLOW, 0))
    return np.where(np.isnan(gap), NONE, level).astype(np.int8)

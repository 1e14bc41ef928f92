"""A city judged every day from 1 March on, as it was known each day, by Yumai and by simple rules. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from console.truth.city import SILENT_DAYS, City, known
from yumai.methods import like_for_like, silence
from yumai.methods.aligned import month_starts
from yumai.methods.festival import days_of
from yumai.methods.judged_year import MARCH, course, lessons
from yumai.methods.levels import (
    NONE,
    RED,
    RED_GAP,
    YELLOW,
    YELLOW_GAP,
    Levels,
    raw_levels,
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


def judge(city: City) -> Verdicts:
    first, last = int(month_starts(city.year)[MARCH]), days_of(city.year) - 1
    panel = like_for_like.in_both_years(city.history[city.year - 1], city.sales)
    history = {y: like_for_like.comparable(x, panel) for y, x in city.history.items()}
    plain = {y: x[:, :-1].sum(axis=1) for y, x in city.history.items()}
    with_all, inside = _levels(city, history, panel, first, last)
    calm, _ = _levels(city, history, panel, first, last, with_silence=False)
    alone = panel.copy()
    alone[:, -1] = False
    without_joining = (
        with_all["yumai"]
        if np.array_equal(alone, panel)
        else _levels(city, plain, alone, first, last)[0]["yumai"]
    )
    window = slice(city.silent_from - first, city.backfilled_on + SILENT_DAYS - first)
    on_time = city.short < 0.03
    return Verdicts(
        first,
        with_all,
        inside,
        _new_alerts(with_all["yumai"][window], calm["yumai"][window], on_time),
        _new_alerts(with_all["yumai"], without_joining, city.joins & on_time),
    )


def _new_alerts(levels: Levels, without: Levels, among: Bools) -> int:
    """Districts flagged that would not be but for what is left out in `without`."""
    flagged, usual = (np.any(a >= YELLOW, axis=0) for a in (levels, without))
    return int((flagged & ~usual & among).sum())


def _levels(
    city: City,
    history: dict[int, Floats],
    panel: Bools,
    first: int,
    last: int,
    *,
    with_silence: bool = True,
) -> tuple[dict[str, Levels], Bools]:
    sector = np.zeros(len(city.target), dtype=np.int64)
    learnt = lessons(history, city.year, sector)
    assert learnt is not None
    before = city.history[city.year - 1]
    last_year = history[city.year - 1]
    base = last_year.sum(axis=1)
    same_date = np.cumsum(last_year, axis=1)
    aligned = np.cumsum(last_year[:, aligned_days(city.year, city.year - 1)], axis=1)
    actual = like_for_like.comparable(city.sales, panel).sum(axis=1)
    ends = set((month_starts(city.year)[1:] - 1).tolist())
    raw: dict[str, list[Levels]] = {way: [] for way in WAYS}
    chances, held, inside = [], [], []
    for day in range(first, last + 1):
        seen = known(city, day, with_silence=with_silence)
        held.append(silence.affected(np.concatenate([before, seen], axis=2)))
        sales = like_for_like.comparable(seen, panel)
        today = course(learnt, sales, city.target, sector, first_day=day, last_day=day)
        total = today.nowcast[0]
        raw["yumai"].append(raw_levels(today.p_meet[0], total, city.target, today.yoy[0], base))
        chances.append(today.p_meet[0])
        booked = sales.sum(axis=1)
        raw["days / 365"].append(_by_gap(booked * (last + 1) / (day + 1), city.target))
        share = same_date[:, min(day, same_date.shape[1] - 1)] / base
        raw["last year's share"].append(_by_gap(booked / share, city.target))
        yoy = booked / aligned[:, day] - 1.0
        planned = city.target / base - 1.0
        whole = float(booked.sum() / aligned[:, day].sum() - 1.0)
        raw["天津"].append(tianjin_levels(yoy, planned, whole))
        if day in ends and day < last:
            inside.append((today.low[0] <= actual) & (actual <= today.high[0]))
    frozen = np.array(held)
    levels = {}
    for way in WAYS:
        daily = np.array(raw[way], dtype=np.int8)
        p = np.array(chances) if way == "yumai" else np.where(daily >= YELLOW, 0.0, 1.0)
        levels[way] = hysteresis(daily, p, frozen if way == "yumai" else None)
    return levels, np.array(inside)


def _by_gap(total: Floats, target: Floats) -> Levels:
    """A simple rule's level, by the gap alone."""
    gap = 1.0 - total / target
    level = np.where(gap >= RED_GAP, RED, np.where(gap >= YELLOW_GAP, YELLOW, 0))
    return np.where(np.isnan(gap), NONE, level).astype(np.int8)

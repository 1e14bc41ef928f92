"""What is counted of a city, and whether the sums over cities meet the bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.truth import rules
from simulation.truth.city import SHORT, City, city
from simulation.truth.judging import (
    RED,
    YELLOW,
    Levels,
    Office,
    Said,
    first_day,
    from_joining_platform,
    from_silent_feed,
    look_days,
    said,
)

WAYS = ("yumai", "days / 365", "last year's share", "天津")
JULY, NOVEMBER = 7, 11
BARS = {
    "found_june": (0.60, 1.0),
    "found_october": (0.95, 1.0),
    "false_red": (0.0, 0.02),
    "cover_80": (0.75, 0.85),
    "alerts_from_silent_feed": (0, 0),
    "alerts_from_joining_platform": (0, 0),
    "hidden_by_joining_platform": (0, 0),
}
Result = dict[str, float | int]


@dataclass(frozen=True)
class Counted:
    """Counts of one city. By way of judging: lagging districts found by two dates, and on-target ones that were ever red.

    `inside` of `intervals`: at month-ends, the year-end lies in the 80 % interval; the rest are districts.
    """

    lagging: int
    on_target: int
    june: dict[str, int]
    october: dict[str, int]
    ever_red: dict[str, int]
    inside: int
    intervals: int
    silent_feed: int
    blue_silent_feed: int
    joining_platform: int
    hidden: int


def count(seed: int, every: int) -> Counted:
    """City number `seed`, looked at every so many days."""
    simulated = city(seed)
    return counted(simulated, look_days(simulated, every))


def counted(of: City, days: Sequence[int]) -> Counted:
    """Counts what looks on `days` (numbers, ascending) have seen."""
    office = Office(of)
    seen = said(office, days)
    lagging, on_target = of.short >= SHORT, of.short <= 0
    levels = _by_way(office, seen)
    inside = [_inside(of, seen, month) for month in range(4, 13)]

    def found(month: int) -> dict[str, int]:
        before = first_day(of.year, month) - seen.first
        return {
            way: int((np.any(level[:before] >= YELLOW, axis=0) & lagging).sum())
            for way, level in levels.items()
        }

    silent = from_silent_feed(office, seen, days)
    joining = from_joining_platform(office, seen, days)
    return Counted(
        int(lagging.sum()),
        int(on_target.sum()),
        found(JULY),
        found(NOVEMBER),
        {
            way: int((np.any(level >= RED, axis=0) & on_target).sum())
            for way, level in levels.items()
        },
        sum(int(month.sum()) for month in inside),
        sum(len(month) for month in inside),
        silent.alerts,
        silent.blue,
        joining.false,
        joining.hidden,
    )


def _by_way(office: Office, seen: Said) -> dict[str, Levels]:
    of = office.city
    tianjin = office.tianjin()
    cells = [tianjin.frame.number(code, None) for code in of.codes]
    found = (
        seen.level,
        rules.by_days(of, seen),
        rules.by_last_year(of, seen),
        tianjin.level[: len(seen.level), cells],
    )
    return dict(zip(WAYS, found, strict=True))


def _inside(of: City, seen: Said, month: int) -> np.ndarray:
    """At the end of the month before, where that was seen."""
    end = first_day(of.year, month) - 1 - seen.first
    if end >= len(seen.level):
        return np.zeros(0, dtype=bool)
    return (seen.low[end] <= of.total) & (of.total <= seen.high[end])


def table(cities: Sequence[Counted]) -> dict[str, tuple[float, float, float]]:
    """By way: shares of lagging districts found by June and by October, of on-target ones ever red."""
    lagging, on_target = sum(c.lagging for c in cities), sum(c.on_target for c in cities)
    return {
        way: (
            sum(c.june[way] for c in cities) / lagging,
            sum(c.october[way] for c in cities) / lagging,
            sum(c.ever_red[way] for c in cities) / on_target,
        )
        for way in WAYS
    }


def result(cities: Sequence[Counted]) -> Result:
    june, october, red = table(cities)["yumai"]
    return {
        "found_june": june,
        "found_october": october,
        "false_red": red,
        "cover_80": sum(c.inside for c in cities) / max(sum(c.intervals for c in cities), 1),
        "alerts_from_silent_feed": sum(c.silent_feed for c in cities),
        "alerts_from_joining_platform": sum(c.joining_platform for c in cities),
        "hidden_by_joining_platform": sum(c.hidden for c in cities),
        # No bar: a district with even chances moves between green and blue with any estimate.
        "blue_from_silent_feed": sum(c.blue_silent_feed for c in cities),
    }


def missed(found: Result) -> list[str]:
    """Names of the bars that are not met."""
    return [name for name, (low, high) in BARS.items() if not low <= found[name] <= high]

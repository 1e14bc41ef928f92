"""A city as Yumai judges it, by `yumai.evaluation` alone, looked at as it was known on many days. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from simulation.truth.city import SHORT, SILENT_DAYS, City, Floats
from yumai.evaluation.columns import Bools, Ints
from yumai.evaluation.judge import FIRST_JUDGED, Judged, Memory, Moment, judge

BLUE, YELLOW, RED = 1, 2, 3
"""Levels as `Judged` numbers them; 0 is green, below it is none."""
Levels = np.ndarray


class Office:
    """Judges one city again and again: each look judges the whole year so far by what was known that day."""

    def __init__(self, city: City) -> None:
        self.city = city
        self._targets: dict[tuple[str, str | None], int] = {
            (code, None): int(fen) for code, fen in zip(city.codes, city.target, strict=True)
        }
        self._memory = Memory()

    def look(self, day: int, *, silence: bool = True, joining: bool = True) -> Judged:
        """At the end of day number `day`."""
        return self._judge(day, silence, joining, "severity")

    def tianjin(self) -> Judged:
        """The year by the 天津 rules, as known at its end."""
        return self._judge(self.city.whole.days - 1, True, True, "tianjin")

    def _judge(self, day: int, silence: bool, joining: bool, rules: str) -> Judged:
        city = self.city
        known = city.known(day, silence=silence, joining=joining)
        moment = Moment(date(city.year, 1, 1) + timedelta(days=day))
        years = {**city.past, city.year: known}
        return judge(years, city.year, self._targets, moment, rules=rules, memory=self._memory)


@dataclass(frozen=True)
class Said:
    """Levels and figures that the looks gave for districts, every array `[days, districts]`, from 1 March on.

    Of a day: by the first look that reached it. So a day that was looked at is judged by what was known
    on it, another one by what was known some days later.
    """

    first: int
    level: Levels
    comparable: Ints
    low: Floats
    high: Floats

    def until(self, day: int) -> Levels:
        """Levels of the days before number `day`."""
        return self.level[: max(day - self.first, 0)]


def first_day(year: int, month: int = FIRST_JUDGED[0]) -> int:
    """Number of a month's first day; of the first month that is judged."""
    return (date(year, month, 1) - date(year, 1, 1)).days


def said(
    office: Office, days: Sequence[int], *, silence: bool = True, joining: bool = True
) -> Said:
    """Judges on `days` (ascending) and keeps of each look the days since the one before."""
    city = office.city
    begin = first = first_day(city.year)
    found: list[tuple[np.ndarray, ...]] = []
    for day in days:
        judged = office.look(day, silence=silence, joining=joining)
        fresh = slice(begin - first, day - first + 1)
        cells = [judged.frame.number(code, None) for code in city.codes]
        arrays = (judged.level, judged.comparable, judged.low, judged.high)
        found.append(tuple(array[fresh][:, cells] for array in arrays))
        begin = day + 1
    return Said(first, *(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def look_days(city: City, every: int) -> list[int]:
    """Every so many days of a month, each month's end, and each day from before the silence to its backfill."""
    found = {city.whole.days - 1, *range(city.silent_from - 1, city.backfilled_on + 1)}
    for month in range(FIRST_JUDGED[0], 13):
        begin = first_day(city.year, month)
        length = (first_day(city.year, month + 1) if month < 12 else city.whole.days) - begin
        found |= {begin + n - 1 for n in range(every, length - every // 2, every)}
        found.add(begin + length - 1)
    return sorted(found)


@dataclass(frozen=True)
class FromSilence:
    """Districts not short in which an alert began around the silence that would not have begun without it.

    `alerts`: yellow or red; `blue`: at least blue.
    """

    alerts: int
    blue: int


def from_silent_feed(office: Office, seen: Said, days: Sequence[int]) -> FromSilence:
    """Counted against the same year in which the feed never fell silent."""
    city = office.city
    window = range(city.silent_from - 1, city.backfilled_on + SILENT_DAYS)
    # From before the silence to the first look that reaches the window's end.
    reached = [day for day in days if day >= window.stop - 1][:1]
    looks = [day for day in days if day in window and day not in reached] + reached
    rose = [_rose(_part(seen, window), least) & (city.short < SHORT) for least in (YELLOW, BLUE)]
    if not np.any(rose):
        return FromSilence(0, 0)
    without = _part(said(office, looks, silence=False), window)
    alerts, blue = (
        int((new & ~_ever(without, least)).sum())
        for new, least in zip(rose, (YELLOW, BLUE), strict=True)
    )
    return FromSilence(alerts, blue)


@dataclass(frozen=True)
class Joining:
    """Districts whose alerts come from the joining platform alone, or that have none because of it alone."""

    false: int
    hidden: int


def from_joining_platform(office: Office, seen: Said, days: Sequence[int]) -> Joining:
    """Counted against the same year without that platform."""
    city = office.city
    on_time, lagging = city.short < SHORT, city.short >= SHORT
    suspects = city.joins & on_time & _rose(seen.level, YELLOW)
    missed = city.joins & lagging & ~_ever(seen.level, YELLOW)
    if not (suspects | missed).any():
        return Joining(0, 0)
    without = _ever(said(office, days, joining=False).level, YELLOW)
    return Joining(int((suspects & ~without).sum()), int((missed & without).sum()))


def _part(of: Said, days: range) -> Levels:
    return of.level[max(days.start - of.first, 0) : days.stop - of.first]


def _ever(levels: Levels, least: int) -> Bools:
    return np.any(levels >= least, axis=0)


def _rose(levels: Levels, least: int) -> Bools:
    """Where an alert began; one that was there the day before and is only kept, frozen, is not new."""
    return np.any((levels[1:] >= least) & (levels[:-1] < least), axis=0)

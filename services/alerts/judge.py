"""Every district's progress at an instant, or why none is judged. Pure.

Lagging is not missing: with days still to be loaded, or books that are behind, nobody is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from yumai.districts import districts_of
from yumai.methods import pace, panel, profile

Row = tuple[int, date, int]
"""District number, day, net fen of all services."""


@dataclass(frozen=True)
class Judged:
    """`guard` empty, or why `progress` is empty: warming_up | stale."""

    progress: dict[str, pace.Progress]
    guard: str = ""


def judge(
    at: datetime,
    targets: Mapping[str, int],
    this_year: Iterable[Row],
    shares: Mapping[str, np.ndarray] | None,
) -> Judged:
    """As at `at` (Shanghai time). `targets`: district -> fen for the year of `at`.

    `shares`: expected cumulative share by district (`panel.shares`); None: days gone by.
    """
    if pace.is_warming_up(at.date()):
        return Judged({}, "warming_up")
    rows = [row for row in this_year if row[1] <= at.date()]
    city = panel.by_day(panel.daily(rows), at.year)
    if not panel.is_covered(city, at.timetuple().tm_yday - 1):
        return Judged({}, "stale")
    attained: dict[str, int] = {}
    for number, _, net_fen in rows:
        code = f"{number:06d}"
        attained[code] = attained.get(code, 0) + net_fen
    in_force = set(districts_of(at.year))
    by_days = profile.linear(at.year)
    return Judged(
        {
            code: pace.progress(
                target, attained.get(code, 0), by_days if shares is None else shares[code], at
            )
            for code, target in sorted(targets.items())
            if code in in_force and target > 0
        }
    )

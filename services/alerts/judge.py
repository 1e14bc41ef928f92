"""Who judges: an evaluation of a year as progress rows, behind one small interface. Pure.

Lagging is not missing: with days still to be loaded, or books that are behind, nobody is judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np

from contracts.targets.codec import Target, of_versions
from yumai.districts import districts_of
from yumai.methods import pace, panel, profile

Row = tuple[int, date, int]
"""District number, day, net fen of all services."""
Targets = Mapping[str, Target]
"""By key: each record carries every version it ever had."""


@dataclass(frozen=True)
class Evaluation:
    """`rows`: as `/v1/progress` says them, of districts (not of `city`); `feeds`: as `/v1/feeds` does."""

    at: datetime
    """As of when: the books, not the clock."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    feeds: list[dict[str, Any]] | None = None
    """None: nothing is known of feeds."""
    guard: str = ""
    """Why nobody could be judged: asked again soon."""


class Judge(Protocol):
    """Blocking; used by one thread at a time. Raises STORE_ERRORS."""

    def evaluate(
        self, year: int, targets: Targets, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        """Rows of `districts` (None: all) with a target in that year, as at `at` or as far as the books are.

        All entries known now count. After the year: as at its end. More districts than asked are welcome.
        """
        ...


def as_set_by(targets: Targets, instant: datetime) -> dict[str, Target]:
    """The targets that held at an instant."""
    until = int(instant.timestamp() * 1000)
    found: dict[str, Target] = {}
    for key, target in targets.items():
        versions = tuple(v for v in target.versions if v.at is None or v.at <= until)
        if versions:
            found[key] = of_versions(target.year, target.district, target.sector, versions)
    return found


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

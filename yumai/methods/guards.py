"""Why a district or sector has no level on a day, in the order in which the first is told. Pure.

`warming_up`  until February closes · `no_target` · `suppressed` a confidential cell · `rebased` the month of a
division change · `stale` poor coverage or a silent feed: the level is frozen, not taken away, for what
is missing must not be taken for lagging.
"""

from __future__ import annotations

from datetime import date

from yumai.districts import BEGUN, CHANGE_DATE

WARMING_UP, NO_TARGET, SUPPRESSED, REBASED, STALE = (
    "warming_up",
    "no_target",
    "suppressed",
    "rebased",
    "stale",
)
COVERAGE_LEAST = 0.95
REBASED_DISTRICTS = frozenset({*BEGUN, "500109"})
"""两江新区 500157 and 北碚 500109 exchanged towns in the change of `CHANGE_DATE`."""


def is_warming_up(day: date) -> bool:
    """Before January and February are closed: Spring Festival moves between them, so neither says much alone.

    The end of the last day of February is judged first on 1 March.
    """
    return day.month < 3


def is_rebased(district: str, day: date) -> bool:
    """In the month of the division change."""
    return district in REBASED_DISTRICTS and (day.year, day.month) == (
        CHANGE_DATE.year,
        CHANGE_DATE.month,
    )


def guards(
    district: str,
    day: date,
    *,
    has_target: bool,
    is_suppressed: bool = False,
    coverage: float = 1.0,
    has_silent_feed: bool = False,
) -> list[str]:
    """All that hold on that day. `coverage`: active merchants as a share of the last closed month's."""
    found = {
        WARMING_UP: is_warming_up(day),
        NO_TARGET: not has_target,
        SUPPRESSED: is_suppressed,
        REBASED: is_rebased(district, day),
        STALE: coverage < COVERAGE_LEAST or has_silent_feed,
    }
    return [name for name, holds in found.items() if holds]

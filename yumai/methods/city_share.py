"""The path of the city's service share to the plan's targets. Pure.

logit(s) runs straight from the base year to 40 % in 2027 and on to 45 % in 2035: a share near its limit
moves more slowly, and never leaves (0, 1).
"""

from __future__ import annotations

import math

MILESTONES = ((2027, 0.40), (2035, 0.45))


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def share_path(base_year: int, base_share: float, year: float) -> float:
    """Share that `year` (with fractions) should reach; after the last milestone it stays there."""
    if not 0.0 < base_share < 1.0:
        raise ValueError(f"base share {base_share}: want between 0 and 1")
    before = (float(base_year), base_share)
    if year <= base_year:
        return base_share
    for milestone in MILESTONES:
        if milestone[0] <= base_year:
            continue
        if year <= milestone[0]:
            part = (year - before[0]) / (milestone[0] - before[0])
            logit = _logit(before[1]) + part * (_logit(milestone[1]) - _logit(before[1]))
            return 1.0 / (1.0 + math.exp(-logit))
        before = (float(milestone[0]), milestone[1])
    return before[1]


def share_of(services: float, goods: float) -> float | None:
    """s = S/(S + G), of 12 months; None where there is nothing."""
    total = services + goods
    return services / total if total > 0 else None

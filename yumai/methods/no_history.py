"""A year that has none before it: the days gone by are all that is known of it. Pure.

    F = C/p,  p = days gone / days of the year,   P(meet) = Φ(ln(F/T)/σ)

σ is the rule of thumb of a year whose months nobody has seen: the interval is wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yumai.methods.festival import days_of
from yumai.methods.seasons import MONTHS, VARIANCE_USUAL, Floats, Ints
from yumai.methods.uncertainty import TAIL_Z, rule_of_thumb


@dataclass(frozen=True)
class Flat:
    """Every array `[days, n]`, as in a `Course`; NaN where nothing positive is booked."""

    expected_share: Floats
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats


def flat(year: int, booked: Ints, target: Floats, first_day: int, fraction: float = 1.0) -> Flat:
    """`booked[days, n]`: so far, at the end of each day from `first_day` on, the last after `fraction` of it."""
    gone = np.arange(first_day + 1, first_day + 1 + len(booked), dtype=np.float64)
    gone[-1] += fraction - 1.0
    booked = booked.astype(np.float64)
    share = (gone / days_of(year))[:, None]
    total = np.where((booked > 0) & (share > 0), booked / np.where(share > 0, share, 1.0), np.nan)
    sigma = np.array(
        [[rule_of_thumb(np.array(VARIANCE_USUAL), MONTHS * float(part))] for (part,) in share]
    )
    known = ~np.isnan(total) & (np.nan_to_num(target) > 0)
    p = np.full(total.shape, np.nan)
    z = (np.log(np.where(known, total, 1.0) / np.where(known, target, 1.0)) / sigma)[known]
    p[known] = [0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in z.tolist()]
    return Flat(
        np.broadcast_to(share, booked.shape),
        total,
        total * np.exp(-TAIL_Z * sigma),
        total * np.exp(TAIL_Z * sigma),
        p,
    )

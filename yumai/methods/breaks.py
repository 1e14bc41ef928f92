"""Where a feed's volume breaks: three days far off what these weekdays usually bring. Pure.

    ratio(d) = Σ entries of d−2 … d / Σ usual,   usual(day) = median of the four same weekdays before it

A ratio below a third or above three and a half breaks, unless the other platforms' days move alike.
"""

from __future__ import annotations

import warnings

import numpy as np

from yumai.methods.seasons import Bools, Counts, Floats, Ints

BREAK_DAYS = 3
BELOW, ABOVE = 1 / 3, 3.5
USUAL_LEAST = 60
"""Entries that three days usually bring: fewer say nothing."""
WEEKS = 4
WEEKS_KNOWN = 3


def ratios(counted: Counts | Ints | Floats) -> Floats:
    """Each day's ratio to the usual volume of `counted[platforms, days]`; NaN where that is too small. No later day counts."""
    platforms, days = counted.shape
    before = np.full((WEEKS, platforms, days), np.nan)
    for week in range(WEEKS):
        back = 7 * (week + 1)
        if back < days:
            past = counted[:, : days - back].astype(np.float64)
            before[week, :, back:] = np.where(past > 0, past, np.nan)
    known = (~np.isnan(before)).sum(axis=0) >= WEEKS_KNOWN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no week known: NaN is the answer
        usual = np.where(known, np.nanmedian(before, axis=0), np.nan)
    expected, here = _last(usual), _last(counted.astype(np.float64))
    enough = expected >= USUAL_LEAST
    return np.where(enough, here / np.where(enough, expected, 1.0), np.nan)


def _last(values: Floats) -> Floats:
    """Sums of the last `BREAK_DAYS` days; NaN before there are so many."""
    out = np.full(values.shape, np.nan)
    out[:, BREAK_DAYS - 1 :] = sum(
        values[:, n : values.shape[1] - BREAK_DAYS + 1 + n] for n in range(BREAK_DAYS)
    )
    return out


def is_break(ratio: float, others: float) -> bool:
    """`others`: median ratio of the other platforms (NaN or none: 1)."""
    beyond = ratio / others if others > 0 else ratio
    return not BELOW <= ratio <= ABOVE and not BELOW <= beyond <= ABOVE


def breaks(counted: Counts | Ints) -> Bools:
    """`[platforms, days]`: on which days each platform's volume is broken."""
    found = ratios(counted)
    out = np.zeros(found.shape, dtype=bool)
    for platform, day in np.argwhere((found < BELOW) | (found > ABOVE)):
        others = np.delete(found[:, day], platform)
        others = others[~np.isnan(others)]
        common = float(np.median(others)) if len(others) else 1.0
        out[platform, day] = is_break(float(found[platform, day]), common)
    return out

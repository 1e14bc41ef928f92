"""Sales that are reported by the month, spread over its days: a lump is no rhythm. Pure."""

from __future__ import annotations

import numpy as np

from yumai.methods.aligned import month_starts
from yumai.methods.seasons import MONTHS, Bools, Floats

SPARSE_DAYS = 60
"""A year with sales on no more days than this was reported by the month: its days say nothing."""
RATIO_LEAST, RATIO_MOST = 0.5, 2.0
"""Of this year's months so far to last year's."""


def is_monthly(daily: Floats) -> Bools:
    """Which cells of a whole year `[n, days]` come by the month; a cell without sales counts as one."""
    return (daily != 0).sum(axis=1) <= SPARSE_DAYS


def by_month(daily: Floats, year: int) -> Floats:
    """`[n, days of year]` → `[n, 12]`."""
    return np.add.reduceat(daily, month_starts(year)[:MONTHS], axis=1)


def evened(daily: Floats, year: int) -> Floats:
    """Where a year came by the month, each month's sum spread over its days."""
    lumps = is_monthly(daily)
    if not lumps.any():
        return daily
    lengths = np.diff(month_starts(year))
    out = daily.copy()
    out[lumps] = np.repeat(by_month(daily[lumps], year) / lengths, lengths, axis=1)
    return out


def evened_so_far(sales: Floats, before: Floats, year: int, last: int) -> Floats:
    """The same for a year that is known up to day `last`, where `before`, the year before it, came by the month.

    What the begun month has not brought yet is as last year, times this year's months to last year's.
    """
    lumps = np.flatnonzero(is_monthly(before) & (before != 0).any(axis=1))
    if not len(lumps):
        return sales
    starts = month_starts(year)
    lengths = np.diff(starts)
    month = int(np.searchsorted(starts, last, side="right")) - 1
    begun = last + 1 < starts[month + 1]
    sums = by_month(sales[lumps], year)
    usual = by_month(before[lumps], year - 1)
    whole = month if begun else month + 1
    then, now = usual[:, :whole].sum(axis=1), sums[:, :whole].sum(axis=1)
    if begun:
        ratio = np.where(then > 0, now / np.where(then > 0, then, 1.0), 1.0)
        as_usual = usual[:, month] * np.clip(ratio, RATIO_LEAST, RATIO_MOST)
        sums[:, month] = np.where(sums[:, month] == 0, as_usual, sums[:, month])
    days = np.repeat(sums / lengths, lengths, axis=1)
    days[:, last + 1 :] = 0.0
    out = sales.copy()
    out[lumps] = days
    return out

"""Like for like: only platforms that were there in both years (METHODS, BLUEPRINT §5). Pure.

A platform that joins a district is not growth, one that left is not decline (Opportunity Insights'
2021 bias). Present in a year is who sold anything on some day of it.
"""

from __future__ import annotations

import numpy as np

from yumai.methods.seasons import Bools, Floats


def in_both_years(last_year: Floats, this_year: Floats) -> Bools:
    """`[districts, platforms]`: which platforms are judged, from each year's `[…, platforms, days]`.

    Of sectors, the district's verdict is the platform's in all of them: give sums over sectors.
    """
    return np.any(last_year != 0, axis=-1) & np.any(this_year != 0, axis=-1)


def comparable(sales: Floats, panel: Bools) -> Floats:
    """Sum over judged platforms: `sales[districts, …, platforms, days]` → `[districts, …, days]`."""
    shape = panel.shape[:1] + (1,) * (sales.ndim - 3) + panel.shape[1:] + (1,)
    return np.where(panel.reshape(shape), sales, 0).sum(axis=-2)


def growth(this: Floats, last: Floats) -> Floats:
    """this/last − 1; NaN where last is not positive."""
    fine = np.nan_to_num(last) > 0
    return np.where(fine, this / np.where(fine, last, 1.0) - 1.0, np.nan)


def required_growth(target: Floats, booked: Floats, last_rest: Floats) -> Floats:
    """r = (T − C)/(last year's rest) − 1: how much more than last year the rest must bring; NaN without a rest."""
    return growth(np.asarray(target, dtype=np.float64) - booked, np.asarray(last_rest))

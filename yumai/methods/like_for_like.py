"""Like for like: a year is compared with the one before it over the platforms that sold in both. Pure.

A platform that joins a place is no growth, one that leaves it is no decline: a panel of firms that
changes would bias every growth rate by who happens to report. Past years are chained the same way:

    x_k = sales of year Y−k−1 over S_k · link_k,   link_k = Π_{j=1…k} sales(Y−j, S_{j−1}) / sales(Y−j, S_j)

S_0: platforms that sold in the place last year and by now this year; S_k: in both of two past years.
A pair is a place and a platform; the city as a whole chooses its platforms for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yumai.methods.seasons import Bools, Floats, Ints


@dataclass(frozen=True)
class Present:
    """First day (0-based; `days`, the year's length: never) on which each pair, and each platform, sold anything."""

    pairs: Ints
    city: Ints
    days: int


@dataclass(frozen=True)
class Panel:
    """Who is judged: `pairs[places × platforms]`, and `city[platforms]` for the city."""

    pairs: Bools
    city: Bools

    def same(self, other: Panel) -> bool:
        return np.array_equal(self.pairs, other.pairs) and np.array_equal(self.city, other.city)

    @property
    def key(self) -> bytes:
        return np.packbits(self.pairs).tobytes() + np.packbits(self.city).tobytes()


@dataclass(frozen=True)
class Gone:
    """Who has left since, by day: `pairs[places × platforms, days]`, `city[platforms, days]`."""

    pairs: Bools
    city: Bools


@dataclass(frozen=True)
class PanelDays:
    """Days `low` … `high` (inclusive) that are judged on one panel."""

    low: int
    high: int
    panel: Panel


def first_days(sold: Bools) -> Ints:
    """First day with sales of `sold[…, days]`; the number of days where there were none."""
    return np.where(sold.any(axis=-1), sold.argmax(axis=-1), sold.shape[-1])


def in_both(before: Present, now: Present) -> Panel:
    """Platforms that sold in both years."""
    return Panel(
        (before.pairs < before.days) & (now.pairs < now.days),
        (before.city < before.days) & (now.city < now.days),
    )


def on_day(before: Present, now: Present, gone: Gone, day: int) -> Panel:
    """Platforms that sold last year, and this year by the end of `day`, and have not left since."""
    return Panel(
        (before.pairs < before.days) & (now.pairs <= day) & ~gone.pairs[:, day],
        (before.city < before.days) & (now.city <= day) & ~gone.city[:, day],
    )


def runs(before: Present, now: Present, gone: Gone, first: int, last: int) -> list[PanelDays]:
    """Days `first` … `last`, cut wherever the panel changes."""
    found: list[PanelDays] = []
    for day in range(first, last + 1):
        panel = on_day(before, now, gone, day)
        if found and found[-1].panel.same(panel):
            found[-1] = PanelDays(found[-1].low, day, found[-1].panel)
        else:
            found.append(PanelDays(day, day, panel))
    return found


def ratio(above: Floats, below: Floats) -> Floats:
    """above/below; 1 unless both are positive. The link of two panels, or the part that a panel made of a year."""
    fine = (above > 0) & (below > 0)
    return np.where(fine, above / np.where(fine, below, 1.0), 1.0)


def growth(this: Floats, last: Floats) -> Floats:
    """this/last − 1; NaN where last is not positive."""
    fine = np.nan_to_num(last) > 0
    return np.where(fine, this / np.where(fine, last, 1.0) - 1.0, np.nan)


def required_growth(target: Floats, booked: Floats | Ints, last_rest: Floats) -> Floats:
    """r = (T − C)/(last year's rest) − 1: how much more than last year the rest must bring; NaN without a rest."""
    return growth(np.asarray(target, dtype=np.float64) - booked, np.asarray(last_rest))

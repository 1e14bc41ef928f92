"""What must be booked: sums of everything that was pushed, kept by cell beside the system, in numpy."""

from __future__ import annotations

import numpy as np

from bench.rows import ALL_PLATFORMS, DISTRICTS, SECTORS, Rows

FIGURES = ("net_fen", "sales_fen", "refunds_fen", "entries")
_SIGNS = np.array([1, -1, -1, 1], np.int64)


class Expected:
    """Sums by day × district × sector × platform. A float's sum of integers is exact below 2^53."""

    def __init__(self, first_day: int, last_day: int) -> None:
        """Days since 1970-01-01, inclusive."""
        self.first_day, self.last_day = first_day, last_day
        days = last_day - first_day + 1
        self.shape = (days, len(DISTRICTS), len(SECTORS), len(ALL_PLATFORMS))
        self.figures = {name: np.zeros(int(np.prod(self.shape)), np.int64) for name in FIGURES}
        self.bad = 0

    @property
    def entries(self) -> int:
        return int(self.figures["entries"].sum())

    def add(self, rows: Rows) -> None:
        self.bad += int(rows.bad.sum())
        good = rows.where(~rows.bad)
        day, district, sector = good.booked()
        place = (day - self.first_day, district, sector, good.platform)
        cells, which = np.unique(np.ravel_multi_index(place, self.shape), return_inverse=True)
        amount = good.amount_fen
        for name, values in (
            ("net_fen", amount * _SIGNS[good.kind]),
            ("sales_fen", np.where(good.kind == 0, amount, 0)),
            ("refunds_fen", np.where(good.kind == 1, amount, 0)),
            ("entries", np.ones(len(good), np.int64)),
        ):
            self.figures[name][cells] += np.bincount(which, values).astype(np.int64)

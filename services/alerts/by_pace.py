"""The simple judge: pace of all services on the seasonal profile, at one moment, without hysteresis."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from contracts.targets.codec import CITY
from services.alerts.books import Books
from services.alerts.judge import Evaluation, Judged, Targets, judge
from yumai.methods import pace, panel
from yumai.store.figures import SHANGHAI


class ByPace:
    """Pace alone, of all services."""

    PROFILE_SECONDS = 60.0

    def __init__(self, books: Books) -> None:
        self._books = books
        self._shares: dict[int, tuple[float, dict[str, np.ndarray] | None]] = {}

    def evaluate(
        self, year: int, targets: Targets, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        through = self._books.freshness().through
        if through is None:
            return Evaluation(at, guard="stale")
        at = min(at, through).astimezone(SHANGHAI)
        if at.year > year:
            at = datetime(year + 1, 1, 1, tzinfo=SHANGHAI) - timedelta(microseconds=1)
        elif at.year < year:
            return Evaluation(at, guard="stale")
        wanted = {
            target.district: target.target_fen
            for target in targets.values()
            if target.year == year
            and not target.sector
            and target.district != CITY
            and target.target_fen is not None
            and (districts is None or target.district in districts)
        }
        if not wanted:
            return Evaluation(at)
        judged = self._judged(at, wanted)
        rows = [_row(code, year, at, p) for code, p in judged.progress.items()]
        return Evaluation(at, rows, guard=judged.guard)

    def _judged(self, at: datetime, wanted: Mapping[str, int]) -> Judged:
        return judge(at, wanted, self._books.this_year(at.date()), self._profile(at.year))

    def _profile(self, year: int) -> dict[str, np.ndarray] | None:
        """Past years change seldom."""
        due, shares = self._shares.get(year, (0.0, None))
        now = time.monotonic()
        if now >= due:
            shares = panel.shares(panel.daily(self._books.past_years(year)), year)
            took = time.monotonic() - now
            self._shares[year] = (now + max(self.PROFILE_SECONDS, took * 100), shares)
        return shares


def _row(code: str, year: int, at: datetime, progress: pace.Progress) -> dict[str, Any]:
    level = pace.level(progress.pace)
    return {
        "district": code,
        "sector": None,
        "year": year,
        "at": at.date().isoformat(),
        "target_fen": progress.target_fen,
        "attained_fen": progress.attained_fen,
        "comparable_fen": progress.attained_fen,
        "expected_fen": progress.expected_fen,
        "pace": progress.pace,
        "raw_level": level,
        "level": level,
        "guards": [],
    }

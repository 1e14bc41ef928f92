"""How districts with an alert that goes on stand now: their progress rows, shared by requests for a moment.

A step keeps the figures as they were; whoever looks at the alert itself wants to know how it is today.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from contracts.alerts.codec import ENDED, Sector, Step
from contracts.days import SHANGHAI
from services.gateway.progress import Evaluations, moment_of
from yumai.evaluation.rows import ProgressRow, progress_rows
from yumai.evaluation.shown import Sums, shown_row
from yumai.http.refusals import Unavailable

KEPT_SECONDS = 2.0
WAIT_SECONDS = 1.0
"""Nobody waits longer for figures of now: alerts are read even where the store is away."""


@dataclass(frozen=True)
class _Kept:
    until: float
    taken_ms: int
    rows: dict[str, list[ProgressRow]] = field(default_factory=dict)


class Standing:
    """Rows of now by year."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations = evaluations
        self._kept: dict[int, _Kept] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def of(
        self, step: Step, sums: Mapping[str | None, Sums] | None = None
    ) -> tuple[list[Sector], ProgressRow] | None:
        """An alert's sectors and figures of now; None: its last step says the last that is known.

        `sums`: what its district is shown, where it is the district that asks.
        """
        if step.state in ENDED:
            return None
        kept = await self._current(step.year)
        if kept is None or kept.taken_ms < step.at:
            return None
        rows = kept.rows.get(step.district, [])
        if sums is not None:
            rows = [shown_row(row, sums) for row in rows]
        of_what = step.figures.get("sector")
        main = next((row for row in rows if row.sector == of_what), None)
        if main is None or main.target_fen is None:
            return None
        sectors = [
            Sector(row.sector, row.level, row.pace, row.attained_fen)
            for row in rows
            if row.sector is not None and row.target_fen is not None
        ]
        return sectors, main

    async def _current(self, year: int) -> _Kept | None:
        kept = self._kept.get(year)
        if kept is not None and time.monotonic() < kept.until:
            return kept
        task = self._tasks.get(year)
        if task is None or task.done():
            task = self._tasks[year] = asyncio.create_task(self._take(year))
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        return self._kept.get(year)

    async def _take(self, year: int) -> None:
        begun, taken_ms = time.monotonic(), int(time.time() * 1000)
        here = datetime.now(SHANGHAI)
        found: dict[str, list[ProgressRow]] = {}
        try:
            moment, shown = moment_of(year, None, here, await self._evaluations.booked())
            judged, day = await self._evaluations.of(year, moment, here.date(), None)
        except Unavailable:
            # Asked again in a while, not by every request.
            known = self._kept.get(year)
            if known is None:
                return
            found, taken_ms = known.rows, known.taken_ms
        else:
            rows = await asyncio.to_thread(progress_rows, judged, None, None, at=shown, day=day)
            for row in rows:
                found.setdefault(row.district, []).append(row)
        took = time.monotonic() - begun
        self._kept[year] = _Kept(time.monotonic() + max(KEPT_SECONDS, took), taken_ms, found)

"""How districts with an alert that goes on stand now: their progress rows, shared by requests for a moment.

A step keeps the figures of its day; a person who opens the alert wants those of today.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.alerts.codec import ENDED, Sector, Step
from contracts.days import SHANGHAI
from services.gateway.progress import Evaluations, moment_of
from yumai.evaluation.rows import ProgressRow, progress_rows
from yumai.evaluation.shown import Sums, shown_row
from yumai.http.refusals import Unavailable
from yumai.sharing.lately import Lately

KEPT_SECONDS = 2.0
MOST_SECONDS = 60.0
WAIT_SECONDS = 1.0
"""Nobody waits longer for figures of now: alerts are read even where the store is away."""


@dataclass(frozen=True)
class _Taken:
    at_ms: int
    rows: dict[str, list[ProgressRow]]


class Standing:
    """Rows of now by year."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations = evaluations
        self._lately: Lately[_Taken] = Lately(share=1.0, least=KEPT_SECONDS, most=MOST_SECONDS)

    async def of(
        self, step: Step, sums: Mapping[str | None, Sums] | None = None
    ) -> tuple[list[Sector], ProgressRow] | None:
        """An alert's sectors and figures of now; None: its last step says the last that is known.

        `sums`: what its district is shown, where it is the district that asks.
        """
        if step.state in ENDED:
            return None
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                taken = await self._lately.of(step.year, lambda: self._take(step.year))
        except (TimeoutError, Unavailable):
            return None
        if taken.at_ms < step.at:
            return None
        rows = taken.rows.get(step.district, [])
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

    async def _take(self, year: int) -> _Taken:
        """Raises Unavailable."""
        at_ms = int(time.time() * 1000)
        here = datetime.now(SHANGHAI)
        moment, shown = moment_of(year, None, here, await self._evaluations.booked())
        judged, day = await self._evaluations.of(year, moment, here.date(), None)
        found: dict[str, list[ProgressRow]] = {}
        for row in await asyncio.to_thread(progress_rows, judged, None, None, at=shown, day=day):
            found.setdefault(row.district, []).append(row)
        return _Taken(at_ms, found)

"""Judges what changed, round by round, while this worker owns the commits; touches store and broker.

    commits.v1 ─▶ changed ─▶ judge (figures of the store) ─▶ lifecycle ─▶ alerts.v1 ─▶ journal

The state changes only by reading `alerts.v1` back, so that what is told and what is remembered are
one. A round begins with everything that the log holds: nothing is told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
from aiokafka.errors import KafkaError

from services.alerts.books import Books
from services.alerts.instruments import ROUND_SECONDS, STEPS
from services.alerts.journal import Journal
from services.alerts.judge import judge
from services.alerts.lifecycle import next_step
from services.alerts.publish import Publisher
from yumai.methods import panel
from yumai.settings import Settings
from yumai.store.client import STORE_ERRORS
from yumai.store.figures import SHANGHAI

log = logging.getLogger("yumai.alerts")

LEAST_SECONDS = 2.0
"""Between two rounds."""
MOST_SECONDS = 30.0
SHARE_OF_TIME = 20
"""A round may take a 20th of the time: while the store is busy booking, figures wait a little."""
PROFILE_SECONDS = 60.0
TICK_SECONDS = 0.25
AWAY_SECONDS = 5.0
"""A broker that does not answer for so long is away."""
OPEN_SECONDS = 60.0
AWAY: tuple[type[Exception], ...] = (KafkaError, TimeoutError, *STORE_ERRORS)


class Rounds:
    """`owns`: whether this worker reads partition 0 of `commits.v1`."""

    def __init__(self, settings: Settings, owns: Callable[[], bool]) -> None:
        self._owns = owns
        self._books = Books(settings.clickhouse_dsn)
        self._journal = Journal(settings.kafka_bootstrap)
        self._publisher = Publisher(settings.kafka_bootstrap)
        self._changed: set[str] = set()
        self._all = True
        self._day: date | None = None
        self._shares: dict[str, np.ndarray] | None = None
        self._shares_of = 0
        self._shares_due = 0.0
        self._profile_changed = True
        self._due = 0.0
        self.opened = False
        self.problem = ""
        self.guard = ""

    def commit(self, districts: set[str]) -> None:
        """These districts' figures have changed."""
        self._changed |= districts
        self._profile_changed = True

    async def run(self) -> None:
        """Runs until cancelled; the world's troubles are waited out."""
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                try:
                    await self._tick()
                    self.problem = ""
                except AWAY as error:
                    text = f"{type(error).__name__}: {error}"[:200]
                    if not self.problem:
                        log.warning("judging waits: %s", text)
                    self.problem = text
                    await self._close()
                    await asyncio.sleep(1.0)
        finally:
            await self._close()

    async def _tick(self) -> None:
        if not self._owns():
            if self.opened:
                log.info("partition 0 of the commits went to another worker")
                await self._close()
            return
        if not self.opened:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._journal.open()
            log.info(
                "journal read: %d alerts, targets of %s",
                len(self._journal.alerts),
                sorted(self._journal.targets),
            )
            self.opened, self._all = True, True
        if time.monotonic() < self._due:
            return
        begun = time.monotonic()
        async with asyncio.timeout(AWAY_SECONDS):
            self._changed |= await self._journal.catch_up()
        today = datetime.now(SHANGHAI).date()
        if today != self._day:
            self._day, self._all = today, True
        if not self._all and not self._changed:
            # Nothing to judge: targets are looked at again in a while.
            self._due = begun + LEAST_SECONDS / 2
            return
        await self._round()
        took = time.monotonic() - begun
        ROUND_SECONDS.observe(took)
        self._due = begun + min(max(took * SHARE_OF_TIME, LEAST_SECONDS), MOST_SECONDS)

    async def _round(self) -> None:
        changed, everyone = self._changed, self._all
        self._changed, self._all = set(), False
        try:
            if not await self._judge(None if everyone else changed):
                # Not judged at all: whoever changed is looked at once that is possible.
                self._changed |= changed
                self._all |= everyone
        except BaseException:
            self._changed |= changed
            self._all |= everyone
            raise

    async def _judge(self, districts: set[str] | None) -> bool:
        """One round over `districts` (None: all). False: nobody could be judged."""
        now = datetime.now(UTC)
        if not self._journal.targets:
            self.guard = "no_target"
            return True
        through = (await asyncio.to_thread(self._books.freshness)).through
        if through is None:
            self.guard = "stale"
            return False
        # As far as the books are: what is not booked yet is not lagging.
        at = min(now, through).astimezone(SHANGHAI)
        targets = self._journal.targets.get(at.year, {})
        if districts is not None:
            targets = {code: fen for code, fen in targets.items() if code in districts}
        if not targets:
            self.guard = "" if districts is not None else "no_target"
            return True
        rows = await asyncio.to_thread(self._books.this_year, at.date())
        await self._profile(at.year)
        judged = judge(at, targets, rows, self._shares)
        self.guard = judged.guard
        if judged.guard:
            return False
        steps = [
            next_step(self._journal.alerts, at.year, code, progress, _ms(at), _ms(now))
            for code, progress in judged.progress.items()
        ]
        told = [step for step in steps if step is not None]
        if told and self._owns():
            async with asyncio.timeout(OPEN_SECONDS):
                await self._publisher.tell(told)
                await self._journal.catch_up()
            for step in told:
                STEPS.labels(step.kind).inc()
                log.info(
                    "alert %s seq=%d %s level=%s pace=%.4f",
                    step.id,
                    step.seq,
                    step.kind,
                    step.level,
                    step.figures.pace,
                )
        return True

    async def _profile(self, year: int) -> None:
        """Past years change seldom: read again once a minute at most, while commits come in."""
        now = time.monotonic()
        if self._shares_of == year and (now < self._shares_due or not self._profile_changed):
            return
        self._profile_changed = False
        rows = await asyncio.to_thread(self._books.past_years, year)
        self._shares = panel.shares(panel.daily(rows), year)
        self._shares_of = year
        took = time.monotonic() - now
        self._shares_due = now + max(PROFILE_SECONDS, took * SHARE_OF_TIME * 5)

    async def _close(self) -> None:
        self.opened = False
        for part in (self._journal, self._publisher):
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(AWAY_SECONDS):
                    await part.close()


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)

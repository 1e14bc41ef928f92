"""What a worker does while it owns the commits, in one loop; touches store and broker.

    actions.v1 ─┐
    time ───────┼─▶ lifecycle ─▶ alerts.v1 ─▶ journal ─▶ settle: work items, deliveries, verdicts
    commits.v1 ─┴─▶ judge (figures of the store)                         └─▶ sending

Every decision begins with everything that the log holds; of two workers that both believe they own it,
the one whose step comes first in the log is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import get_args

import msgspec

from contracts.actions.codec import Action
from contracts.alerts import codec
from contracts.alerts import outbox as outbox_records
from contracts.alerts.outbox import FeedStep, encode
from contracts.days import SHANGHAI
from services.alerts import outbox, settle
from services.alerts.away import AWAY, BROKER_AWAY
from services.alerts.causes import Causes
from services.alerts.judge import Judge
from services.alerts.lifecycle import (
    Ended,
    Event,
    Overdue,
    Tick,
    next_step,
)
from services.alerts.log import AWAY_SECONDS, Log
from services.alerts.looking import Looked, Looks, day_of, over
from services.alerts.publish import ProducerRecord
from services.alerts.sending import Sending
from services.alerts.set_aside import TRIES as FAILURES
from services.alerts.set_aside import SetAside
from yumai import topics
from yumai.observability import telemetry, tracing
from yumai.process.settings import Settings
from yumai.store.client import STORE_ERRORS

log = logging.getLogger("yumai.alerts")

LEAST_SECONDS = 1.0
"""Between the begins of two rounds of judging."""
MOST_SECONDS = 15.0
ROUND_RESTS = 2
"""From one round's begin to the next: twice as long as it took. While the store is busy booking, figures wait."""
FOLLOW_MS = 100
ALL_SECONDS = 60.0
"""Everybody is looked at that often at least."""
HEARD_SECONDS = 0.5
"""With tracing on, a step waits so long for the announcement of the commit that led to it."""
CLOCK_SECONDS = 1.0
TRIES = 50
"""Steps of one event at most: a machine that never ends is a bug."""


class Rounds:
    """`owns`: whether this worker reads partition 0 of `commits.v1`."""

    def __init__(self, settings: Settings, owns: Callable[[], bool], judge: Judge) -> None:
        self._owns = owns
        self._aside = SetAside()
        self._causes = Causes()
        self._log = Log(settings, owns, self._aside, self._causes)
        self._looks = Looks(judge, self._aside)
        self.sending = Sending(settings, self._log.journal, self._log.write, self._aside)
        self._escalate_after = int(settings.alerts_escalate_after * 1000)
        self._repeat_after = int(settings.alerts_repeat_after * 1000)
        self._changed: set[str] = set()
        self._all = True
        self._day: date | None = None
        self._judging: asyncio.Task[Looked] | None = None
        self.set_aside: dict[str, str] = {}
        """What failed twice -> why."""
        self._asked: tuple[set[str], bool] = (set(), False)
        self._due = 0.0
        self._all_due = 0.0
        self._clock_due = 0.0
        self.opened = False
        self.problem = ""
        self.store_problem = ""
        self.guard = ""

    def commit(self, districts: set[str], parents: Sequence[str] = ()) -> None:
        """These districts' figures have changed. `parents`: traces that led here."""
        self._changed |= districts
        self._causes.heard(districts, parents)

    async def run(self) -> None:
        """Runs until cancelled; the world's troubles are waited out."""
        try:
            while True:
                try:
                    await self._tick()
                    self.problem = ""
                except BROKER_AWAY as error:
                    text = f"{type(error).__name__}: {error}"[:200]
                    if not self.problem:
                        log.warning("alerts wait: %s", text)
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
            await asyncio.sleep(FOLLOW_MS / 1000)
            return
        if not self.opened:
            await self._log.open()
            log.info(
                "journal read: %d alerts, %d targets, %d messages wait",
                len(self._log.journal.alerts),
                len(self._log.journal.targets.ordered()),
                len(self._log.journal.waiting) + len(self._log.journal.untold),
            )
            self.opened, self._all = True, True
            self._aside.clear()
            self._clock_due = 0.0
            await self._log.settle()
        await self._log.follow(FOLLOW_MS)
        await self._act()
        await self._clock()
        self._tell_states()
        self.set_aside = self._aside.now()
        await self._judge_round()
        await self._log.settle()
        await self.sending.look()

    # -- people -----------------------------------------------------------------------------------

    async def _act(self) -> None:
        """Everything asked and not done yet, one after the other, in the log's order."""
        for action in list(self._log.journal.actions.values()):
            of = self._log.seq(action.alert_id or "")
            if self._aside.has("action", action.id, of):
                continue
            with self._aside.guard("action", action.id, of):
                await self._act_on(action)

    async def _act_on(self, action: Action) -> None:
        if action.kind == "test":
            self._log.journal.test(action)
        else:
            with contextlib.suppress(Ended):
                while (step := settle.step_for(self._log.journal, action)) is not None:
                    if not await self._log.tell([step]):
                        raise ValueError(f"the step {step.kind} can't be said")
        await self._log.settle()
        verdict = settle.verdict(self._log.journal, action, _now())
        await self._log.put([settle.verdict_record(verdict)])
        await self._log.catch_up()

    # -- time -------------------------------------------------------------------------------------

    async def _clock(self) -> None:
        if time.monotonic() < self._clock_due:
            return
        self._clock_due = time.monotonic() + CLOCK_SECONDS
        now = _now()
        today = day_of(now)
        tick = Tick(
            now, self._escalate_after, self._repeat_after, over(today, self._log.journal.alerts)
        )
        await self._live([(id_, tick) for id_ in self._log.journal.alerts])
        for id_ in list(self._log.journal.items.items):
            day = today.isoformat()
            if not self._aside.has("work_item", id_, day):
                with self._aside.guard("work_item", id_, day):
                    await self._escalate(id_, day, now)

    async def _escalate(self, id_: str, today: str, now: int) -> None:
        event = settle.escalation(self._log.journal, id_, today, now)
        if event is None:
            return
        alert = self._log.journal.alerts.get(event.fields["alert_id"] or "")
        if alert is not None and next_step(alert, Overdue(now)) is not None:
            await self._live([(alert.id, Overdue(now))])
        else:
            # No alert says it to the bureau, so the item does.
            offices = self._log.journal.offices
            event.tell = outbox.told_of_item(event.fields["district"], offices)
        await self._log.put([settle.item_record(event)])
        await self._log.catch_up()
        log.info("overdue work item: %s", id_)

    def _tell_states(self) -> None:
        live = Counter(a.level for a in self._log.journal.alerts.values() if a.state in codec.LIVE)
        telemetry.ALERTS_LIVE.set_all({level: live[level] for level in get_args(codec.Level)})
        feeds = Counter(feed.state for feed in self._log.journal.feeds.values())
        states = get_args(outbox_records.FeedState)
        telemetry.ALERTS_FEEDS.set_all({state: feeds[state] for state in states})

    async def _live(self, events: Sequence[tuple[str, Event]]) -> None:
        """All steps that events bring, each to one alert; many alerts at once cost as much as one."""
        steps: list[codec.StepRecord] = []
        for _ in range(TRIES):
            found = (self._next(id_, event) for id_, event in events)
            steps = [step for step in found if step is not None]
            if not steps:
                return
            await self._log.tell(steps)
        for step in steps:
            error = AssertionError(f"no end of steps: {step.kind}")
            self._aside.failed("alert", step.id, self._log.seq(step.id), error, FAILURES)

    def _next(self, id_: str, event: Event) -> codec.StepRecord | None:
        """The next step; None where there is none, or where the alert is set aside."""
        of = self._log.seq(id_)
        if self._aside.has("alert", id_, of):
            return None
        step = None
        with contextlib.suppress(Ended), self._aside.guard("alert", id_, of, whole=False):
            step = next_step(self._log.journal.alerts.get(id_), event)
        return step

    # -- figures ----------------------------------------------------------------------------------

    async def _judge_round(self) -> None:
        if self._judging is not None:
            if self._judging.done():
                task, self._judging = self._judging, None
                await self._judged(task)
            return
        self._changed |= self._log.journal.changed
        self._log.journal.changed.clear()
        today = datetime.now(SHANGHAI).date()
        if today != self._day or time.monotonic() >= self._all_due:
            # The year goes on and feeds fall silent without any commit.
            self._day, self._all = today, True
            self._all_due = time.monotonic() + ALL_SECONDS
        if time.monotonic() < self._due or not (self._all or self._changed):
            return
        self._asked = (self._changed, self._all)
        self._changed, self._all = set(), False
        districts = None if self._asked[1] else set(self._asked[0])
        await self._log.catch_up()
        targets = self._log.journal.targets.copy()
        self._causes.begin()
        self._judging = asyncio.create_task(
            asyncio.to_thread(self._looks.look, districts, targets, dict(self._log.journal.alerts))
        )

    async def _judged(self, task: asyncio.Task[Looked]) -> None:
        try:
            with self._causes.tell() as work:
                await self._after_judging(task, work)
        finally:
            self._causes.end()

    async def _after_judging(self, task: asyncio.Task[Looked], work: tracing.Work) -> None:
        changed, everyone = self._asked
        try:
            found = task.result()
        except Exception as error:
            # A bug of judging too must not keep people from answering, nor messages from going out.
            text = f"{type(error).__name__}: {error}"[:200]
            if isinstance(error, STORE_ERRORS):
                if not self.store_problem:
                    log.warning("judging waits: %s", text)
            elif text != self.store_problem:
                log.error("judging failed", exc_info=error)
            self.store_problem = text
            telemetry.ALERTS_ROUNDS.inc(result="failed")
            work.fail(type(error).__name__)
            self._changed |= changed
            self._all |= everyone
            self._causes.again()
            self._due = time.monotonic() + LEAST_SECONDS
            return
        self.store_problem = ""
        self.guard = found.guard
        telemetry.ALERTS_ROUND_SECONDS.observe(found.took)
        telemetry.ALERTS_ROUNDS.inc(result="guarded" if found.guard else "judged")
        work.note("yumai.guard", found.guard)
        wait = min(max(found.took * ROUND_RESTS, LEAST_SECONDS), MOST_SECONDS)
        self._due = time.monotonic() + max(wait - found.took, 0.0)
        if not found.judged:
            # Nobody was judged: the changed districts are judged as soon as that is possible.
            self._changed |= changed
            self._all |= everyone
            self._causes.again()
        events = {codec.alert_id(e.year, e.district): e for e in found.events}
        if tracing.on() and any(self._next(i, e) for i, e in events.items()):
            await asyncio.sleep(HEARD_SECONDS)
        await self._log.catch_up()
        self._log.stands |= events
        await self._live(list(events.items()))
        await self._feeds(found.feeds)

    async def _feeds(self, feeds: list[dict]) -> None:
        for feed in feeds:
            platform, state = feed["platform_id"], feed["state"]
            known = self._log.journal.feeds.get(platform)
            if state == (known.state if known is not None else "ok"):
                continue
            districts = sorted(feed.get("districts") or [])
            step = FeedStep(
                platform,
                (known.seq if known is not None else 0) + 1,
                _now(),
                state,
                feed.get("last_entry_at"),
                districts,
            )
            heard = sorted({*districts, *(known.districts if known is not None else ())})
            step.tell = outbox.told_of_feed(
                msgspec.structs.replace(step, districts=heard), self._log.journal.offices
            )
            await self._log.put([ProducerRecord(topics.FEEDS, platform, encode(step))])
            await self._log.catch_up()
            log.info("feed %s is %s", platform, state)

    async def _close(self) -> None:
        self.opened = False
        if self._judging is not None:
            task, self._judging = self._judging, None
            with contextlib.suppress(*AWAY, asyncio.CancelledError):
                await asyncio.wait({task}, timeout=AWAY_SECONDS)
            self._all = True
            self._causes.end("cancelled")
        telemetry.ALERTS_LIVE.set_all({})
        telemetry.ALERTS_SET_ASIDE.set_all({})
        telemetry.ALERTS_FEEDS.set_all({})
        telemetry.ALERTS_WAITING.set(None)
        telemetry.ALERTS_OUTBOX_AGE.set(None)
        with contextlib.suppress(*AWAY):
            await self.sending.close()
        await self._log.close()


def _now() -> int:
    return int(time.time() * 1000)

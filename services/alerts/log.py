"""The log as alerts write it: steps with whom they are told, and what follows from them; touches the broker.

The state changes only by reading back what was written, so that what is told and what is remembered are one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from contracts.alerts import codec
from contracts.alerts.outbox import Delivery
from contracts.traces import to_kafka
from services.alerts import outbox, settle
from services.alerts.away import AWAY
from services.alerts.causes import Causes
from services.alerts.journal import Journal
from services.alerts.lifecycle import Judged, rests_on
from services.alerts.publish import ProducerRecord, Publisher
from services.alerts.set_aside import SetAside
from yumai import topics
from yumai.broker.reader import Reader
from yumai.journal.fold import TOPICS
from yumai.observability import telemetry, tracing
from yumai.process.settings import Settings
from yumai.sealing import Sealer

log = logging.getLogger("yumai.alerts")

AWAY_SECONDS = 5.0
"""A broker that does not answer for so long is away."""
OPEN_SECONDS = 60.0
NOT_JUDGED = ("acknowledged", "explained", "silenced", "escalated", "reminded", "missed")
"""Steps that follow from no figures."""


class Log:
    """Raises one of BROKER_AWAY while the broker is away. `owns`: whether this worker may write."""

    def __init__(
        self, settings: Settings, owns: Callable[[], bool], aside: SetAside, causes: Causes
    ) -> None:
        sealer = Sealer(settings.subscriptions_key, settings.identity_dir)
        self.journal = Journal(sealer.opened)
        self._reader = Reader(settings.kafka, TOPICS, self.journal.take, "yumai-alerts-journal")
        self._publisher = Publisher(settings.kafka)
        self._owns, self._aside, self._causes = owns, aside, causes
        self.stands: dict[str, Judged] = {}
        """What the last round said of each alert."""

    async def open(self) -> None:
        """Everything, from the start: nothing is kept of what was read before."""
        self.journal.clear()
        self.stands.clear()
        self._reader.forget()
        async with asyncio.timeout(OPEN_SECONDS):
            await self._reader.open()
            await self._reader.catch_up()

    async def follow(self, milliseconds: int) -> None:
        """Takes the records that come within that time; returns with the first ones."""
        async with asyncio.timeout(AWAY_SECONDS):
            await self._reader.poll(milliseconds)

    async def close(self) -> None:
        for part in (self._reader, self._publisher):
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(AWAY_SECONDS):
                    await part.close()

    def seq(self, alert: str) -> int:
        """The number of an alert's last step; 0: it has none."""
        known = self.journal.alerts.get(alert)
        return known.seq if known is not None else 0

    async def tell(self, steps: list[codec.StepRecord]) -> bool:
        """Steps, with whom they are told, to the log; then what the log says holds. False: none could be said."""
        if not self._owns():
            raise TimeoutError("partition 0 of the commits went to another worker")
        attributes = {"messaging.system": "kafka", "messaging.destination.name": topics.ALERTS.name}
        ready = [(step, value) for step in steps if (value := self._said(step)) is not None]
        records = []
        with contextlib.ExitStack() as sends:
            for step, value in ready:
                parents = self._causes.of(step.district)
                sent = tracing.work(f"send {topics.ALERTS.name}", parents, "producer", attributes)
                headers = tuple(to_kafka(sends.enter_context(sent).parents or parents))
                records.append(ProducerRecord(topics.ALERTS, step.id, value, headers))
            await self.put(records)
        await self.catch_up()
        for step, _ in ready:
            self._aside.done("alert", step.id)
            telemetry.ALERTS_STEPS.inc(kind=step.kind)
            log.info(
                "alert %s seq=%d %s level=%s pace=%s by=%s",
                step.id,
                step.seq,
                step.kind,
                step.level,
                step.figures.get("pace"),
                step.by,
            )
        return bool(ready)

    def _said(self, step: codec.StepRecord) -> bytes | None:
        """The step as it goes to the log; None: it can't be said, and counts against its alert."""
        with self._aside.guard("alert", step.id, self.seq(step.id), whole=False):
            self._figures_of_now(step)
            step.tell = outbox.told(step, self.journal.offices)
            return codec.encode(step)
        return None

    def _figures_of_now(self, step: codec.StepRecord) -> None:
        """People and time act on an alert as it stands, not as it was judged when it opened."""
        judged = self.stands.get(step.id)
        if step.kind not in NOT_JUDGED or judged is None or not judged.figures:
            return
        # What lagged and may not be judged now stays in it: else its silence would look like recovery.
        if not rests_on(step, judged.unknown):
            step.figures, step.sectors = judged.figures, list(judged.sectors)

    async def settle(self) -> None:
        """Writes the deliveries and work items that follow from the log and are not in it yet."""
        made: list[Delivery] = []
        for source in list(self.journal.untold):
            if not self._aside.has("message", source):
                with self._aside.guard("message", source):
                    made += settle.deliveries(self.journal, source, _now())
        # Items one by one: whether one is new depends on the one before.
        for event_id in list(self.journal.explained):
            if self._aside.has("work_item", event_id):
                continue
            with self._aside.guard("work_item", event_id):
                step = self.journal.explained[event_id]
                known = step.work_item_id in self.journal.items.items
                event = settle.work_item_event(step, event_id, known)
                await self.put([settle.item_record(event)])
                await self.catch_up()
        if made:
            await self.write(made)

    async def write(self, deliveries: list[Delivery]) -> None:
        await self.put([settle.delivery_record(delivery) for delivery in deliveries])
        for delivery in deliveries:
            self.journal.note(delivery)

    async def put(self, records: Iterable[ProducerRecord]) -> None:
        async with asyncio.timeout(OPEN_SECONDS):
            await self._publisher.tell(records)

    async def catch_up(self) -> None:
        async with asyncio.timeout(OPEN_SECONDS):
            await self._reader.catch_up()


def _now() -> int:
    return int(time.time() * 1000)

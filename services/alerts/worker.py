"""The alerts worker: a Faust app over `commits.v1`; wiring and nothing else.

An event is acknowledged as soon as its districts are noted: a worker that begins to judge looks at all
districts first, so nothing depends on the group's offset.
"""

from __future__ import annotations

import asyncio
import logging
import os

import faust
from faust.types import TP

from contracts import traces
from contracts.commits import codec
from services.alerts.by_evaluation import ByEvaluation
from services.alerts.rounds import Rounds
from yumai.broker.principals import ALERTS_GROUP
from yumai.broker.stray import passed_over
from yumai.http import health
from yumai.observability import tracing
from yumai.process.faust_app import faust_app, health_pages
from yumai.process.settings import Settings
from yumai.topics import COMMITS

log = logging.getLogger("yumai.alerts")

OWNED = TP(COMMITS.name, 0)
STOP_SECONDS = 15.0
"""Less than the time that a service has to end in."""


class Worker:
    """One of any number; only the one with partition 0 of the commits judges."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        judge = ByEvaluation(settings.clickhouse_dsn, settings.alerts_rules)
        self.rounds = Rounds(settings, self.owns, judge)
        self.stopping = False
        self._judging: asyncio.Task[None] | None = None
        self.app = self._faust()

    def owns(self) -> bool:
        consumer = self.app.consumer
        return consumer is not None and not self.app.rebalancing and OWNED in consumer.assignment()

    def state(self) -> health.Health:
        """What `/health/ready` says. A worker without the partition stands by, and is ready."""
        joined = self.app.consumer is not None and not self.app.rebalancing and self.app.in_worker
        owner = self.owns()
        waiting_for = {}
        if not joined:
            waiting_for["group"] = "it has not joined yet"
        if problem := self.rounds.problem or self.rounds.store_problem:
            waiting_for["rounds"] = problem
        elif owner and not self.rounds.opened:
            waiting_for["rounds"] = "the first one has not begun"
        about = {
            "worker": self.settings.worker,
            "judges": owner,
            "guard": self.rounds.guard,
            "given_up": self.rounds.sending.given_up,
            "set_aside": self.rounds.set_aside,
        }
        return health.ready("alerts", waiting_for, about)

    def _faust(self) -> faust.App:
        app = faust_app(
            ALERTS_GROUP,
            self.settings,
            stream_buffer_maxsize=512,
            # What came before is in the figures that the first round judges.
            consumer_auto_offset_reset="latest",
        )
        topic = app.topic(COMMITS.name, value_type=bytes, key_type=bytes)

        @app.agent(topic, concurrency=1)
        async def commits(stream: faust.Stream) -> None:
            async for events in stream.noack_take(256, within=0.2):
                for event in events:
                    parents = traces.of_kafka(event.message.headers) if tracing.on() else ()
                    self.rounds.commit(districts_of(event.value, event.message.offset), parents)
                    await stream.ack(event)

        @app.task
        async def start() -> None:
            self._judging = asyncio.get_running_loop().create_task(self.rounds.run())
            self._judging.add_done_callback(self._ended)

        @app.on_before_shutdown.connect
        async def stop(_: faust.App, **__: object) -> None:
            # Work in progress is in the log already, or the next worker does it again.
            self.stopping = True
            if self._judging is not None:
                self._judging.cancel()
                await asyncio.wait({self._judging}, timeout=STOP_SECONDS)

        health_pages(app, "alerts", self.state, self.settings.metrics_token)
        return app

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.stopping:
            log.warning("judging ended: %r", error)
            return
        # A bug: end loudly, nothing half done hangs on this process.
        log.critical("judging ended", exc_info=error)
        os._exit(1)


def districts_of(value: bytes | None, offset: int = -1) -> set[str]:
    """Districts of one commit; a record that can't be read is named in the log, and changes none."""
    try:
        return {change.district for change in codec.decode(value or b"").changes}
    except Exception as error:
        passed_over(COMMITS.name, offset, error)
        return set()

"""The metrics worker: a Faust app over `entries.v1`; wiring and nothing else.

Faust brings the group, the rebalances and the commits. Where a partition begins is decided by
`placement`, not by the group's offset, and an event is acknowledged only when its block is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

import faust
from clickhouse_connect.driver.client import Client
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.metrics import placement
from services.metrics.attempts import Attempts
from services.metrics.decoding import EntriesRecord
from services.metrics.flush import Flush, Stopping
from services.metrics.processor import BookedBefore, Processor
from services.metrics.projections import Projections
from services.metrics.pump import Pump, die
from services.metrics.round import PartitionState, PartRound
from services.metrics.seen import Filter
from yumai.broker import epochs
from yumai.broker.principals import METRICS_GROUP
from yumai.broker.security import client_options
from yumai.http import health
from yumai.observability import telemetry
from yumai.process.faust_app import faust_app, health_pages
from yumai.process.settings import Settings
from yumai.store.address import Dsn
from yumai.store.client import STORE_ERRORS, connect
from yumai.store.layout import Layout
from yumai.store.migrate import APPLIED, require_schema
from yumai.topics import ENTRIES, MESSAGE_MAX_BYTES

log = logging.getLogger("yumai.metrics")

PROGRESS_SECONDS = 2.0
CLOCK_MARGIN_MS = 1_000
"""How much the broker's clock may be behind ours when an idle partition says up to when it is read."""
AHEAD_SECONDS = 5.0
HINT_SECONDS = 10.0

DRAIN_SECONDS = 8.0
"""Until what was taken is written, when told to stop."""


class PlacedConsumer(driver.Consumer):
    """Faust's consumer, but a rebalance seeks to where the books are, not to the committed offset."""

    worker: Worker

    async def seek_to_committed(self) -> Mapping[TP, int]:
        committed: Mapping[TP, int] = {}
        with contextlib.suppress(TimeoutError):
            # Only a hint: a coordinator that does not answer must not keep the books waiting.
            async with asyncio.timeout(HINT_SECONDS):
                committed = await super().seek_to_committed()
        starts = self.worker.rebalanced({tp: committed.get(tp) for tp in self.assignment()})
        if starts:
            await self.seek_wait(starts)
        return {tp: starts.get(tp, committed.get(tp) or 0) for tp in self.assignment()}


class Worker:
    def __init__(self, settings: Settings, epoch: epochs.Epoch) -> None:
        self.settings = settings
        self.epoch = epoch
        self.waiting = ""
        self.stopping = False
        """Told to stop, and all is written: what fails from here on fails for that reason."""
        self.flush = Flush(settings.clickhouse_dsn, settings.kafka, settings.worker, self._on_wait)
        self.processor = Processor(epoch.epoch, self._look_up, epoch.slot_function)
        self.pump: Pump | None = None
        self.attempts = Attempts(settings.work_dir)
        self.placing: dict[int, asyncio.Task[None]] = {}
        self.projections = Projections(settings)
        self._lookups: Client | None = None
        self._removing: asyncio.Future[None] | None = None
        self.app = self._faust()

    # -- Faust ----------------------------------------------------------------------------------

    def _faust(self) -> faust.App:
        app = faust_app(
            METRICS_GROUP,
            self.settings,
            # Messages, not entries: enough records to keep both threads busy.
            stream_buffer_maxsize=160,
            broker_max_poll_interval=3600.0,
            consumer_max_fetch_size=MESSAGE_MAX_BYTES,
            consumer_auto_offset_reset="earliest",
        )
        consumer = type("PlacedConsumer", (PlacedConsumer,), {"worker": self})
        app.transport.Consumer = consumer
        topic = app.topic(ENTRIES.name, value_type=bytes, key_type=bytes)

        @app.agent(topic, concurrency=1)
        async def entries(stream: faust.Stream) -> None:
            async for events in stream.noack_take(64, within=0.05):
                assert self.pump is not None
                await self.pump.accept([(_record(event.message), event) for event in events])
                for event in events:
                    event.message.value = None
                    event.value = None

        @app.task
        async def start() -> None:
            asyncio.get_running_loop().create_task(self._guard(self._pump().run()))
            asyncio.get_running_loop().create_task(self._guard(self._tell_progress()))
            self.projections.start()

        @app.on_before_shutdown.connect
        async def flush(_: faust.App, **__: object) -> None:
            # Nothing would be lost without it: the next worker would read the round again.
            if self.pump is not None:
                done = await self.pump.drain(DRAIN_SECONDS)
                log.info("stopping: %s", "all is written" if done else "a round was left unwritten")
                self.flush.stop.set()
            self.stopping = True

        health_pages(app, "metrics", self.state, self.settings.metrics_token)
        return app

    def _pump(self) -> Pump:
        if self.pump is None:
            self.pump = Pump(self.processor, self.flush, self.attempts)
        return self.pump

    async def _guard(self, work) -> None:  # type: ignore[no-untyped-def]
        try:
            await work
        except (asyncio.CancelledError, Stopping):
            raise
        except Exception:
            if not self.stopping:
                die("the worker's loop failed")

    def state(self) -> health.Health:
        """What `/health/ready` says."""
        states = dict(self.processor.states)
        stopped = {part: s.stopped for part, s in states.items() if s.stopped}
        placing = self._unplaced()
        assigned = self.app.consumer is not None and not self.app.rebalancing
        waiting_for = {f"partition {part}": str(why) for part, why in stopped.items()}
        if not assigned:
            waiting_for["group"] = "partitions are not assigned yet"
        if placing:
            waiting_for["placing"] = f"partitions {placing} are being placed"
        if self.waiting:
            waiting_for["start"] = str(self.waiting)
        about = {
            "worker": self.settings.worker,
            "partitions": sorted(states),
            "projections": self.projections.problem,
        }
        return health.ready("metrics", waiting_for, about)

    def _tell_states(self) -> None:
        states = list(self.processor.states.values())
        stopped = sum(bool(state.stopped) for state in states)
        numbers = {
            "placed": len(self._pump().expected),
            "placing": len(self._unplaced()),
            "stopped": stopped,
        }
        telemetry.METRICS_PARTITIONS.set_all(numbers)

    def _unplaced(self) -> list[int]:
        """Assigned partitions that take no records yet."""
        consumer, expected = self.app.consumer, self.pump.expected if self.pump else {}
        assigned = consumer.assignment() if consumer is not None and self.app.in_worker else ()
        states = self.processor.states
        return sorted(
            tp.partition
            for tp in assigned
            if tp.partition not in expected
            and not (tp.partition in states and states[tp.partition].stopped)
        )

    def _on_wait(self, why: str) -> None:
        self.waiting = why

    # -- partitions -----------------------------------------------------------------------------

    def rebalanced(self, committed: dict[TP, int | None]) -> dict[TP, int]:
        """The assignment as it is now. Returns where kept partitions go on; others are placed."""
        pump = self._pump()
        parts = {tp.partition: offset for tp, offset in committed.items()}
        for part in [p for p in pump.expected if p not in parts]:
            # Out at once: a record that still comes is dropped; the sorter forgets it in its turn.
            pump.expected.pop(part)
            self._removing = asyncio.ensure_future(pump.remove(part))
        for part in [p for p in self.placing if p not in parts]:
            self.placing.pop(part).cancel()
        starts = {}
        for tp in committed:
            part = tp.partition
            if part in pump.expected:
                starts[tp] = pump.expected[part]
            elif part not in self.placing or self.placing[part].done():
                self.placing[part] = asyncio.ensure_future(
                    self._guard(self._place(tp, parts[part]))
                )
        self.projections.active = 0 in parts
        return starts

    async def _place(self, tp: TP, committed: int | None) -> None:
        """Finds the start, loads what is seen below it, and puts the consumer there."""
        part, attempt = tp.partition, 0
        loop = asyncio.get_running_loop()
        while True:
            try:
                start, filter_, gone = await loop.run_in_executor(
                    None, self._read_placement, part, committed
                )
                break
            except (*STORE_ERRORS, KafkaError) as error:
                self.waiting = f"placing partition {part}: {str(error)[:200]}"
                if attempt == 0:
                    log.warning("%s", self.waiting)
                attempt += 1
                await asyncio.sleep(min(2.0, 0.2 * attempt))
        self.waiting = ""
        pump = self._pump()
        await pump.place(part, start.offset, filter_, start.written)
        poison = self.attempts.poison(part)
        if poison is not None:
            self.processor.states[part].poison = (
                poison,
                "the worker died twice at this record and would again: keep its log; after a repair remove"
                f" {self.attempts.path}, {placement.RESTART_HINT}",
            )
        if start.written >= 0:
            self.flush.held.append((self.epoch.epoch, part, start.written))
        if gone:
            state = self.processor.states[part]
            state.stopped = gone
            log.critical("partition %d: %s", part, state.stopped)
            pump.expected.pop(part, None)
            await pump.on_writer(self.flush.progress, [PartRound(state)], int(time.time() * 1000))
            return
        await self._seek(tp, start.offset)
        log.info("partition %d placed at %d (%s)", part, start.offset, start)

    async def _seek(self, tp: TP, offset: int) -> None:
        consumer = self.app.consumer
        await consumer.seek_wait({tp: offset})
        await consumer.seek(tp, offset)

    def _read_placement(
        self, part: int, committed: int | None
    ) -> tuple[placement.Start, Filter, str]:
        """(start, what is seen below, why the partition can't begin; "" where it can)."""
        epoch = self.epoch
        client = connect(self.settings.clickhouse_dsn, sequential=True, with_canary=True)
        try:
            require_schema(client.query(APPLIED).result_rows)
            start = placement.start_of(client, epoch.epoch, part, committed)
            older = placement.older_epoch_of_old_ids(client, epoch.epoch)
            gone = placement.missing(start, self._log_start(part), older)
            if gone:
                # Only what can be made again is removed.
                return start, Filter(), gone
            layout = Layout(Dsn.parse(self.settings.clickhouse_dsn).cluster)
            if placement.drop_foreign_function(client, layout, epoch.epoch, part, start.offset):
                start = placement.Start(start.offset, -1)
            filter_ = placement.load_filter(
                client, epoch.epoch, part, epoch.partitions, start.offset, epoch.slot_function
            )
            return start, filter_, ""
        finally:
            client.close()

    def _log_start(self, part: int) -> int:
        consumer = self._asker()
        try:
            tp = TopicPartition(ENTRIES.name, part)
            return consumer.beginning_offsets([tp])[tp]
        finally:
            consumer.close()

    def _look_up(self, part: int, below: int, ids) -> BookedBefore:  # type: ignore[no-untyped-def]
        """Asks the ledger, in the sorting thread; waits while the store is away."""
        attempt = 0
        while True:
            try:
                if self._lookups is None:
                    self._lookups = connect(
                        self.settings.clickhouse_dsn, timeout=300, sequential=True, with_canary=True
                    )
                return placement.look_up(self._lookups, self.epoch.epoch, part, below, ids)
            except STORE_ERRORS as error:
                self._lookups = None
                if self.flush.stop.wait(min(2.0, 0.2 * attempt)):
                    raise Stopping(str(error)) from error
                attempt += 1

    def _asker(self) -> KafkaConsumer:
        return KafkaConsumer(**client_options(self.settings.kafka), reconnect_backoff_max_ms=1_000)

    # -- progress -------------------------------------------------------------------------------

    async def _tell_progress(self) -> None:
        """Idle partitions say up to when they are read; lost positions are sought again."""
        pump = self._pump()
        loop = asyncio.get_running_loop()
        consumer: KafkaConsumer | None = None
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            self._tell_states()
            if not self.app.rebalancing and any(
                part not in self.placing or self.placing[part].done() for part in self._unplaced()
            ):
                # The rebalance passed us by (a time limit of Faust's): begin without its hint.
                log.warning("placing %s, not placed by the rebalance", self._unplaced())
                self.rebalanced(dict.fromkeys(self.app.consumer.assignment()))
            for part, since in list(pump.ahead_since.items()):
                if time.monotonic() - since > AHEAD_SECONDS and part in pump.expected:
                    log.warning("partition %d: seeking %d again", part, pump.expected[part])
                    pump.ahead_since.pop(part, None)
                    await self._seek(TP(ENTRIES.name, part), pump.expected[part])
            idle = {part: pump.expected[part] for part in list(pump.expected) if pump.idle(part)}
            if not idle:
                continue
            try:
                asked_at = int(time.time() * 1000)
                if consumer is None:
                    consumer = await loop.run_in_executor(None, self._asker)
                assert consumer is not None
                partitions = [TopicPartition(ENTRIES.name, part) for part in idle]
                ends = await loop.run_in_executor(None, consumer.end_offsets, partitions)
            except KafkaError:
                consumer = None
                continue
            shares = []
            for tp, end in ends.items():
                state = self.processor.states.get(tp.partition)
                if state is None or state.stopped or end != idle[tp.partition]:
                    continue
                share = PartRound(_as_of(state))
                share.last_timestamp = asked_at - CLOCK_MARGIN_MS
                shares.append(share)
            if shares:
                await pump.on_writer(self.flush.progress, shares, asked_at)


def _as_of(state: PartitionState) -> PartitionState:
    return PartitionState(state.epoch, state.part, state.next_offset, state.seen)


def _record(message) -> EntriesRecord:  # type: ignore[no-untyped-def]
    return EntriesRecord(
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        dict(message.headers or {}),
        message.value,
    )

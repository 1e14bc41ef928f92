"""Group commit: what arrives while a round is in work joins the next one.

A round: judge (in a thread) → entries and dead letters durable → receipts durable → answers.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from contracts import traces
from contracts.entries.codec import Header
from contracts.receipts import codec as receipt_codec
from contracts.receipts.codec import Receipt
from services.ingest import batches
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Chunk, Outcome, Request, judge
from services.ingest.publish import ACK_SECONDS, Message, NotDurable, Publisher
from services.ingest.queue import Chunk as Taken
from services.ingest.queue import Queue
from yumai.observability import telemetry, tracing
from yumai.sharing.workers import Workers
from yumai.topics import DEAD_LETTERS, ENTRIES, RECEIPTS

log = logging.getLogger("yumai.ingest")

WAIT_SECONDS = 0.01
"""What a small request waits for company at most, where others come too."""
ROUNDS_AT_ONCE = 4
ROUNDS_EACH = 3
"""Of one sender's turn: so another's next round begins without waiting for one of these."""
_FULL_ROWS = 16_384


@dataclass
class Waiting:
    request: Request | None
    """None: a request without rows."""
    receipt_of: Callable[[Outcome], Receipt] | None
    done: asyncio.Future[tuple[Outcome, Receipt | None]]
    since: float


class Rounds:
    def __init__(self, publisher: Publisher, index: MerchantIndex, workers: Workers) -> None:
        self._publisher, self._index, self._workers = publisher, index, workers
        self._waiting: Queue[Waiting] = Queue()
        self._last_size = 0
        self._behind = False
        """More waits than there are rounds for."""
        self._leading: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._ended = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def commit(
        self,
        sender: str,
        request: Request | None,
        size: int,
        receipt_of: Callable[[Outcome], Receipt] | None,
    ) -> tuple[Outcome, Receipt | None]:
        """The outcome, when all of it is durable, receipt included. Raises NotDurable."""
        done: asyncio.Future = asyncio.get_running_loop().create_future()
        waiting = Waiting(request, receipt_of, done, time.monotonic())
        kind, rows = (request.kind, request.columns.rows) if request else (None, 0)
        self._waiting.add(sender, kind, waiting, rows, size)
        self._wake.set()
        if self._waiting.rows >= _FULL_ROWS:
            self._full.set()
        return await done

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._behind:
                await self._gather()
            self._last_size = len(self._waiting)
            self._wake.clear()
            self._full.clear()
            while (chunk := self._next()) is not None:
                task = asyncio.create_task(self._round(chunk.sender, chunk.items))
                self._running.add(task)
                self._leading[chunk.sender] += 1
                task.add_done_callback(functools.partial(self._end, chunk.sender))
            self._behind = len(self._waiting) > 0

    def _next(self) -> Taken[Waiting] | None:
        if len(self._running) >= ROUNDS_AT_ONCE:
            return None
        return self._waiting.chunk([s for s, n in self._leading.items() if n >= ROUNDS_EACH])

    def _end(self, sender: str, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._leading[sender] -= 1
        if not self._leading[sender]:
            del self._leading[sender]
        self._ended.set()
        if self._behind:
            self._wake.set()

    async def _gather(self) -> None:
        """Waits for company: until enough has come or WAIT_SECONDS are over.

        A sender that comes alone, one request after the other, is not kept waiting.
        """
        alone = self._last_size <= 1
        if self._full.is_set() or (alone and not self._running):
            return
        self._ended.clear()
        events = (self._ended, self._full) if alone else (self._full,)
        until = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(until, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in until:
            task.cancel()

    async def _round(self, sender: str, waiting: list[Waiting]) -> None:
        try:
            await self._write(sender, waiting)
        except NotDurable as error:
            _fail(waiting, error)
        except Exception as error:
            # A bug in one request must not take its neighbours along.
            log.exception("round_failed requests=%d", len(waiting))
            if len(waiting) == 1:
                _fail(waiting, NotDurable(f"not processed: {type(error).__name__}"))
                return
            for one in waiting:
                await self._round(sender, [one])

    async def _write(self, sender: str, waiting: list[Waiting]) -> None:
        begun = time.monotonic()
        requests = [one.request for one in waiting if one.request is not None]
        # While Kafka is away nobody waits longer than ACK_SECONDS in all.
        waited = begun - min(one.since for one in waiting)
        await self._publisher.ready(max(1.0, ACK_SECONDS - waited))
        epoch = self._publisher.epoch
        assert epoch is not None
        outcomes: Iterable[Outcome] = ()
        refused: dict[str, int] = {}
        if requests:
            now_ms = time.time_ns() // 1_000_000
            parents = (parent for request in requests for parent in request.parents)
            with tracing.work("group commit", parents) as work:
                chunk = await self._workers.run(
                    sender,
                    judge,
                    requests,
                    self._index,
                    epoch.partitions,
                    now_ms,
                    epoch.slot_function,
                )
                # A refused row costs more than a good one: others have their turn in between.
                refusals, chunk.dead = iter(chunk.dead), []
                while (record := await self._workers.run(sender, next, refusals, None)) is not None:
                    chunk.dead.append(record)
                if self._publisher.epoch != epoch:
                    raise NotDurable("the log was re-created meanwhile")
                await self._publisher.send(messages(chunk, epoch.epoch, requests, work))
            outcomes, refused = chunk.outcomes, chunk.refused
        judged = iter(outcomes)
        results = [
            (one, next(judged) if one.request is not None else Outcome(0, 0)) for one in waiting
        ]
        receipts = [
            (one, outcome, one.receipt_of(outcome) if one.receipt_of else None)
            for one, outcome in results
        ]
        await self._publisher.send(
            [
                Message(RECEIPTS.name, receipt_codec.encode(receipt), receipt.receipt_id.encode())
                for _, _, receipt in receipts
                if receipt is not None
            ]
        )
        telemetry.INGEST_ROUNDS.inc()
        telemetry.INGEST_ROUND_SECONDS.observe(time.monotonic() - begun)
        count_refused("http", refused)
        for one, outcome, receipt in receipts:
            if not one.done.done():
                one.done.set_result((outcome, receipt))


def count_entries(door: str, format: str, outcome: Outcome) -> None:
    telemetry.INGEST_ENTRIES.inc(outcome.accepted, door=door, format=format, result="accepted")
    telemetry.INGEST_ENTRIES.inc(outcome.rejected, door=door, format=format, result="rejected")


def count_refused(door: str, refused: dict[str, int]) -> None:
    for code, rows in refused.items():
        telemetry.INGEST_REJECTS.inc(rows, door=door, code=code)


def messages(
    chunk: Chunk, epoch: int, requests: Sequence[Request], work: tracing.Work
) -> list[Message]:
    """`work`: what the requests' traces have come to, if they are recorded here."""

    def parents(record: batches.EncodedRecord) -> Sequence[str]:
        given = [parent for number in record.requests for parent in requests[number].parents]
        if not tracing.on():
            return given[: traces.TRACES_MOST]
        return work.parents_of({traces.trace_id(parent) for parent in given})

    entries = [
        Message(
            ENTRIES.name,
            record.value,
            partition=record.partition,
            headers=Header(
                epoch, record.entries, chunk.recorded_on, chunk.slot_function
            ).to_kafka(),
            parents=parents(record) if record.requests else (),
        )
        for record in chunk.entries
    ]
    dead = [
        Message(DEAD_LETTERS.name, value, platform.encode(), 0) for platform, value in chunk.dead
    ]
    return entries + dead


def _fail(waiting: list[Waiting], error: NotDurable) -> None:
    for one in waiting:
        if not one.done.done():
            one.done.set_exception(error)

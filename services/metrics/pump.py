"""Between Faust and the books: rounds of records, one sorted while the one before is written.

Two threads do the work (sorting; writing), so the event loop only passes records on. A handler
never raises into Faust: infrastructure errors are waited out in `flush`; anything else ends the
process with nothing acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from contracts import traces
from contracts.entries import codec
from services.metrics.attempts import Attempts, Range
from services.metrics.decoding import EntriesRecord
from services.metrics.flush import Flush, Stopping, StoreReplaced
from services.metrics.ledger import LedgerBuffer
from services.metrics.processor import Processor
from services.metrics.round import Round
from services.metrics.seen import Filter
from yumai.observability import telemetry, tracing
from yumai.topics import ENTRIES

log = logging.getLogger("yumai.metrics")

ROUND_ROWS = 600_000
"""Rows that make a round at once: inserts of this size are the cheapest (docs/engines.md)."""
ROUND_SECONDS = 0.4
"""A round with fewer rows waits so long: visible within two seconds, not a part a record."""
WAITING_ROWS = ROUND_ROWS + ROUND_ROWS // 4


class Acknowledgeable(Protocol):
    """A Faust event: kept, without its value, until its block is complete."""

    def ack(self) -> bool: ...


def die(why: str) -> None:
    """Ends the process at once: state in memory may be half changed, nothing is acknowledged."""
    log.critical("%s", why, exc_info=True)
    logging.shutdown()
    os._exit(1)


class Pump:
    """Takes records in (`accept`), writes rounds, acknowledges complete blocks."""

    def __init__(self, processor: Processor, flush: Flush, attempts: Attempts) -> None:
        self.processor = processor
        self.flush = flush
        self._attempts = attempts
        self.expected: dict[int, int] = {}
        """Partition -> the next offset it takes; only placed partitions are here."""
        self.ahead_since: dict[int, float] = {}
        """Partition -> since when records beyond the expected one come: the consumer must be placed."""
        self.rounds = 0
        self.last_round_seconds = 0.0
        self.busy = False
        self._pending: dict[int, list[EntriesRecord]] = defaultdict(list)
        self._pending_rows = 0
        self._pending_since = 0.0
        self._unacknowledged: dict[int, list[tuple[int, Acknowledgeable]]] = defaultdict(list)
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._sorter = ThreadPoolExecutor(1, "sort")
        self._writer = ThreadPoolExecutor(1, "write")
        self._buffers = [LedgerBuffer(ROUND_ROWS + 50_000), LedgerBuffer(ROUND_ROWS + 50_000)]
        self._writing: asyncio.Future[None] | None = None

    # -- partitions -----------------------------------------------------------------------------

    async def place(self, part: int, start: int, filter_: Filter, written: int) -> None:
        """The partition begins at `start`, a block's first offset; see `Processor.assign`."""
        await self._sort(self.processor.assign, part, start, filter_, written)
        self._forget(part)
        self.expected[part] = start

    async def remove(self, part: int) -> None:
        self._forget(part)
        self.expected.pop(part, None)
        await self._sort(self.processor.revoke, part)

    def _forget(self, part: int) -> None:
        for record in self._pending.pop(part, []):
            self._pending_rows -= _rows(record)
        self._unacknowledged.pop(part, None)
        self.ahead_since.pop(part, None)

    # -- records --------------------------------------------------------------------------------

    async def accept(self, records: list[tuple[EntriesRecord, Acknowledgeable]]) -> None:
        """Takes records in order; waits while too many wait. Repeated and stray ones are dropped."""
        for record, event in records:
            expected = self.expected.get(record.part)
            if expected is None or record.offset < expected:
                continue
            if record.offset > expected:
                self.ahead_since.setdefault(record.part, time.monotonic())
                continue
            self.ahead_since.pop(record.part, None)
            self.expected[record.part] = expected + 1
            if not self._pending_rows:
                self._pending_since = time.monotonic()
            self._pending[record.part].append(record)
            self._pending_rows += _rows(record)
            self._unacknowledged[record.part].append((record.offset, event))
        if self._pending_rows:
            self._changed.set()
        while self._pending_rows >= WAITING_ROWS:
            self._room.clear()
            await self._room.wait()

    def _due_in(self) -> float:
        """Seconds until the next round should begin."""
        if self._pending_rows >= ROUND_ROWS or self._suspected() is not None:
            return 0.0
        return max(0.0, self._pending_since + ROUND_SECONDS - time.monotonic())

    def _suspected(self) -> int | None:
        """A partition whose next record was in hand at a death."""
        for part, records in self._pending.items():
            if records and self._attempts.share(part, records[0].offset):
                return part
        return None

    def _take(self) -> dict[int, list[EntriesRecord]]:
        """At most about ROUND_ROWS rows, an equal share of each partition; suspected records alone."""
        suspected = self._suspected()
        if suspected is not None:
            pending = self._pending[suspected]
            share = self._attempts.share(suspected, pending[0].offset)
            few, self._pending[suspected] = pending[:share], pending[share:]
            self._pending_rows -= sum(map(_rows, few))
            self._room.set()
            return {suspected: few}
        parts = [part for part, records in self._pending.items() if records]
        taken: dict[int, list[EntriesRecord]] = {}
        for part in parts:
            share, rows, records = ROUND_ROWS // len(parts), 0, self._pending[part]
            count = 0
            while count < len(records) and rows < share:
                rows += _rows(records[count])
                count += 1
            taken[part] = records[:count]
            self._pending[part] = records[count:]
            self._pending_rows -= rows
        self._pending_since = time.monotonic()
        self._room.set()
        return taken

    # -- rounds ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Rounds, for ever."""
        while True:
            if not self._pending_rows:
                self._changed.clear()
                await self._changed.wait()
            wait = self._due_in()
            if wait:
                with contextlib.suppress(TimeoutError):
                    self._changed.clear()
                    await asyncio.wait_for(self._changed.wait(), wait)
                continue
            self.busy = True
            begun = time.monotonic()
            taken = self._take()
            self.rounds += 1
            in_hand = {p: (r[0].offset, r[-1].offset) for p, r in taken.items() if r}
            self._attempts.begin(in_hand)
            work, of_part = _work(taken) if tracing.on() else (tracing.NOTHING, {})
            try:
                with work.step("book"):
                    sorting = time.monotonic()
                    round_ = await self._sort(
                        self.processor.process, taken, self._buffers[self.rounds % 2]
                    )
                    telemetry.METRICS_SORT_SECONDS.observe(time.monotonic() - sorting)
            except Stopping:
                return
            except Exception:
                die("a round could not be sorted")
                raise
            self._attempts.done()
            for records in taken.values():
                for record in records:
                    record.value = None
            if self._writing is not None:
                await self._writing
            for part, share in round_.parts.items():
                share.traces = of_part.get(part, share.traces)
            self._writing = asyncio.ensure_future(self._write(round_, begun, work, in_hand))
            self.busy = False

    async def _write(
        self, round_: Round, begun: float, work: tracing.Work, in_hand: dict[int, Range]
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            with work:
                await loop.run_in_executor(self._writer, self.flush.write, round_, work)
        except Stopping:
            return
        except StoreReplaced as error:
            die(f"the store was replaced: {error}")
        except Exception:
            self._attempts.begin(in_hand)
            die("a round could not be written")
        self.last_round_seconds = time.monotonic() - begun
        telemetry.METRICS_SEEN_BYTES.set(
            sum(state.seen.nbytes for state in list(self.processor.states.values()))
        )
        held = {(epoch, part): last for epoch, part, last in self.flush.held}
        for part, share in round_.parts.items():
            if share.last_offset >= 0:
                held[share.state.epoch, part] = share.last_offset
        self.flush.held = [
            (epoch, part, last) for (epoch, part), last in held.items() if part in self.expected
        ]
        for part, (_, last) in in_hand.items():
            self._attempts.written(part, last)
        for part, last_offset in round_.completed:
            self._acknowledge(part, last_offset)

    def _acknowledge(self, part: int, last_offset: int) -> None:
        waiting = self._unacknowledged[part]
        count = 0
        while count < len(waiting) and waiting[count][0] <= last_offset:
            waiting[count][1].ack()
            count += 1
        del waiting[:count]

    def idle(self, part: int) -> bool:
        """Everything taken of this partition is written."""
        quiet = not self.busy and (self._writing is None or self._writing.done())
        return quiet and not self._pending.get(part)

    async def drain(self, seconds: float) -> bool:
        """Writes what was taken in; False where that takes longer: it is read again then."""
        deadline = time.monotonic() + seconds
        while self._pending_rows or not all(map(self.idle, self.expected)):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def on_writer(self, action: Callable[..., object], *arguments: object) -> object:
        """Runs `action` in the writing thread, between two flushes."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, action, *arguments)

    async def _sort(self, action: Callable[..., object], *arguments: object):  # type: ignore[no-untyped-def]
        return await asyncio.get_running_loop().run_in_executor(self._sorter, action, *arguments)


def _work(taken: dict[int, list[EntriesRecord]]) -> tuple[tracing.Work, dict[int, frozenset[str]]]:
    """The round in the traces of its records, and which traces each partition has."""
    parents = {
        part: [p for record in records for p in traces.of_kafka(record.headers)]
        for part, records in taken.items()
    }
    work = tracing.work(
        f"process {ENTRIES.name}",
        (p for of_part in parents.values() for p in of_part),
        "consumer",
        {"messaging.system": "kafka", "messaging.destination.name": ENTRIES.name},
    )
    return work, {
        part: frozenset(traces.trace_id(p) for p in of_part) for part, of_part in parents.items()
    }


def _rows(record: EntriesRecord) -> int:
    """Rows as the header says; a record that does not say counts as one."""
    with contextlib.suppress(codec.ForeignRecord, codec.UnreadableRecord):
        return max(1, codec.Header.from_kafka(record.headers).entries)
    return 1

"""From records to what a flush writes. Pure but for the ledger's answers, which it asks for.

A round is what one flush writes: the records that came meanwhile, in order of partition and
offset. Its walk is `Processor.process`, read it aloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from contracts.days import DAY_MS, SHANGHAI_MS
from contracts.entries import codec
from services.metrics import booking
from services.metrics.blocks import OpenBlock, block_of
from services.metrics.cells import DISTRICT_CODES, DISTRICT_NUMBERS, PLATFORMS_MAX
from services.metrics.ledger import LedgerBuffer, Segment
from services.metrics.seen import CONFLICT, DUPLICATE, Filter, Seen
from yumai import bookable, canary
from yumai.broker.undecodable import UNREADABLE


@dataclass
class Record:
    """One record of `entries.v1`. `timestamp`: the broker's append time, epoch ms."""

    part: int
    offset: int
    timestamp: int
    headers: Mapping[str, bytes]
    value: bytes | None


@dataclass
class Known:
    """The ledger's answer: ids (uint64[n, 2]) and whose they are, with content, receipt and row of
    their first position."""

    ids: np.ndarray
    platforms: list[str]
    content: np.ndarray
    receipt_low: np.ndarray
    receipt_row: np.ndarray


Lookup = Callable[[int, int, np.ndarray], Known]
"""(part, offsets below, ids) -> which of the ids are booked below that offset, or in older epochs."""


class StopPartition(Exception):
    """The record holds acknowledged entries that this worker must not judge: stop, never skip."""


@dataclass
class Verdict:
    """A duplicate or a conflict: `row` of the request, `record_row` of the record."""

    receipt: bytes
    row: int
    verdict: int
    platform: str
    off: int
    recorded_at: int
    record_row: int = 0


@dataclass
class Foreign:
    """A record that is not ours, to the dead letters with its bytes."""

    part: int
    offset: int
    timestamp: int
    value: bytes


@dataclass
class ConflictLetter:
    """The row stands undecoded in `value`, a record's: many may share one long text."""

    receipt: bytes
    row: int
    platform: str
    value: bytes
    record_row: int


@dataclass
class PartitionState:
    """Where one partition stands, and what it has seen."""

    epoch: int
    part: int
    next_offset: int
    seen: Seen
    written: int = -1
    """Up to here the store holds everything already: read again for memory's sake, not written."""
    block: OpenBlock | None = None
    last_timestamp: int = 0
    stopped: str = ""
    poison: tuple[int, str] | None = None
    """An offset that must not be touched, and what to say there."""


@dataclass
class Round:
    """What one flush writes."""

    ledger: LedgerBuffer
    number: int
    blocks: list[OpenBlock] = field(default_factory=list)
    cells: list[tuple[OpenBlock, int, dict[str, np.ndarray]]] = field(default_factory=list)
    bookings: list[tuple[bytes, OpenBlock, int, int]] = field(default_factory=list)
    written: list[tuple[OpenBlock, int, int, int, bool]] = field(default_factory=list)
    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)
    letters: list[ConflictLetter] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    parts: dict[int, PartRound] = field(default_factory=dict)
    completed: list[tuple[int, int]] = field(default_factory=list)
    """(partition, last offset) of blocks that are complete once this round is written."""
    platforms: list[str] = field(default_factory=list)
    records: int = 0
    rows: int = 0


@dataclass
class PartRound:
    """One partition's share of a round, for its commit."""

    state: PartitionState
    last_offset: int = -1
    first_timestamp: int = 0
    last_timestamp: int = 0
    entries: int = 0
    duplicates: int = 0
    conflicts: int = 0
    net_fen: int = 0
    traces: frozenset[str] = frozenset()
    """Ids of the traces of its records; no row depends on them."""
    changes: np.ndarray = field(
        default_factory=lambda: np.zeros((len(DISTRICT_CODES), 128, 2), dtype=np.int64)
    )


@dataclass
class _Decoded:
    record: Record
    header: codec.Header
    ids: np.ndarray
    columns: tuple[np.ndarray, ...]
    receipts: list[bytes]
    platforms: list[str]
    platform_numbers: np.ndarray
    """int32, of `platforms`, as this processor numbers them."""

    @property
    def whose(self) -> np.ndarray:
        """int32[rows]: each row's platform."""
        return self.platform_numbers[self.columns[9]]


class Processor:
    """Sorts and books records; one thread at a time."""

    def __init__(
        self, epoch: int, lookup: Lookup, slot_function: str = codec.SLOT_FUNCTION
    ) -> None:
        self.epoch = epoch
        self.slot_function = slot_function
        self._lookup = lookup
        self._platforms: dict[str, int] = {}
        self.states: dict[int, PartitionState] = {}
        self._flushes = 0

    def assign(self, part: int, start: int, filter_: Filter, written: int = -1) -> None:
        """A partition begins at `start` (a block's first offset), with a filter of all ids below.

        Up to `written` the store holds what these records give; they are booked in memory only.
        """
        self.states[part] = PartitionState(self.epoch, part, start, Seen(filter_), written)

    def revoke(self, part: int) -> None:
        self.states.pop(part, None)

    def process(self, records: dict[int, list[Record]], ledger: LedgerBuffer) -> Round:
        """Books one round. `records`: by partition, in order of offset, without holes.

        A partition that has to stop keeps what came before the record that stops it.
        """
        self._flushes += 1
        round_ = Round(ledger, self._flushes)
        decoded = {
            part: self._decode(self.states[part], of_part, round_)
            for part, of_part in sorted(records.items())
            if part in self.states
        }
        ledger.begin(sum(len(d.ids) for of_part in decoded.values() for d in of_part))
        for part, of_part in decoded.items():
            self._learn(self.states[part], of_part)
            self._book(self.states[part], of_part, round_)
        round_.platforms = list(self._platforms)
        self._close(round_)
        return round_

    # -- decode ---------------------------------------------------------------------------------

    def _decode(
        self, state: PartitionState, records: list[Record], round_: Round
    ) -> list[_Decoded]:
        decoded: list[_Decoded] = []
        for record in records:
            if state.stopped:
                break
            try:
                decoded.append(self._decode_one(state, record))
            except codec.ForeignRecord:
                round_.foreign.append(
                    Foreign(record.part, record.offset, record.timestamp, record.value or b"")
                )
                decoded.append(_empty(record))
            except (codec.UnreadableRecord, StopPartition) as error:
                state.stopped = f"offset {record.offset}: {error}"
        return decoded

    def _decode_one(self, state: PartitionState, record: Record) -> _Decoded:
        if state.poison is not None and record.offset == state.poison[0]:
            raise StopPartition(state.poison[1])
        if UNREADABLE in record.headers:
            raise codec.UnreadableRecord(record.headers[UNREADABLE].decode())
        header = codec.Header.from_kafka(record.headers)
        if header.epoch != state.epoch:
            raise StopPartition(f"record of epoch {header.epoch} in the log of epoch {state.epoch}")
        if header.slots != self.slot_function:
            raise StopPartition(
                f"record of slot function {header.slots} in a log of {self.slot_function}"
            )
        if record.value is None:
            raise codec.UnreadableRecord("no body")
        batch = codec.decode(record.value, header.version)
        if batch.num_rows != header.entries:
            raise codec.UnreadableRecord(
                f"{batch.num_rows} rows where the header says {header.entries}"
            )
        if why := bookable.fault(batch):
            raise codec.UnreadableRecord(why)
        columns = tuple(_numbers(batch.column(i)) for i in range(batch.num_columns))
        receipts = batch.column(2).dictionary.to_pylist()
        platforms = batch.column(9).dictionary.to_pylist()
        numbers = np.zeros(len(platforms), dtype=np.int32)
        for code in np.unique(columns[9]):
            # A record may name platforms that none of its rows has.
            numbers[code] = self._platform(platforms[code])
        return _Decoded(record, header, columns[0], columns, receipts, platforms, numbers)

    # -- learn what the ledger knows ------------------------------------------------------------

    def _learn(self, state: PartitionState, decoded: list[_Decoded]) -> None:
        rows = sum(len(d.ids) for d in decoded)
        if not rows:
            return
        state.seen.room(rows)
        asked = [d.ids[state.seen.suspects(d.ids, d.whose)] for d in decoded if len(d.ids)]
        asked = [ids for ids in asked if len(ids)]
        if asked:
            # Everything from the first of these records on is in memory or in this round.
            known = self._lookup(state.part, state.next_offset, np.concatenate(asked))
            # Of a platform that has no number yet no record has come: nobody asked for its ids.
            whose = np.array([self._platforms.get(p, -1) for p in known.platforms], np.int32)
            mine = whose >= 0
            if mine.any():
                state.seen.remember(
                    known.ids[mine],
                    whose[mine],
                    known.content[mine],
                    known.receipt_low[mine],
                    known.receipt_row[mine],
                )

    # -- book -----------------------------------------------------------------------------------

    def _book(self, state: PartitionState, decoded: list[_Decoded], round_: Round) -> None:
        if not decoded and not state.stopped:
            return
        part_round = PartRound(state)
        for item in decoded:
            record = item.record
            again = record.offset <= state.written
            block = self._block(state, record.offset)
            if len(item.ids):
                self._book_one(state, item, block, part_round, round_, again)
            state.next_offset = record.offset + 1
            state.last_timestamp = record.timestamp
            block.last_offset = record.offset
            round_.records += 1
            if again:
                block.forget_touched()
            else:
                part_round.first_timestamp = part_round.first_timestamp or record.timestamp
                part_round.last_timestamp = record.timestamp
                part_round.last_offset = record.offset
                if block not in round_.blocks:
                    round_.blocks.append(block)
            if block.complete:
                if not again:
                    self._finish(block, round_)
                round_.completed.append((state.part, block.last_offset))
                state.block = None
        if part_round.last_offset >= 0 or state.stopped:
            round_.parts[state.part] = part_round

    def _block(self, state: PartitionState, offset: int) -> OpenBlock:
        if state.block is None:
            state.block = OpenBlock(state.epoch, state.part, block_of(offset))
        return state.block

    def _book_one(
        self,
        state: PartitionState,
        item: _Decoded,
        block: OpenBlock,
        part_round: PartRound,
        round_: Round,
        again: bool,
    ) -> None:
        seen, rows, record = state.seen, len(item.ids), item.record
        block.cells.room(rows)
        level = seen.filter.room(rows)
        recorded_day = self._recorded_day(item)
        receipt_lows = np.frombuffer(b"".join(item.receipts), dtype=np.uint64)[::2].copy()
        verdicts = np.empty(rows, dtype=np.uint8)
        booked = np.zeros(len(item.receipts), dtype=np.uint32)
        totals = np.zeros(2, dtype=np.int64)
        ledger = round_.ledger
        fresh = booking.book(
            *item.columns,
            receipt_lows,
            item.platform_numbers,
            DISTRICT_NUMBERS,
            self._platforms.get(canary.PLATFORM, -1),
            block.cells.day_number(recorded_day),
            2 * round_.number + (not again),
            seen.spread,
            *seen.young.columns,
            seen.young.count,
            *seen.old.columns,
            level.words,
            *block.cells.arrays,
            *ledger.arrays,
            ledger.rows,
            verdicts,
            booked,
            part_round.changes,
            totals,
        )
        seen.young.count += fresh
        level.count += fresh
        if fresh and not again:
            ledger.segments.append(
                Segment(state.epoch, state.part, record.offset, recorded_day, fresh)
            )
            ledger.rows += fresh
        for code in np.flatnonzero(booked):
            receipt = item.receipts[code]
            block.receipts[receipt] += int(booked[code])
            block.receipts_touched.add(receipt)
        block.entries += int(totals[1])
        block.net_fen += int(totals[0])
        round_.rows += rows
        if again:
            part_round.changes[:] = 0
            return
        part_round.entries += int(totals[1])
        part_round.net_fen += int(totals[0])
        if fresh < rows:
            self._set_aside(state, item, verdicts, part_round, round_)

    def _set_aside(
        self,
        state: PartitionState,
        item: _Decoded,
        verdicts: np.ndarray,
        part_round: PartRound,
        round_: Round,
    ) -> None:
        """Duplicates and conflicts as rows; a conflict's bytes as they came."""
        receipt_codes, receipt_rows, platform_codes = (
            item.columns[2],
            item.columns[3],
            item.columns[9],
        )
        conflicts = []
        told = {DUPLICATE: 0, CONFLICT: 0}
        for at in np.flatnonzero(verdicts >= DUPLICATE):
            verdict = Verdict(
                item.receipts[receipt_codes[at]],
                int(receipt_rows[at]),
                int(verdicts[at]),
                item.platforms[platform_codes[at]],
                item.record.offset,
                item.record.timestamp,
                int(at),
            )
            round_.verdicts.append((state.part, verdict))
            told[verdict.verdict] += verdict.platform != canary.PLATFORM
            if verdict.verdict == CONFLICT:
                conflicts.append(verdict)
        part_round.duplicates += told[DUPLICATE]
        part_round.conflicts += told[CONFLICT]
        if conflicts:
            value = item.record.value
            assert value is not None
            codec.decode_sent(value)  # one that can't be read is found before anything is written
            round_.letters += [
                ConflictLetter(v.receipt, v.row, v.platform, value, v.record_row) for v in conflicts
            ]

    # -- close ----------------------------------------------------------------------------------

    def _finish(self, block: OpenBlock, round_: Round) -> None:
        """What a flush writes of one block, as totals up to its last offset."""
        round_.cells.append((block, block.last_offset, block.cells.take_touched()))
        round_.bookings += [
            (receipt, block, block.last_offset, block.receipts[receipt])
            for receipt in block.receipts_touched
        ]
        block.receipts_touched = set()
        round_.written.append(
            (block, block.last_offset, block.entries, block.net_fen, block.complete)
        )
        if block.complete:
            round_.blocks.remove(block)

    def _close(self, round_: Round) -> None:
        for block in list(round_.blocks):
            if block.last_offset >= 0:
                self._finish(block, round_)

    def _platform(self, name: str) -> int:
        number = self._platforms.get(name)
        if number is None:
            number = len(self._platforms)
            if number >= PLATFORMS_MAX:
                raise StopPartition(f"more than {PLATFORMS_MAX} platforms since the worker began")
            self._platforms[name] = number
        return number

    @staticmethod
    def _recorded_day(item: _Decoded) -> int:
        """Days since 1970 in Shanghai: the broker's append time, or the import's own date."""
        if item.header.recorded_on:
            return (codec.recorded_date(item.header.recorded_on) - codec.RECORDED_FIRST).days
        return (item.record.timestamp + SHANGHAI_MS) // DAY_MS


def _numbers(column: pa.Array) -> np.ndarray:
    """A non-null column of a record as numpy, without a copy; dictionary columns as their codes."""
    if isinstance(column, pa.DictionaryArray):
        column = column.indices
    if column.null_count:
        raise codec.UnreadableRecord("a null in a judged column")
    if pa.types.is_fixed_size_binary(column.type):
        both = np.frombuffer(column.buffers()[1], dtype=np.uint64)
        return both[2 * column.offset : 2 * (column.offset + len(column))].reshape(-1, 2)
    return np.ascontiguousarray(column.to_numpy(zero_copy_only=True))


_NO_NUMBERS = np.empty(0, dtype=np.int32)


def _empty(record: Record) -> _Decoded:
    return _Decoded(
        record, codec.Header(0, 0), np.empty((0, 2), dtype=np.uint64), (), [], [], _NO_NUMBERS
    )


def sent_bytes(sent: pa.Array, row: int) -> bytes:
    """What the sender sent in that row: its bytes, or a one-row IPC stream of its own columns."""
    if pa.types.is_struct(sent.type):
        one = sent.slice(row, 1)
        batch = pa.RecordBatch.from_struct_array(one)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()
    return sent[row].as_py() or b""

"""From records to what a flush writes. Pure but for the ledger's answers, which it asks for.

A round is what one flush writes: the records that came meanwhile, in order of partition and
offset. Its walk is `Processor.process`, read it aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contracts.entries import codec
from services.metrics import booking
from services.metrics.blocks import OpenBlock, block_of
from services.metrics.cells import DISTRICT_NUMBERS, PLATFORMS_MAX
from services.metrics.decoding import Decoded, EntriesRecord, StopPartition, decode, nothing
from services.metrics.ledger import LedgerBuffer, Segment
from services.metrics.round import (
    ConflictLetter,
    Foreign,
    PartitionState,
    PartRound,
    Round,
    Verdict,
)
from services.metrics.seen import CONFLICT, DUPLICATE, Filter, Seen
from yumai import canary


@dataclass
class BookedBefore:
    """The ledger's answer: ids (uint64[n, 2]) and whose they are, with content, receipt and row of
    their first position."""

    ids: np.ndarray
    platforms: list[str]
    content: np.ndarray
    receipt_low: np.ndarray
    receipt_row: np.ndarray


Lookup = Callable[[int, int, np.ndarray], BookedBefore]
"""(part, offsets below, ids) -> which of the ids are booked below that offset, or in older epochs."""


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

    def process(self, records: dict[int, list[EntriesRecord]], ledger: LedgerBuffer) -> Round:
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
        ledger.begin(sum(d.rows for of_part in decoded.values() for d in of_part))
        for part, of_part in decoded.items():
            self._learn(self.states[part], of_part)
            self._book(self.states[part], of_part, round_)
        round_.platforms = list(self._platforms)
        self._close(round_)
        return round_

    # -- decode ---------------------------------------------------------------------------------

    def _decode(
        self, state: PartitionState, records: list[EntriesRecord], round_: Round
    ) -> list[Decoded]:
        decoded: list[Decoded] = []
        for record in records:
            if state.stopped:
                break
            try:
                decoded.append(self._decode_one(state, record))
            except codec.ForeignRecord:
                round_.foreign.append(
                    Foreign(record.part, record.offset, record.timestamp, record.value or b"")
                )
                decoded.append(nothing(record))
            except (codec.UnreadableRecord, StopPartition) as error:
                state.stopped = f"offset {record.offset}: {error}"
        return decoded

    def _decode_one(self, state: PartitionState, record: EntriesRecord) -> Decoded:
        if state.poison is not None and record.offset == state.poison[0]:
            raise StopPartition(state.poison[1])
        return decode(record, state.epoch, self.slot_function, self._platform)

    # -- learn what the ledger knows ------------------------------------------------------------

    def _learn(self, state: PartitionState, decoded: list[Decoded]) -> None:
        rows = sum(d.rows for d in decoded)
        if not rows:
            return
        state.seen.room(rows)
        asked = [
            d.columns.id[state.seen.suspects(d.columns.id, d.whose)] for d in decoded if d.rows
        ]
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

    def _book(self, state: PartitionState, decoded: list[Decoded], round_: Round) -> None:
        if not decoded and not state.stopped:
            return
        part_round = PartRound(state)
        for item in decoded:
            record = item.record
            again = record.offset <= state.written
            block = self._block(state, record.offset)
            if item.rows:
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
        item: Decoded,
        block: OpenBlock,
        part_round: PartRound,
        round_: Round,
        again: bool,
    ) -> None:
        seen, rows, record = state.seen, item.rows, item.record
        block.cells.room(rows)
        level = seen.filter.room(rows)
        recorded_day = item.recorded_day
        ledger = round_.ledger
        place = booking.Place(
            receipt_lows=np.frombuffer(b"".join(item.receipts), dtype=np.uint64)[::2].copy(),
            platform_numbers=item.platform_numbers,
            district_numbers=DISTRICT_NUMBERS,
            canary=self._platforms.get(canary.PLATFORM, -1),
            day_number=block.cells.day_number(recorded_day),
            flush=2 * round_.number + (not again),
            written=ledger.rows,
            remembered=seen.young.count,
        )
        booked = booking.Booked(
            verdicts=np.empty(rows, dtype=np.uint8),
            receipts=np.zeros(len(item.receipts), dtype=np.uint32),
            changes=part_round.changes,
            totals=np.zeros(2, dtype=np.int64),
        )
        fresh = booking.book(
            item.columns,
            place,
            seen.spread,
            seen.young.known,
            seen.old.known,
            level.words,
            (block.cells.columns, ledger.columns),
            booked,
        )
        seen.young.count += fresh
        level.count += fresh
        if fresh and not again:
            ledger.segments.append(
                Segment(state.epoch, state.part, record.offset, recorded_day, fresh)
            )
            ledger.rows += fresh
        for code in np.flatnonzero(booked.receipts):
            receipt = item.receipts[code]
            block.receipts[receipt] += int(booked.receipts[code])
            block.receipts_touched.add(receipt)
        block.entries += int(booked.totals[1])
        block.net_fen += int(booked.totals[0])
        round_.rows += rows
        if again:
            part_round.changes[:] = 0
            return
        part_round.entries += int(booked.totals[1])
        part_round.net_fen += int(booked.totals[0])
        if fresh < rows:
            self._set_aside(state, item, booked.verdicts, part_round, round_)

    def _set_aside(
        self,
        state: PartitionState,
        item: Decoded,
        verdicts: np.ndarray,
        part_round: PartRound,
        round_: Round,
    ) -> None:
        """Duplicates and conflicts as rows; a conflict's bytes as they came."""
        columns = item.columns
        conflicts = []
        told = {DUPLICATE: 0, CONFLICT: 0}
        for at in np.flatnonzero(verdicts >= DUPLICATE):
            verdict = Verdict(
                item.receipts[columns.receipt[at]],
                int(columns.row[at]),
                int(verdicts[at]),
                item.platforms[columns.platform[at]],
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

"""What a round writes, as columns of the store's tables and records of the log. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.commits import codec as commits
from contracts.dead_letters import codec as dead_letters
from contracts.entries import codec
from contracts.reasons import REASONS
from services.metrics import cells
from services.metrics.blocks import FUNCTION_VERSION, block_of
from services.metrics.cells import DISTRICT_CODES
from services.metrics.decoding import sent_bytes
from services.metrics.ledger import int128, int128_of, milliseconds, named
from services.metrics.round import PartRound, Round
from yumai import topics
from yumai.entry import BLOCK_OFFSETS
from yumai.sectors import SECTOR_CODES

LETTERS_BYTES = 4 * 1024 * 1024
LETTERS_ROWS = 4_096
"""A record of dead letters: as ingest cuts them."""


def cells_batch(round_: Round) -> pa.RecordBatch:
    """Over all blocks of the round; no rows if it touched no cell."""
    parts = [
        (block, last, touched) for block, last, touched in round_.cells if len(touched["hour"])
    ]
    if not parts:
        return pa.RecordBatch.from_pydict({})
    counts = [len(touched["hour"]) for _, _, touched in parts]

    def joined(name: str) -> np.ndarray:
        return cells.joined([touched[name] for _, _, touched in parts])

    def spread(values: list[int], dtype: type) -> pa.Array:
        return pa.array(np.repeat(np.array(values, dtype=dtype), counts))

    return pa.RecordBatch.from_pydict(
        {
            "period": pa.array(joined("hour") * np.uint32(3600)),
            "recorded_date": pa.array(joined("recorded_day")),
            "district": pa.array(joined("district")),
            "sector": pa.array(joined("sector")),
            "platform": named(joined("platform"), round_.platforms),
            "epoch": spread([block.epoch for block, _, _ in parts], np.uint16),
            "part": spread([block.part for block, _, _ in parts], np.uint16),
            "block": spread([block.number for block, _, _ in parts], np.uint64),
            "last_offset": spread([last for _, last, _ in parts], np.uint64),
            "entries": pa.array(joined("entries")),
            "sales_fen": int128(joined("sales")),
            "refunds_fen": int128(joined("refunds")),
            "sale_reversals_fen": int128(joined("sale_reversals")),
            "refund_reversals_fen": int128(joined("refund_reversals")),
        }
    )


def bookings_batch(round_: Round) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "receipt": pa.array([receipt for receipt, *_ in round_.bookings], pa.binary(16)),
            "epoch": pa.array([block.epoch for _, block, *_ in round_.bookings], pa.uint16()),
            "part": pa.array([block.part for _, block, *_ in round_.bookings], pa.uint16()),
            "block": pa.array([block.number for _, block, *_ in round_.bookings], pa.uint64()),
            "last_offset": pa.array([last for _, _, last, _ in round_.bookings], pa.uint64()),
            "booked": pa.array([booked for *_, booked in round_.bookings], pa.uint32()),
        }
    )


def verdicts_batch(round_: Round) -> pa.RecordBatch:
    epochs = {part: share.state.epoch for part, share in round_.parts.items()}
    return pa.RecordBatch.from_pydict(
        {
            "receipt": pa.array([v.receipt for _, v in round_.verdicts], pa.binary(16)),
            "row": pa.array([v.row for _, v in round_.verdicts], pa.uint32()),
            # seen.DUPLICATE is 2 and seen.CONFLICT 3; the table's enumeration begins with 1
            "verdict": pa.array([v.verdict - 1 for _, v in round_.verdicts], pa.int8()),
            "platform": pa.array([v.platform for _, v in round_.verdicts]),
            "epoch": pa.array([epochs[part] for part, _ in round_.verdicts], pa.uint16()),
            "part": pa.array([part for part, _ in round_.verdicts], pa.uint16()),
            "off": pa.array([v.off for _, v in round_.verdicts], pa.uint64()),
            "recorded_at": milliseconds(
                np.array([v.recorded_at for _, v in round_.verdicts], dtype=np.int64)
            ),
        }
    )


def letter_batches(round_: Round) -> Iterator[pa.RecordBatch]:
    """Records for the dead letters: conflicts with the bytes sent, and foreign records, each cut to the kept length."""
    recorded = {(v.receipt, v.row): v.recorded_at for _, v in round_.verdicts}
    waiting: list[dict[str, Any]] = []
    size = 0
    for letter in _letters(round_, recorded):
        waiting.append(letter)
        size += len(letter["bytes"])
        if size >= LETTERS_BYTES or len(waiting) >= LETTERS_ROWS:
            yield pa.RecordBatch.from_pylist(waiting, schema=dead_letters.SCHEMA)
            waiting, size = [], 0
    if waiting:
        yield pa.RecordBatch.from_pylist(waiting, schema=dead_letters.SCHEMA)


def _letters(round_: Round, recorded: dict[tuple[bytes, int], int]) -> Iterator[dict[str, Any]]:
    """One at a time, so that a record's rows are never decoded all at once."""
    value, sent = None, None
    for x in round_.letters:
        if x.value is not value:
            value, sent = x.value, codec.decode_sent(x.value)[0]
        whole = sent_bytes(sent, x.record_row)
        yield _letter(x.receipt, x.row, x.platform, "conflict", recorded[(x.receipt, x.row)], whole)
    for y in round_.foreign:
        place = f"{topics.ENTRIES.name}\x1f{y.part}\x1f{y.offset}"
        receipt = hashlib.sha256(place.encode()).digest()[:16]
        yield _letter(receipt, 0, "", "foreign_record", y.timestamp, y.value)


def _letter(
    receipt: bytes, row: int, platform: str, code: str, at: int, whole: bytes
) -> dict[str, Any]:
    return {
        "receipt": receipt,
        "row": row,
        "platform": platform,
        "code": code,
        "field": "entry_id" if code == "conflict" else "",
        "message": REASONS[code].en,
        "at": at,
        "size": len(whole),
        "sha256": hashlib.sha256(whole).digest(),
        "bytes": whole[: dead_letters.KEPT_BYTES],
    }


def blocks_batch(round_: Round, now: int) -> pa.RecordBatch:
    n = len(round_.written)
    return pa.RecordBatch.from_pydict(
        {
            "epoch": pa.array([w[0].epoch for w in round_.written], pa.uint16()),
            "part": pa.array([w[0].part for w in round_.written], pa.uint16()),
            "block": pa.array([w[0].number for w in round_.written], pa.uint64()),
            "last_offset": pa.array([w[1] for w in round_.written], pa.uint64()),
            "entries": pa.array([w[2] for w in round_.written], pa.uint64()),
            "net_fen": int128_of([w[3] for w in round_.written]),
            "complete": pa.array([int(w[4]) for w in round_.written], pa.uint8()),
            "function_version": pa.array([FUNCTION_VERSION] * n, pa.uint16()),
            "written_at": milliseconds(np.full(n, now, dtype=np.int64)),
        }
    )


def commit_of(share: PartRound, worker: str, now: int) -> commits.Commit:
    """What this round made queryable in one partition."""
    block_number = block_of(share.last_offset)
    touched = np.argwhere(share.changes[:, :, 1] > 0)
    return commits.Commit(
        epoch=share.state.epoch,
        partition=share.state.part,
        block=block_number,
        last_offset=share.last_offset,
        entries=share.entries,
        duplicates=share.duplicates,
        conflicts=share.conflicts,
        net_fen=share.net_fen,
        recorded_from=share.first_timestamp,
        committed_at=now,
        through=share.last_timestamp,
        complete=(share.last_offset + 1) % BLOCK_OFFSETS == 0,
        worker=worker,
        changes=[
            commits.Change(
                f"{int(DISTRICT_CODES[d]):06d}",
                SECTOR_CODES[int(s)],
                int(share.changes[d, s, 0]),
                int(share.changes[d, s, 1]),
            )
            for d, s in touched
        ],
    )


def progress_batch(shares: list[PartRound], worker: str, now: int) -> pa.RecordBatch:
    """Up to when each partition's log is booked. `now`: epoch ms."""
    return pa.RecordBatch.from_pydict(
        {
            "epoch": pa.array([s.state.epoch for s in shares], pa.uint16()),
            "part": pa.array([s.state.part for s in shares], pa.uint16()),
            "through": milliseconds(np.array([s.last_timestamp for s in shares], dtype=np.int64)),
            "next_offset": pa.array([s.state.next_offset for s in shares], pa.uint64()),
            "worker": [worker] * len(shares),
            "stopped": [s.state.stopped for s in shares],
            "written_at": milliseconds(np.full(len(shares), now, dtype=np.int64)),
        }
    )

"""Ledger rows on their way to ClickHouse: one buffer a round, columns side by side.

A round's rows come sorted by position, as the table orders them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import types

from contracts.entries.kernel_types import group


@dataclass
class Segment:
    """Rows of one record in the buffer."""

    epoch: int
    part: int
    off: int
    recorded_day: int
    rows: int


class LedgerColumns(NamedTuple):
    """Columns of the table `entries`, side by side. `row`: of the record."""

    id: np.ndarray
    content: np.ndarray
    receipt_low: np.ndarray
    receipt_row: np.ndarray
    occurred_at: np.ndarray
    kind: np.ndarray
    amount_fen: np.ndarray
    district: np.ndarray
    sector: np.ndarray
    platform: np.ndarray
    merchant: np.ndarray
    classified_by: np.ndarray
    map_version: np.ndarray
    row: np.ndarray


LEDGER_COLUMNS = group(
    LedgerColumns,
    types.uint64[:, ::1],
    types.uint64[::1],
    types.uint64[::1],
    types.uint32[::1],
    types.int64[::1],
    types.int8[::1],
    types.int64[::1],
    types.uint32[::1],
    types.int8[::1],
    types.int32[::1],
    types.uint64[::1],
    types.uint8[::1],
    types.uint32[::1],
    types.uint16[::1],
)


@dataclass
class LedgerBuffer:
    """Room for `capacity` rows; grown by the round that needs more."""

    capacity: int
    rows: int = 0
    segments: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._allocate(self.capacity)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self.columns = LedgerColumns(
            id=np.empty((capacity, 2), dtype=np.uint64),
            content=np.empty(capacity, dtype=np.uint64),
            receipt_low=np.empty(capacity, dtype=np.uint64),
            receipt_row=np.empty(capacity, dtype=np.uint32),
            occurred_at=np.empty(capacity, dtype=np.int64),
            kind=np.empty(capacity, dtype=np.int8),
            amount_fen=np.empty(capacity, dtype=np.int64),
            district=np.empty(capacity, dtype=np.uint32),
            sector=np.empty(capacity, dtype=np.int8),
            platform=np.empty(capacity, dtype=np.int32),
            merchant=np.empty(capacity, dtype=np.uint64),
            classified_by=np.empty(capacity, dtype=np.uint8),
            map_version=np.empty(capacity, dtype=np.uint32),
            row=np.empty(capacity, dtype=np.uint16),
        )

    def begin(self, rows: int) -> None:
        """Empties the buffer and makes room for a round of up to `rows` rows."""
        self.rows = 0
        self.segments = []
        if rows > self.capacity:
            self._allocate(rows)

    def batch(self, platforms: list[str]) -> pa.RecordBatch:
        """The rows as the table `entries` has them; shares memory with the buffer."""
        n, of = self.rows, self.columns
        counts = [segment.rows for segment in self.segments]

        def spread(values: list[int], dtype: type) -> pa.Array:
            return pa.array(np.repeat(np.array(values, dtype=dtype), counts))

        columns = {
            "epoch": spread([s.epoch for s in self.segments], np.uint16),
            "part": spread([s.part for s in self.segments], np.uint16),
            "off": spread([s.off for s in self.segments], np.uint64),
            "row": pa.array(of.row[:n]),
            "id": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), n, [None, pa.py_buffer(of.id[:n])]
            ),
            "content": pa.array(of.content[:n]),
            "receipt_low": pa.array(of.receipt_low[:n]),
            "receipt_row": pa.array(of.receipt_row[:n]),
            "recorded_date": spread([s.recorded_day for s in self.segments], np.uint16),
            "occurred_at": milliseconds(of.occurred_at[:n]),
            "kind": pa.array(of.kind[:n]),
            "amount_fen": pa.array(of.amount_fen[:n]),
            "district": pa.array(of.district[:n]),
            "sector": pa.array(of.sector[:n]),
            "platform": named(of.platform[:n], platforms),
            "merchant": pa.array(of.merchant[:n]),
            "classified_by": pa.array(of.classified_by[:n]),
            "map_version": pa.array(of.map_version[:n]),
        }
        return pa.RecordBatch.from_pydict(columns)


def milliseconds(values: np.ndarray) -> pa.Array:
    """Int64 epoch ms as an Arrow timestamp, without a copy."""
    return pa.Array.from_buffers(
        pa.timestamp("ms", tz="UTC"),
        len(values),
        [None, pa.py_buffer(np.ascontiguousarray(values))],
    )


def named(numbers: np.ndarray, names: list[str]) -> pa.Array:
    """Small integers as a dictionary column of their names."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(names, pa.string()))


def int128(sums: np.ndarray) -> pa.Array:
    """Int64, or uint64[n, 2] (low half first) as ClickHouse reads an Int128."""
    if sums.ndim == 1:
        return pa.array(sums)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(sums), [None, pa.py_buffer(np.ascontiguousarray(sums))]
    )


def int128_of(sums: list[int]) -> pa.Array:
    """The same of whole numbers: Int64 where all of them fit."""
    if all(-(2**63) <= value < 2**63 for value in sums):
        return pa.array(sums, pa.int64())
    return pa.array([value.to_bytes(16, "little", signed=True) for value in sums], pa.binary(16))


def stream_bytes(batch: pa.RecordBatch) -> pa.Buffer:
    """One ArrowStream, as ClickHouse reads it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()

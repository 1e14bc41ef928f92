"""A record of `entries.v1` as columns that can be booked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from contracts.days import DAY_MS, SHANGHAI_MS
from contracts.entries import codec
from contracts.entries.kernel_types import read_only
from services.metrics.booking import RecordColumns
from yumai import bookable
from yumai.broker.undecodable import UNREADABLE


@dataclass
class EntriesRecord:
    """One record of `entries.v1`. `timestamp`: the broker's append time, epoch ms."""

    part: int
    offset: int
    timestamp: int
    headers: Mapping[str, bytes]
    value: bytes | None


class StopPartition(Exception):
    """The record holds acknowledged entries that this worker must not judge: stop, never skip."""


@dataclass
class Decoded:
    """A record, its header, its columns, and what their codes of receipts and platforms stand for."""

    record: EntriesRecord
    header: codec.Header
    columns: RecordColumns
    receipts: list[bytes]
    platforms: list[str]
    platform_numbers: np.ndarray
    """int32, of `platforms`, as the processor numbers them."""

    @property
    def rows(self) -> int:
        return len(self.columns.id)

    @property
    def whose(self) -> np.ndarray:
        """int32[rows]: each row's platform."""
        return self.platform_numbers[self.columns.platform]

    @property
    def recorded_day(self) -> int:
        """Days since 1970 in Shanghai: the broker's append time, or the import's own date."""
        if self.header.recorded_on:
            return (codec.recorded_date(self.header.recorded_on) - codec.RECORDED_FIRST).days
        return (self.record.timestamp + SHANGHAI_MS) // DAY_MS


def decode(
    record: EntriesRecord, epoch: int, slot_function: str, number_of: Callable[[str], int]
) -> Decoded:
    """Decodes a record of a log with this epoch and slot function; `number_of` gives a platform's number.

    Raises codec.ForeignRecord, codec.UnreadableRecord, StopPartition.
    """
    if UNREADABLE in record.headers:
        raise codec.UnreadableRecord(record.headers[UNREADABLE].decode())
    header = codec.Header.from_kafka(record.headers)
    if header.epoch != epoch:
        raise StopPartition(f"record of epoch {header.epoch} in the log of epoch {epoch}")
    if header.slots != slot_function:
        raise StopPartition(f"record of slot function {header.slots} in a log of {slot_function}")
    if record.value is None:
        raise codec.UnreadableRecord("no body")
    batch = codec.decode(record.value, header.version)
    if batch.num_rows != header.entries:
        raise codec.UnreadableRecord(
            f"{batch.num_rows} rows where the header says {header.entries}"
        )
    if why := bookable.fault(batch):
        raise codec.UnreadableRecord(why)
    columns = RecordColumns(*map(_numbers, batch.columns))
    receipts = batch.column("receipt").dictionary.to_pylist()
    platforms = batch.column("platform").dictionary.to_pylist()
    numbers = np.zeros(len(platforms), dtype=np.int32)
    for code in np.unique(columns.platform):
        # A record may name platforms that none of its rows has.
        numbers[code] = number_of(platforms[code])
    return Decoded(record, header, columns, receipts, platforms, numbers)


def nothing(record: EntriesRecord) -> Decoded:
    """A record without rows: one that is not ours."""
    empty = {
        field.name: np.empty((0, 2) if field.name == "id" else 0, np.uint64)
        for field in codec.JUDGED
    }
    numbers = np.empty(0, dtype=np.int32)
    return Decoded(record, codec.Header(0, 0), RecordColumns(**empty), [], [], numbers)


def _numbers(column: pa.Array) -> np.ndarray:
    """A non-null column of a record as numpy, read only, without a copy; dictionary columns as their codes."""
    if isinstance(column, pa.DictionaryArray):
        column = column.indices
    if column.null_count:
        raise codec.UnreadableRecord("a null in a judged column")
    if pa.types.is_fixed_size_binary(column.type):
        both = np.frombuffer(column.buffers()[1], dtype=np.uint64)
        return read_only(both[2 * column.offset : 2 * (column.offset + len(column))].reshape(-1, 2))
    return read_only(np.ascontiguousarray(column.to_numpy(zero_copy_only=True)))


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

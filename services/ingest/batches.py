"""From judged rows to records of `entries.v1`: split by partition, cut, encoded. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from contracts.entries import codec
from services.ingest.columns import Columns, Text
from services.ingest.decoder.plain import compact
from services.ingest.kernels import gather
from yumai import bookable
from yumai.entry import BATCH_MAX_ENTRIES, SLOTS

RECORD_MAX_BYTES = 4 * 1024 * 1024
ROW_MAX_BYTES = 64 * 1024
"""A good row's own bytes are kept up to here: more can only be blanks."""
_SHARED_DICTIONARY = 64
_DICTIONARY_KEPT_BYTES = 16 * 1024


@dataclass(frozen=True)
class Judged:
    """Columns beside the sender's, for all rows of a chunk; only good rows mean something."""

    good: np.ndarray
    ids: np.ndarray
    slot_numbers: np.ndarray
    """Mod SLOTS: the slots."""
    content: np.ndarray
    request: np.ndarray
    row: np.ndarray
    platform: np.ndarray
    platform_ids: list[str]
    merchant: np.ndarray
    district: np.ndarray
    sector: np.ndarray
    decided: np.ndarray
    map_version: int


@dataclass(frozen=True)
class EncodedRecord:
    partition: int
    entries: int
    value: pa.Buffer
    requests: tuple[int, ...] = ()
    """Which requests have rows in it; looked up only where somebody traces them."""


def records(
    columns: Columns,
    judged: Judged,
    receipts: list[bytes],
    partitions: int,
    metadata: dict[str, str],
    traced: bool = False,
) -> Iterator[EncodedRecord]:
    """The good rows as records; within a partition in the order in which they came."""
    chosen = np.flatnonzero(judged.good)
    if not len(chosen):
        return
    slot = judged.slot_numbers[chosen] % np.uint64(SLOTS)
    partition = (slot % np.uint64(partitions)).astype(np.uint16)
    order = chosen[np.argsort(partition, kind="stable")]
    counts = np.bincount(partition, minlength=partitions)
    plain = [
        _fixed16(np.ascontiguousarray(judged.ids[order])),
        pa.array(judged.content[order]),
        pa.array(judged.row[order]),
        pa.array(columns.occurred_ms[order]),
        pa.array(columns.kind[order]),
        pa.array(columns.amount_fen[order]),
        pa.array(judged.district[order]),
        pa.array(judged.sector[order]),
        pa.array(judged.merchant[order, 0]),
        pa.array(judged.decided[order]),
    ]
    ids, content, row, occurred, kind, amount, district, sector, merchant, decided = plain
    request, platform = judged.request[order], judged.platform[order]
    sent, bounds = _sent(columns, order)
    receipt_values = pa.array(receipts, pa.binary(16))
    platform_values = pa.array(judged.platform_ids, pa.string())
    begin = 0
    for number, count in enumerate(counts.tolist()):
        for a, b in _cuts(bounds, begin, begin + count):
            size = b - a
            batch = pa.RecordBatch.from_arrays(
                [
                    ids.slice(a, size),
                    content.slice(a, size),
                    _dictionary(request[a:b], receipt_values),
                    row.slice(a, size),
                    occurred.slice(a, size),
                    kind.slice(a, size),
                    amount.slice(a, size),
                    district.slice(a, size),
                    sector.slice(a, size),
                    _dictionary(platform[a:b], platform_values),
                    merchant.slice(a, size),
                    decided.slice(a, size),
                    pa.array(np.full(size, judged.map_version, np.uint32)),
                ],
                schema=codec.JUDGED,
            )
            if why := bookable.fault(batch):
                # Nothing that can't be booked is ever acknowledged: the request fails instead.
                raise ValueError(f"rows that can't be booked: {why}")
            value = codec.encode(batch, _compact(sent.slice(a, size)), metadata)
            within = tuple(np.unique(request[a:b]).tolist()) if traced else ()
            yield EncodedRecord(number, size, value, within)
        begin += count


def _fixed16(pairs: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(16), len(pairs), [None, pa.py_buffer(pairs)])


def _sent(columns: Columns, order: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """(what came, in order; where each row's bytes begin, so that records can be cut by size)."""
    if columns.sent is not None:
        sent = columns.sent.take(pa.array(order))
        each = max(1, sent.nbytes // max(1, len(sent)))
        return sent, np.arange(len(order) + 1, dtype=np.int64) * each
    assert columns.raw is not None
    raw = columns.raw
    kept = Text(raw.data, raw.start, np.minimum(raw.size, ROW_MAX_BYTES))
    data, offsets = gather(kept, order)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(order), buffers), offsets


def _cuts(bounds: np.ndarray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Even pieces of at most BATCH_MAX_ENTRIES rows and about RECORD_MAX_BYTES."""
    rows = end - begin
    if rows <= 0:
        return
    even = -(-rows // -(-rows // BATCH_MAX_ENTRIES))
    while begin < end:
        stop = min(begin + even, end)
        if bounds[stop] - bounds[begin] > RECORD_MAX_BYTES:
            fits = int(np.searchsorted(bounds, bounds[begin] + RECORD_MAX_BYTES, "right")) - 1
            stop = max(begin + 1, min(stop, fits))
        yield begin, stop
        begin = stop


def _dictionary(codes: np.ndarray, values: pa.Array) -> pa.Array:
    """A slice of a dictionary column carries the whole dictionary: a long one is cut down first."""
    if len(values) > _SHARED_DICTIONARY:
        used, codes = np.unique(codes, return_inverse=True)
        values = values.take(pa.array(used))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int16)), values)


def _compact(sent: pa.Array) -> pa.Array:
    """The same, large dictionaries holding no more than these rows say."""
    if not pa.types.is_struct(sent.type):
        return sent
    kinds = [sent.type.field(i).type for i in range(sent.type.num_fields)]
    if not any(pa.types.is_dictionary(kind) for kind in kinds):
        return sent
    children = [compact_dictionary(column) for column in sent.flatten()]
    return pa.StructArray.from_arrays(children, fields=list(sent.type))


def compact_dictionary(column: pa.Array) -> pa.Array:
    """A column whose dictionary is large with only the values in use; any other as it is.

    A slice carries the whole dictionary.
    """
    if (
        not pa.types.is_dictionary(column.type)
        or column.dictionary.nbytes <= _DICTIONARY_KEPT_BYTES
    ):
        return column
    return compact(column)

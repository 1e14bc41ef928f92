"""Refused rows as records of `dead-letters.v1`: with their own bytes and the reason. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from contracts.dead_letters import codec
from contracts.reasons import REASONS
from services.ingest.batches import compact_dictionary
from services.ingest.columns import Columns

_RECORD_MAX_BYTES = 4 * 1024 * 1024
_RECORD_MAX_ROWS = 4_096


@dataclass(frozen=True)
class Refused:
    """A refused row: where it stands in the chunk, in its request, and why."""

    place: int
    receipt: bytes
    row: int
    platform: str
    code: str
    field: str


def message(code: str) -> str:
    reason = REASONS[code]
    return f"{reason.en} / {reason.zh}"


def row_bytes(columns: Columns, place: int) -> bytes:
    """The row as it came: its own text, or a one-row Arrow IPC stream of the sender's schema."""
    if columns.raw is not None:
        return columns.raw.at(place)
    assert columns.sent is not None
    assert columns.sent_schema is not None
    one = columns.sent.slice(place, 1)
    arrays = [
        compact_dictionary(column).cast(kind)
        for column, kind in zip(one.flatten(), columns.sent_schema.types, strict=True)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.sent_schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=columns.sent_schema))
    return sink.getvalue().to_pybytes()


def records(
    columns: Columns, refused: list[Refused], at_ms: int
) -> Iterator[tuple[str, pa.Buffer]]:
    """(platform, value) of each record: one platform's rows, in the order in which they came."""
    by_platform: defaultdict[str, list[Refused]] = defaultdict(list)
    for one in refused:
        by_platform[one.platform].append(one)
    for platform, rows in by_platform.items():
        waiting: list[tuple[Refused, bytes]] = []
        size = 0
        for one in rows:
            whole = row_bytes(columns, one.place)
            waiting.append((one, whole))
            size += min(len(whole), codec.KEPT_BYTES)
            if size >= _RECORD_MAX_BYTES or len(waiting) >= _RECORD_MAX_ROWS:
                yield platform, _encode(waiting, at_ms)
                waiting, size = [], 0
        if waiting:
            yield platform, _encode(waiting, at_ms)


def _encode(rows: list[tuple[Refused, bytes]], at_ms: int) -> pa.Buffer:
    columns = {
        "receipt": [one.receipt for one, _ in rows],
        "row": [one.row for one, _ in rows],
        "platform": [one.platform for one, _ in rows],
        "code": [one.code for one, _ in rows],
        "field": [one.field for one, _ in rows],
        "message": [message(one.code) for one, _ in rows],
        "at": [at_ms] * len(rows),
        "size": [len(whole) for _, whole in rows],
        "sha256": [hashlib.sha256(whole).digest() for _, whole in rows],
        "bytes": [whole[: codec.KEPT_BYTES] for _, whole in rows],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in codec.SCHEMA]
    return codec.encode(pa.RecordBatch.from_arrays(arrays, schema=codec.SCHEMA))

"""The record of `entries.v1`: an Arrow IPC stream with one batch, described by Kafka headers.

`decode` reads the judged columns only; what the sender sent (`sent`) stays undecoded until a
conflict asks for it. See README.md beside this file for each column's meaning.

Version 2 has ids and merchants by SHA-256. Version 1, written before, had them by MurmurHash3;
`decode` computes the ids of today from `sent`, so that its callers never meet an old one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from contracts.days import FIRST_DAY, book_day

VERSION = "2"
VERSIONS = ("1", "2")
"""What is read: a version, once written, is read for ever."""
SLOT_FUNCTION = "sha256-720"
SLOT_FUNCTIONS = ("murmur3-720", "sha256-720")
"""A log begun with one keeps it: what it holds already must meet its duplicates."""

JUDGED = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("content", pa.uint64(), nullable=False),
        pa.field("receipt", pa.dictionary(pa.int16(), pa.binary(16)), nullable=False),
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("occurred_at", pa.int64(), nullable=False),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("amount_fen", pa.int64(), nullable=False),
        pa.field("district", pa.uint32(), nullable=False),
        pa.field("sector", pa.int8(), nullable=False),
        pa.field("platform", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("merchant", pa.uint64(), nullable=False),
        pa.field("classified_by", pa.uint8(), nullable=False),
        pa.field("map_version", pa.uint32(), nullable=False),
    ]
)
"""Columns before `sent`, in order; none holds a null."""


class ForeignRecord(Exception):
    """The record does not carry our header: it never was an acknowledged batch."""


class UnreadableRecord(Exception):
    """Our header, but a version or a body that can't be read: it holds acknowledged entries."""


RECORDED_FIRST = FIRST_DAY
"""A recorded date is kept as the days since then."""
ENTRIES_MAX = 4_096
EPOCH_MAX = 65_535
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def recorded_date(text: str) -> date:
    """A `recorded-on`: YYYY-MM-DD and nothing else. Raises ValueError."""
    try:
        return book_day(text)
    except ValueError as error:
        raise ValueError(f"recorded-on: {error}") from error


def _number(text: str, most: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise ValueError(f"{text[:20]!r}: want a number up to {most}")
    return int(text)


@dataclass(frozen=True)
class Header:
    """Kafka headers of a batch. `recorded_on` is an ISO date, set by an import of history only."""

    epoch: int
    entries: int
    recorded_on: str | None = None
    slots: str = SLOT_FUNCTION
    version: str = VERSION

    def to_kafka(self) -> list[tuple[str, bytes]]:
        """Raises ValueError for what `from_kafka` would refuse."""
        _number(str(self.epoch), EPOCH_MAX)
        _number(str(self.entries), ENTRIES_MAX)
        if self.recorded_on:
            recorded_date(self.recorded_on)
        pairs = [
            ("v", self.version),
            ("epoch", str(self.epoch)),
            ("slots", self.slots),
            ("entries", str(self.entries)),
        ]
        if self.recorded_on:
            pairs.append(("recorded-on", self.recorded_on))
        return [(key, value.encode()) for key, value in pairs]

    @classmethod
    def from_kafka(
        cls, headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]
    ) -> Header:
        """Raises ForeignRecord without our header, UnreadableRecord where it can't be understood."""
        # A header without a value says nothing.
        found = {key: value for key, value in dict(headers).items() if value is not None}
        if "v" not in found or "epoch" not in found or "slots" not in found:
            raise ForeignRecord("no v, epoch and slots header")
        try:
            version, slots = found["v"].decode(), found["slots"].decode()
            if version not in VERSIONS:
                raise UnreadableRecord(f"record version {version}, this worker reads {VERSIONS}")
            if slots not in SLOT_FUNCTIONS:
                raise UnreadableRecord(f"slot function {slots}, this worker knows {SLOT_FUNCTIONS}")
            recorded_on = found["recorded-on"].decode() if "recorded-on" in found else None
            if recorded_on is not None:
                recorded_date(recorded_on)
            return cls(
                _number(found["epoch"].decode(), EPOCH_MAX),
                _number(found["entries"].decode(), ENTRIES_MAX),
                recorded_on,
                slots,
                version,
            )
        except (KeyError, ValueError) as error:
            raise UnreadableRecord(f"header not understood: {error}") from error


_COMPRESSED = pa.ipc.IpcWriteOptions(compression=pa.Codec("lz4"))
_PLAIN = pa.ipc.IpcWriteOptions()
_SMALL_ROWS = 64
"""Below, setting LZ4 up costs more than it saves (0.28 ms a record)."""


def encode(judged: pa.RecordBatch, sent: pa.Array, metadata: Mapping[str, str]) -> pa.Buffer:
    """The record's value. `judged` has the columns of JUDGED; `sent` one value a row."""
    schema = pa.schema(
        [*JUDGED, pa.field("sent", sent.type)],
        metadata={key.encode(): value.encode() for key, value in metadata.items()},
    )
    batch = pa.RecordBatch.from_arrays([*judged.columns, sent], schema=schema)
    sink = pa.BufferOutputStream()
    options = _COMPRESSED if batch.num_rows >= _SMALL_ROWS else _PLAIN
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


_JUDGED_ONLY = pa.ipc.IpcReadOptions(included_fields=list(range(len(JUDGED))), use_threads=False)
_WHOLE = pa.ipc.IpcReadOptions(use_threads=False)


def decode(value: bytes | memoryview | pa.Buffer, version: str = VERSION) -> pa.RecordBatch:
    """The judged columns of a record, with ids of today. Raises UnreadableRecord."""
    if version == VERSION:
        return _read(value, _JUDGED_ONLY, JUDGED)
    from contracts.entries import version_1  # compiled: only who meets such a record pays for it

    batch = _read(value, _WHOLE, None)
    judged = batch.select(range(min(len(JUDGED), batch.num_columns)))
    if not judged.schema.equals(JUDGED) or "sent" not in batch.schema.names:
        raise UnreadableRecord("columns are not those of version 1")
    try:
        metadata = {k.decode(): v.decode() for k, v in (batch.schema.metadata or {}).items()}
        return version_1.renewed(judged, batch.column("sent"), metadata)
    except (ValueError, KeyError, csv.Error, pa.ArrowException) as error:
        raise UnreadableRecord(f"version 1: {error}") from error


def decode_sent(value: bytes | memoryview | pa.Buffer) -> tuple[pa.Array, dict[str, str]]:
    """What the sender sent, a value a row, and the record's metadata. Raises UnreadableRecord."""
    batch = _read(value, _WHOLE, None)
    metadata = {k.decode(): v.decode() for k, v in (batch.schema.metadata or {}).items()}
    return batch.column("sent"), metadata


def _read(
    value: bytes | memoryview | pa.Buffer,
    options: pa.ipc.IpcReadOptions,
    expected: pa.Schema | None,
) -> pa.RecordBatch:
    try:
        with pa.ipc.open_stream(pa.py_buffer(value), options=options) as reader:
            batch = reader.read_next_batch()
    except (pa.ArrowException, StopIteration, OSError) as error:
        raise UnreadableRecord(f"body not decoded: {error}") from error
    if expected is not None and not batch.schema.equals(expected):
        raise UnreadableRecord("columns are not those of the contract")
    return batch

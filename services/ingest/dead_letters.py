"""Refused rows as records of `dead-letters.v1`: with their own bytes and the reason. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.dead_letters import codec
from contracts.reasons import REASONS
from services.ingest.columns import CODES, Columns
from services.ingest.decoder.schema import is_encoded

_RECORD_MAX_BYTES = 4 * 1024 * 1024
_RECORD_MAX_ROWS = 4_096
TEXT_KEPT_BYTES = 1_024
"""Of a text in a row of Arrow or Parquet: no allowed one is longer, and many rows may share one."""
_KEPT_LEAST = 16 * 1024 * 1024
_KEPT_MOST = 64 * 1024 * 1024
_KEPT_TIMES = 16
_END = b"\xff\xff\xff\xff\0\0\0\0"
_NO_SHA = hashlib.sha256(b"").digest()


class Allowance:
    """What the dead letters of one request may keep: in proportion to what came."""

    def __init__(self, came: int) -> None:
        self._left = min(_KEPT_MOST, _KEPT_LEAST + _KEPT_TIMES * came)

    @property
    def left(self) -> bool:
        return self._left > 0

    def take(self, size: int) -> bool:
        """Whether a row of that size is still kept."""
        kept = size <= self._left
        self._left -= size if kept else self._left
        return kept


@dataclass(frozen=True)
class RefusedRows:
    """Refused rows of a chunk: their places in it and in their requests, whose they are, and why."""

    place: np.ndarray
    request: np.ndarray
    row: np.ndarray
    platform: Sequence[str]
    code: np.ndarray
    field: Sequence[str]


def message(code: str) -> str:
    reason = REASONS[code]
    return f"{reason.en} / {reason.zh}"


def records(
    columns: Columns,
    refused: RefusedRows,
    receipts: Sequence[bytes],
    allowed: Sequence[Allowance],
    at_ms: int,
) -> Iterator[tuple[str, pa.Buffer]]:
    """(platform, value) of each record: one platform's rows, in the order in which they came.

    `receipts` and `allowed` by request.
    """
    by_platform: dict[str, list[int]] = {}
    for number, platform in enumerate(refused.platform):
        by_platform.setdefault(platform, []).append(number)
    for platform, numbers in by_platform.items():
        for begin in range(0, len(numbers), _RECORD_MAX_ROWS):
            part = np.array(numbers[begin : begin + _RECORD_MAX_ROWS])
            rows = _Rows(columns, refused.place[part])
            waiting: list[_Letter] = []
            size = 0
            for nth, number in enumerate(part.tolist()):
                letter = rows.letter(nth, allowed[refused.request[number]])
                if waiting and size + len(letter.kept) > _RECORD_MAX_BYTES:
                    yield (
                        platform,
                        _encode(refused, part[nth - len(waiting) : nth], waiting, receipts, at_ms),
                    )
                    waiting, size = [], 0
                waiting.append(letter)
                size += len(letter.kept)
            yield (
                platform,
                _encode(refused, part[len(part) - len(waiting) :], waiting, receipts, at_ms),
            )


@dataclass(frozen=True)
class _Letter:
    """`size` and `sha256` of the whole row, 0 and of nothing where it was not even written."""

    kept: bytes
    size: int
    sha256: bytes


_NOT_KEPT = _Letter(b"", 0, _NO_SHA)


class _Rows:
    """The bytes of some refused rows."""

    def __init__(self, columns: Columns, places: np.ndarray) -> None:
        self._columns, self._places = columns, places
        self._streams: _Streams | None = None

    def letter(self, nth: int, allowed: Allowance) -> _Letter:
        if self._columns.raw is not None:
            whole = self._columns.raw.at(int(self._places[nth]))
        elif allowed.left:
            if self._streams is None:
                self._streams = _Streams(self._columns, self._places)
            whole = self._streams.at(nth)
        else:
            return _NOT_KEPT
        kept = whole[: codec.KEPT_BYTES]
        if not allowed.take(len(kept)):
            kept = b""
        return _Letter(kept, len(whole), hashlib.sha256(whole).digest())


class _Streams:
    """Rows as one-row Arrow IPC streams of their sender's schema, long texts cut."""

    def __init__(self, columns: Columns, places: np.ndarray) -> None:
        assert columns.sent is not None
        assert columns.sent_schema is not None
        taken = columns.sent.take(pa.array(places)).flatten()
        kinds = columns.sent_schema.types
        cut = [_cut(array) for array in taken]
        # One by one only where each row needs an encoding of its own.
        self._arrays = [
            array if is_encoded(kind) else _as_sent(array, kind)
            for array, kind in zip(cut, kinds, strict=True)
        ]
        like = [_as_sent(a.slice(0, 1), kind) for a, kind in zip(self._arrays, kinds, strict=True)]
        fields = [f.with_type(a.type) for f, a in zip(columns.sent_schema, like, strict=True)]
        self._schema = pa.schema(fields, columns.sent_schema.metadata)
        self._batch: pa.RecordBatch | None = None
        if not any(is_encoded(kind) for kind in self._schema.types):
            self._batch = pa.RecordBatch.from_arrays(self._arrays, schema=self._schema)
            self._head = self._schema.serialize().to_pybytes()
        self._alike = _alike(cut)
        self._known: dict[int, bytes] = {}

    def at(self, nth: int) -> bytes:
        """Rows that say the same are written once."""
        name = int(self._alike[nth])
        if name not in self._known:
            self._known[name] = self._write(nth)
        return self._known[name]

    def _write(self, nth: int) -> bytes:
        if self._batch is not None:
            one = self._batch.slice(nth, 1)
            return self._head + one.serialize().to_pybytes() + _END
        arrays = [
            _as_sent(array.slice(nth, 1), kind)
            for array, kind in zip(self._arrays, self._schema.types, strict=True)
        ]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return sink.getvalue().to_pybytes()


def _cut(array: pa.Array) -> pa.Array:
    """Texts cut to TEXT_KEPT_BYTES; a dictionary written out, so that each row has its own."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = pa.DictionaryArray.from_arrays(array.indices, _cut(array.dictionary))
        return values.dictionary_decode()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        wide = pa.types.is_large_string(kind)
        binary = array.view(pa.large_binary() if wide else pa.binary())
        longest = pc.max(pc.binary_length(binary)).as_py() or 0
        if longest <= TEXT_KEPT_BYTES:
            return array
        short = pc.binary_slice(binary, 0, TEXT_KEPT_BYTES)
        return short.cast(pa.large_binary() if wide else pa.binary()).view(kind)
    if pa.types.is_large_list(kind):
        items = _cut(array.flatten())
        sizes = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
        mask = array.is_null() if array.null_count else None
        return pa.LargeListArray.from_arrays(offsets, items, mask=mask)
    return array


def _as_sent(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """In its sender's type, or in the plain one where there is no way back. Encoded: one value."""
    if array.type == kind:
        return array
    try:
        if pa.types.is_dictionary(kind):
            values = array.cast(kind.value_type)
            encoded = pa.array([0], kind.index_type)
            if array.null_count:
                encoded, values = pa.array([None], kind.index_type), values.slice(0, 0)
            return pa.DictionaryArray.from_arrays(encoded, values, ordered=kind.ordered)
        if pa.types.is_run_end_encoded(kind):
            values = array.cast(kind.value_type)
            ends = pa.array([1], kind.run_end_type)
            return pa.RunEndEncodedArray.from_arrays(ends, values, kind)
        return array.cast(kind)
    except pa.ArrowException:
        return array


def _alike(arrays: list[pa.Array]) -> np.ndarray:
    """A number a row: equal where rows say the same in every column."""
    rows = len(arrays[0])
    number = np.zeros(rows, np.int64)
    for array in arrays:
        if pa.types.is_large_list(array.type):
            if array.null_count < rows:
                return np.arange(rows)
            continue
        codes = array.dictionary_encode(null_encoding="encode")
        if pa.types.is_null(array.type):
            continue
        _, number = np.unique(
            number * (len(codes.dictionary) + 1) + codes.indices.to_numpy(zero_copy_only=False),
            return_inverse=True,
        )
    return number


def _encode(
    refused: RefusedRows,
    numbers: np.ndarray,
    letters: list[_Letter],
    receipts: Sequence[bytes],
    at_ms: int,
) -> pa.Buffer:
    codes = [CODES[code] for code in refused.code[numbers].tolist()]
    numbered = numbers.tolist()
    columns = {
        "receipt": [receipts[request] for request in refused.request[numbers].tolist()],
        "row": refused.row[numbers],
        "platform": [refused.platform[number] for number in numbered],
        "code": codes,
        "field": [refused.field[number] for number in numbered],
        "message": [_MESSAGES[code] for code in codes],
        "at": [at_ms] * len(letters),
        "size": [letter.size for letter in letters],
        "sha256": [letter.sha256 for letter in letters],
        "bytes": [letter.kept for letter in letters],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in codec.SCHEMA]
    return codec.encode(pa.RecordBatch.from_arrays(arrays, schema=codec.SCHEMA))


_MESSAGES = {code: message(code) for code in REASONS}

"""Records of version 1: their ids were MurmurHash3, so ids are computed again from what was sent. Pure.

Whatever is read here is proved by the record itself: the old id of what was found must be the one
that stands in the record. So this reading need not know what ingest refuses, only where the names are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import pyarrow as pa

from contracts.entries.ids import ids_of, text_buffers
from contracts.entries.murmur import version_1_ids

_NAMES = ("entry_id", "merchant_id")


class _Named(msgspec.Struct):
    entry_id: str
    merchant_id: str


_named = msgspec.json.Decoder(_Named)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_MEMBER = re.compile(rb'"(entry_id|merchant_id)"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')


def renewed(judged: pa.RecordBatch, sent: pa.Array, metadata: Mapping[str, str]) -> pa.RecordBatch:
    """`judged` with ids and merchants of today. Raises ValueError where `sent` does not give them."""
    platform = judged.column("platform")
    platforms = platform.dictionary.to_pylist()
    codes = platform.indices.cast(pa.int32()).to_numpy(zero_copy_only=False)
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(platforms):
        raise ValueError("a platform's code without a platform")
    entries, merchants = _names(sent, metadata)
    entry_was, entry = _ids(platforms, codes, entries)
    merchant_was, merchant = _ids(platforms, codes, merchants)
    was = np.frombuffer(judged.column("id").buffers()[1], np.uint64)
    offset = judged.column("id").offset
    was = was[2 * offset : 2 * (offset + len(judged))].reshape(-1, 2)
    wrong = (entry_was != was).any(axis=1)
    wrong |= merchant_was[:, 0] != judged.column("merchant").to_numpy()
    if wrong.any():
        raise ValueError(f"row {int(np.flatnonzero(wrong)[0])}: what was sent has another id")
    new = pa.Array.from_buffers(pa.binary(16), len(judged), [None, pa.py_buffer(entry)])
    columns = dict(zip(judged.schema.names, judged.columns, strict=True))
    columns |= {"id": new, "merchant": pa.array(np.ascontiguousarray(merchant[:, 0]))}
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=judged.schema)


def _ids(platforms: list[str], codes: np.ndarray, names: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(ids of version 1, ids of today) of the same texts: uint64[n, 2] each."""
    data, bounds = text_buffers(names)
    start = np.ascontiguousarray(bounds[:-1])
    size = np.diff(bounds).astype(np.int32)
    all_ = np.ones(len(codes), np.bool_)
    of = (platforms, codes, data, start, size, all_)
    return version_1_ids(*of), ids_of(*of)


def _names(sent: pa.Array, metadata: Mapping[str, str]) -> tuple[pa.Array, pa.Array]:
    """(entry_id, merchant_id) of each row, as UTF-8."""
    if pa.types.is_struct(sent.type):
        entry, merchant = (_column(sent, name) for name in _NAMES)
        return entry, merchant
    rows = (value or b"" for value in sent.to_pylist())
    if metadata.get("format") == "csv":
        pairs = _of_csv(rows, metadata.get("header", ""))
    else:
        pairs = [_of_json(row) for row in rows]
    return (
        pa.array([entry for entry, _ in pairs], pa.large_binary()),
        pa.array([merchant for _, merchant in pairs], pa.large_binary()),
    )


def _column(sent: pa.StructArray, name: str) -> pa.Array:
    column = sent.field(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        column = column.view(pa.binary())
    return column.cast(pa.large_binary())


def _of_json(row: bytes) -> tuple[bytes, bytes]:
    try:
        named = _named.decode(row)
        return named.entry_id.encode(), named.merchant_id.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        # Of equal names the last counts, and the others may have any type.
        found = _object.decode(row)
        return _text.decode(found["entry_id"]).encode(), _text.decode(found["merchant_id"]).encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        pass
    # A row of more than 64 KiB was cut off, most likely in blanks.
    last = dict(_MEMBER.findall(row))
    entry, merchant = (last.get(name.encode(), b'""') for name in _NAMES)
    try:
        return _text.decode(entry).encode(), _text.decode(merchant).encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError("no entry_id and merchant_id in what was sent") from error


def _of_csv(rows: Iterable[bytes], header: str) -> list[tuple[bytes, bytes]]:
    columns = next(csv.reader([header], strict=True), [])
    if not set(_NAMES) <= set(columns):
        raise ValueError("a CSV header without entry_id and merchant_id")
    entry, merchant = (columns.index(name) for name in _NAMES)
    pairs = []
    for row in rows:
        fields = _fields(row)
        if max(entry, merchant) >= len(fields):
            raise ValueError("a CSV row without entry_id and merchant_id")
        pairs.append((fields[entry], fields[merchant]))
    return pairs


def _fields(row: bytes) -> list[bytes]:
    """The fields of one record without its line end (RFC 4180). A quote opens only at the start."""
    if b'"' not in row:
        return row.split(b",")
    fields: list[bytes] = []
    at = 0
    while True:
        if row[at : at + 1] == b'"':
            end = at + 1
            while True:
                end = row.find(b'"', end)
                if end < 0:
                    return fields
                if row[end + 1 : end + 2] != b'"':
                    break
                end += 2
            fields.append(row[at + 1 : end].replace(b'""', b'"'))
            at = end + 1
        else:
            end = row.find(b",", at)
            end = len(row) if end < 0 else end
            fields.append(row[at:end])
            at = end
        if at >= len(row):
            return fields
        at += 1

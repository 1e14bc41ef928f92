"""Rows as request bodies: plain columns as a platform would send them, put together without a Python object a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.rows import ALL_PLATFORMS, DISTRICTS, KINDS, MCCS, Rows

MEDIA_TYPES = {
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
}
_DIGITS = np.array([b"%04d" % n for n in range(10_000)], "S4")
_ENTRY_ID = np.dtype([("name", "S8"), *((f"d{n}", "S4") for n in range(4))])
_MERCHANT_ID = np.dtype([("name", "S4"), ("d0", "S4"), ("d1", "S4")])
_PLATFORMS, _KINDS, _DISTRICTS, _MCCS = map(
    pa.array, (ALL_PLATFORMS, (*KINDS, "gift"), DISTRICTS, MCCS)
)
_CHANNELS = pa.array(["online", "offline"])


def _numbered(number: np.ndarray, kind: np.dtype, name: bytes) -> pa.Array:
    """Texts of one width: the name, then the number in digits."""
    text = np.empty(len(number), kind)
    text["name"] = name
    for place, field in enumerate(reversed(kind.names[1:])):  # type: ignore[index]
        text[field] = _DIGITS[number // 10_000**place % 10_000]
    width = kind.itemsize
    ends = np.arange(0, (len(number) + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(number), pa.py_buffer(ends), pa.py_buffer(text.view(np.uint8))
    )


def _named(place: np.ndarray, names: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(place.astype(np.int32), names).dictionary_decode()


def batch(rows: Rows) -> pa.RecordBatch:
    """The contract's columns; of bad rows every second has no possible kind, the others no possible amount."""
    spoil = np.flatnonzero(rows.bad)
    kind, amount = rows.kind.copy(), rows.amount_fen.copy()
    kind[spoil[::2]] = len(KINDS)
    amount[spoil[1::2]] *= -1
    return pa.RecordBatch.from_pydict(
        {
            "entry_id": _numbered(rows.number, _ENTRY_ID, b"bench-e-"),
            "platform_id": _named(rows.platform, _PLATFORMS),
            "merchant_id": _numbered(rows.merchant, _MERCHANT_ID, b"shop"),
            "occurred_at": pa.array(rows.occurred_ms, pa.timestamp("ms", "UTC")),
            "kind": _named(kind, _KINDS),
            "amount_fen": pa.array(amount),
            "district_code": _named(rows.district, _DISTRICTS),
            "mcc": _named(rows.mcc, _MCCS),
            "channel": _named(rows.number & 1, _CHANNELS),
        }
    )


def arrow(rows: Rows) -> bytes:
    columns = batch(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write_batch(columns)
    return sink.getvalue().to_pybytes()


def lines(rows: Rows) -> list[bytes]:
    """A JSON object a row. Of the bad ones some can't be parsed at all, and some say too much."""
    columns = batch(rows)
    column = dict(zip(columns.schema.names, columns.columns, strict=True))
    instant = pc.strftime(column["occurred_at"], "%Y-%m-%dT%H:%M:%S")
    column["occurred_at"] = pc.binary_join_element_wise(instant, "Z", "")
    column["amount_fen"] = column["amount_fen"].cast(pa.string())
    parts: list[object] = []
    for name in columns.schema.names:
        quote = "" if name == "amount_fen" else '"'
        parts += ["," if parts else "{", f'"{name}":{quote}', column[name], quote]
    joined = pc.binary_join_element_wise(*parts, "}", "")
    text: list[bytes] = joined.cast(pa.binary()).to_pylist()
    for n, row in enumerate(np.flatnonzero(rows.bad).tolist()):
        if n % 4 == 2:
            text[row] = text[row][:-20]
        elif n % 4 == 3:
            text[row] = text[row][:-1] + b',"payer_name":"someone"}'
    return text


def ndjson(rows: Rows) -> bytes:
    return b"\n".join(lines(rows)) + b"\n"


RENDER = {"ndjson": ndjson, "arrow": arrow}

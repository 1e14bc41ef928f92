"""Entries as request bodies, in every accepted format, and rows that no door may accept.

Text is put together column by column: nothing in the simulated columns needs escaping.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.days import DAY_MS, SHANGHAI_MS
from simulation.columns import SCHEMA

MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
TAG_SEPARATOR = "|"
"""Between the tags of one CSV field."""

_OPTIONAL = ("refers_to", "district_code", "mcc", "channel", "scene_tags", "program_id")
_MINUTES = np.array([b"T%02d:%02d:" % divmod(n, 60) for n in range(1_440)], "S7")
_SECONDS = np.array([b"%02d." % n for n in range(60)], "S3")
_MILLIS = np.array([b"%03d" % n for n in range(1_000)], "S3")
_RFC3339 = np.dtype(
    [("day", "S10"), ("minute", "S7"), ("second", "S3"), ("milli", "S3"), ("zone", "S6")]
)


def render(batch: pa.RecordBatch, form: str, *, malformed: float = 0.0, seed: int = 0) -> bytes:
    """The batch as a request body. A share of its rows is spoiled; which and how follows from `seed`."""
    rng = np.random.default_rng([seed, 31])
    bad = np.flatnonzero(rng.random(len(batch)) < malformed) if malformed else np.empty(0, np.int64)
    if form in ("arrow", "parquet"):
        if len(bad):
            batch = _spoil_columns(batch, bad, rng)
        return _arrow(batch) if form == "arrow" else _parquet(batch)
    text = _rows_as_text(batch, form)
    if len(bad):
        rows = _split(text, form)
        spoilers = {"json": _JSON, "ndjson": _JSON + _BROKEN, "csv": _CSV}[form]
        for i, row in zip(bad.tolist(), batch.take(pa.array(bad)).to_pylist(), strict=True):
            rows[i] = spoilers[int(rng.integers(len(spoilers)))](_plain(row))
        text = b"\n".join(rows) + b"\n" if form != "json" else b",\n".join(rows) + b",\n"
    if form == "json":
        return b"[" + text[:-2] + b"]"
    return (",".join(SCHEMA.names).encode() + b"\n" + text) if form == "csv" else text


def _split(text: bytes, form: str) -> list[bytes]:
    return text[:-2].split(b",\n") if form == "json" else text[:-1].split(b"\n")


def _arrow(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _parquet(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), sink)
    return sink.getvalue()


# -- text --------------------------------------------------------------------------------------------


def _instants(batch: pa.RecordBatch, quote: str) -> pa.Array:
    """Every third row as epoch ms, the others in RFC 3339 at +08:00 or in UTC: all mean the same."""
    ms = batch.column("occurred_at").cast(pa.int64()).to_numpy()
    form = np.arange(len(ms)) % 3
    local = ms + np.where(form == 1, 0, SHANGHAI_MS)
    days, which = np.unique(local // DAY_MS, return_inverse=True)
    of_day = local % DAY_MS
    text = np.empty(len(ms), _RFC3339)
    text["day"] = np.datetime_as_string(days.astype("datetime64[D]")).astype("S10")[which]
    text["minute"] = _MINUTES[of_day // 60_000]
    text["second"] = _SECONDS[of_day % 60_000 // 1_000]
    text["milli"] = _MILLIS[of_day % 1_000]
    text["zone"] = np.where(form == 1, b"+00:00", b"+08:00")
    width = _RFC3339.itemsize
    ends = pa.py_buffer(np.arange(0, (len(ms) + 1) * width, width, dtype=np.int32))
    instants = pa.StringArray.from_buffers(len(ms), ends, pa.py_buffer(text.view(np.uint8)))
    if quote:
        instants = pc.binary_join_element_wise(quote, instants, quote, "")
    return pc.if_else(pa.array(form == 2), pa.array(ms).cast(pa.string()), instants)


def _rows_as_text(batch: pa.RecordBatch, form: str) -> bytes:
    """Rows one after the other, each with a line end (JSON: a comma and a line end)."""
    if len(batch) == 0:
        return b",\n" if form == "json" else b""
    column = {name: batch.column(name) for name in batch.schema.names}
    column["amount_fen"] = column["amount_fen"].cast(pa.string())
    column["subsidy_fen"] = column["subsidy_fen"].cast(pa.string())
    separator = TAG_SEPARATOR if form == "csv" else '","'
    column["scene_tags"] = pc.binary_join(column["scene_tags"], separator)
    column["occurred_at"] = _instants(batch, "" if form == "csv" else '"')
    parts: list[Any] = []
    if form == "csv":
        for name in SCHEMA.names:
            parts += [column[name], ","]
        parts[-1] = "\n"
    else:
        for name in ("entry_id", "platform_id", "merchant_id", "kind"):
            parts += ['{"' if not parts else ',"', name, '":"', column[name], '"']
        parts += [',"occurred_at":', column["occurred_at"], ',"amount_fen":', column["amount_fen"]]
        for name in _OPTIONAL:
            left, right = (f',"{name}":["', '"]') if name == "scene_tags" else (f',"{name}":"', '"')
            parts.append(pc.binary_join_element_wise(left, column[name], right, ""))
        parts.append(pc.binary_join_element_wise(',"subsidy_fen":', column["subsidy_fen"], ""))
        parts.append("},\n" if form == "json" else "}\n")
    joined = pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="")
    _, ends, data = joined.buffers()
    last = np.frombuffer(ends, np.int32)[joined.offset + len(joined)]
    return data.slice(0, int(last)).to_pybytes()


# -- what no door may accept -------------------------------------------------------------------------

Row = dict[str, Any]


def _plain(row: Row) -> Row:
    """A row as JSON says it, without its nulls."""
    row = {name: value for name, value in row.items() if value is not None}
    return {**row, "occurred_at": row["occurred_at"].isoformat(timespec="milliseconds")}


def _dumped(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


_FAULTS_IN_VALUE: list[dict[str, Any]] = [
    {"amount_fen": -100}, {"amount_fen": 0}, {"amount_fen": 10**13 + 1}, {"kind": "gift"},
    {"district_code": "599999"}, {"district_code": "50010"}, {"mcc": "58x2"}, {"mcc": "742"},
    {"merchant_id": "m" * 65}, {"entry_id": ""}, {"channel": "phone"}, {"subsidy_fen": -1},
    {"scene_tags": ["green"] * 17},
]  # fmt: skip
_FAULTS_OF_TIME: list[dict[str, Any]] = [
    {"occurred_at": "2026-13-01T00:00:00+08:00"}, {"occurred_at": "2026-02-01 08:00"},
    {"occurred_at": "2026-02-01T08:00:00"}, {"occurred_at": "2099-01-01T00:00:00Z"},
    {"occurred_at": "2019-01-01T00:00:00+08:00"},
]  # fmt: skip
_FAULTS_OF_TYPE: list[dict[str, Any]] = [
    {"amount_fen": "1200"}, {"amount_fen": 12.5}, {"amount_fen": 1200.0}, {"amount_fen": True},
    {"amount_fen": None}, {"merchant_id": 1234}, {"mcc": 5812}, {"district_code": 500101},
    {"occurred_at": None}, {"occurred_at": 1.5}, {"occurred_at": True}, {"scene_tags": "green"},
    {"entry_id": ["a"]}, {"kind": None}, {"payer_name": "someone"}, {"card_no": "6222"},
]  # fmt: skip


def _bad_utf8(row: Row) -> bytes:
    return _dumped({**row, "merchant_id": "BAD"}).replace(b"BAD", b"m\xff\xfe1")


def _change(fields: dict[str, Any]) -> Callable[[Row], bytes]:
    return lambda row: _dumped({**row, **fields})


def _drop(name: str) -> Callable[[Row], bytes]:
    return lambda row: _dumped({key: value for key, value in row.items() if key != name})


def _say(text: bytes) -> Callable[[Row], bytes]:
    return lambda row: text


_JSON: list[Callable[[Row], bytes]] = [
    *(_change(fields) for fields in _FAULTS_IN_VALUE + _FAULTS_OF_TIME + _FAULTS_OF_TYPE),
    *(_drop(name) for name in ("entry_id", "merchant_id", "occurred_at", "kind", "amount_fen")),
    _bad_utf8, _say(b'["not","an","object"]'), _say(b'"text"'), _say(b"17"), _say(b"null"),
]  # fmt: skip
_BROKEN: list[Callable[[Row], bytes]] = [
    lambda row: _dumped(row)[:-1],
    lambda row: _dumped(row)[: len(_dumped(row)) // 2],
    lambda row: _dumped(row) + b"}",
    lambda row: _dumped(row).replace(b'"', b"'"),
    lambda row: _dumped(row).replace(b":", b"=", 1),
    _say(b"{]"), _say(b"not json at all"), _say(b'{"entry_id":NaN}'),
]  # fmt: skip


def _csv_row(row: Row) -> bytes:
    cells = []
    for name in SCHEMA.names:
        value = row.get(name)
        value = (
            TAG_SEPARATOR.join(value) if isinstance(value, list) else "" if value is None else value
        )
        cells.append(str(value))
    return ",".join(cells).encode()


def _csv_change(fields: dict[str, Any]) -> Callable[[Row], bytes]:
    return lambda row: _csv_row({**row, **fields})


_CSV: list[Callable[[Row], bytes]] = [
    *(_csv_change(fields) for fields in _FAULTS_IN_VALUE + _FAULTS_OF_TIME),
    *(_csv_change({name: None}) for name in ("entry_id", "merchant_id", "occurred_at", "kind", "amount_fen")),
    *(_csv_change({"amount_fen": text}) for text in ("12.5", "1e3", "twelve", "12 yuan")),
    lambda row: _csv_row(row) + b",one too many",
    lambda row: _csv_row(row).rsplit(b",", 2)[0],
    lambda row: _csv_row({**row, "merchant_id": "BAD"}).replace(b"BAD", b"m\xff\xfe1"),
]  # fmt: skip

_COLUMN_FAULTS: list[dict[str, Any]] = [
    *(fields for fields in _FAULTS_IN_VALUE),
    {"merchant_id": None}, {"amount_fen": None}, {"occurred_at": None}, {"kind": None},
    {"occurred_at": 4_070_908_800_000}, {"occurred_at": 1_546_300_800_000},
]  # fmt: skip


def _spoil_columns(
    batch: pa.RecordBatch, bad: np.ndarray, rng: np.random.Generator
) -> pa.RecordBatch:
    """What can be wrong where the types are right: values, nulls, times."""
    which = rng.integers(len(_COLUMN_FAULTS), size=len(bad)).tolist()
    rows = batch.take(pa.array(bad)).to_pylist()
    spoiled = [{**row, **_COLUMN_FAULTS[n]} for row, n in zip(rows, which, strict=True)]
    order = np.arange(len(batch))
    order[bad] = len(batch) + np.arange(len(bad))
    both = pa.Table.from_batches([batch, pa.RecordBatch.from_pylist(spoiled, schema=batch.schema)])
    return both.take(pa.array(order)).combine_chunks().to_batches()[0]

"""A body, judged: what was refused and why, and what would stand in the log."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.dead_letters import codec as dead_codec
from contracts.entries import codec
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge

NOW_MS = 1_782_864_000_000  # 2026-07-01T00:00Z
RECEIPT = bytes(range(16))


@dataclass
class Result:
    received: int
    errors: list[tuple[int, str | None, str]]
    rows: list[dict[str, Any]]
    """Of the log, in the order of their row numbers."""
    dead: list[dict[str, Any]]


def judge_body(
    name: str,
    body: bytes,
    sender: str | None = "p1",
    index: MerchantIndex | None = None,
    now_ms: int = NOW_MS,
) -> Result:
    found = formats.read(name, body)
    if found.columns is None:
        return Result(0, [], [], [])
    request = Request(RECEIPT, sender, name, found.columns, found.header)
    chunk = judge([request], index or MerchantIndex(), 4, now_ms)
    outcome = chunk.outcomes[0]
    rows = [row for record in chunk.entries for row in codec.decode(record.value).to_pylist()]
    dead = [row for _, value in chunk.dead for row in dead_codec.decode(value).to_pylist()]
    assert len(rows) == outcome.accepted
    assert len(dead) == outcome.rejected
    errors = [(e.index, e.field, e.code) for e in outcome.errors]
    return Result(
        outcome.received,
        errors,
        sorted(rows, key=lambda r: r["row"]),
        sorted(dead, key=lambda d: d["row"]),
    )


ENTRY = {
    "entry_id": "e1",
    "platform_id": "p1",
    "merchant_id": "m1",
    "occurred_at": "2026-01-31T13:05:06.789+08:00",
    "kind": "sale",
    "amount_fen": 1250,
}

ARROW_TYPES = {
    "amount_fen": pa.int64(),
    "subsidy_fen": pa.int64(),
    "scene_tags": pa.list_(pa.string()),
}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    names = [name for name in formats.csv_body.FIELDS if any(name in row for row in rows)]
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kind = ARROW_TYPES.get(name, pa.string())
        if name == "occurred_at" and any(isinstance(v, int) for v in values):
            kind = pa.int64()
        columns[name] = pa.array(values, kind)
    return pa.table(columns)


def arrow(table: pa.Table, chunk: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, chunk)
    return sink.getvalue().to_pybytes()


def encode(name: str, rows: list[dict[str, Any]]) -> bytes:
    """The same rows in any format."""
    if name == "json":
        return json.dumps(rows, ensure_ascii=False).encode()
    if name == "ndjson":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if name == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, formats.csv_body.FIELDS)
        writer.writeheader()
        for row in rows:
            tags = row.get("scene_tags")
            writer.writerow(row | {"scene_tags": json.dumps(tags) if tags else ""})
        return out.getvalue().encode()
    if name == "arrow":
        return arrow(table_of(rows))
    sink = io.BytesIO()
    pq.write_table(table_of(rows), sink)
    return sink.getvalue()


FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")


@pytest.fixture
def judged() -> Callable[..., Result]:
    return judge_body


@pytest.fixture
def encoded() -> Callable[[str, list[dict[str, Any]]], bytes]:
    return encode


@pytest.fixture
def entry() -> Callable[..., dict[str, Any]]:
    """An entry with some fields said otherwise; a field set to `...` is left out."""

    def make(**said: Any) -> dict[str, Any]:
        return {k: v for k, v in (ENTRY | said).items() if v is not ...}

    return make


@pytest.fixture
def as_arrow() -> Callable[..., bytes]:
    return arrow


@pytest.fixture
def now_ms() -> int:
    return NOW_MS

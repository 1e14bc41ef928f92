"""`text/csv` with a header. An empty field is null. Pure."""

from __future__ import annotations

import csv

import numpy as np

from services.ingest.columns import (
    CHANNELS,
    CODE,
    FIELDS,
    NUMBER,
    REQUIRED,
    Columns,
    Text,
    empty_flaws,
)
from services.ingest.formats import csv_scan
from services.ingest.formats.json_rows import BOM
from services.ingest.formats.refused import BodyRefused, check_rows
from services.ingest.formats.tags import TagReader
from services.ingest.kernels import (
    NOT_INTEGER,
    TOO_BIG,
    codes_of_digits,
    codes_of_words,
    instants,
    integers,
)
from yumai.entry import KINDS

_STATE_CODES = {
    csv_scan.NOT_CSV: "not_csv",
    csv_scan.FIELD_COUNT: "field_count",
    csv_scan.NOT_UTF8: "not_utf8",
}


def read(body: bytes) -> tuple[Columns | None, str]:
    """(columns, header line); None without rows. Raises BodyRefused for the header."""
    names, header, begin = _header(body)
    if not names:
        return None, ""
    data = np.frombuffer(body, np.uint8)
    room = int(np.count_nonzero(data[begin:] == 10)) + 1
    start, end = np.empty(room, np.int64), np.empty(room, np.int64)
    state = np.zeros(room, np.uint8)
    starts = np.zeros((len(names), room), np.int64)
    sizes = np.full((len(names), room), -1, np.int32)
    doubled = np.zeros((len(names), room), np.uint8)
    rows = csv_scan.scan(data, begin, start, end, state, starts, sizes, doubled)
    if rows == 0:
        return None, header
    check_rows(rows)
    data = _undouble(data, starts, sizes, doubled, rows)
    flaw_field, flaw_code = empty_flaws(rows)
    for which, code in _STATE_CODES.items():
        mask = state[:rows] == which
        flaw_field[mask], flaw_code[mask] = 0, CODE[code]

    def flaw(name: str, mask: np.ndarray, code: str) -> None:
        mask = mask & (flaw_field > NUMBER[name])
        flaw_field[mask], flaw_code[mask] = NUMBER[name], CODE[code]

    def text(name: str) -> Text:
        if name not in names:
            return Text.nulls(rows)
        at = names.index(name)
        return Text(
            data, np.ascontiguousarray(starts[at, :rows]), np.ascontiguousarray(sizes[at, :rows])
        )

    def number(name: str) -> tuple[np.ndarray, np.ndarray]:
        column = text(name)
        values, states = integers(column)
        flaw(name, states == NOT_INTEGER, "wrong_type")
        flaw(name, states == TOO_BIG, "out_of_range")
        return values, column.size < 0

    when = text("occurred_at")
    epoch_ms, states = integers(when)
    stamped, readable = instants(when)
    null = when.size < 0
    flaw("occurred_at", (states == NOT_INTEGER) & ~readable & ~null, "invalid_time")
    flaw("occurred_at", states == TOO_BIG, "out_of_range")
    amount, amount_null = number("amount_fen")
    subsidy, subsidy_null = number("subsidy_fen")
    return Columns(
        rows=rows,
        entry_id=text("entry_id"),
        platform_id=text("platform_id"),
        merchant_id=text("merchant_id"),
        occurred_ms=np.where(readable, stamped, epoch_ms),
        occurred_null=null,
        kind=codes_of_words(text("kind"), KINDS),
        amount_fen=amount,
        amount_null=amount_null,
        refers_to=text("refers_to"),
        district=codes_of_digits(text("district_code"), 6),
        mcc=codes_of_digits(text("mcc"), 4),
        channel=codes_of_words(text("channel"), CHANNELS),
        tags=_tags(text("scene_tags"), flaw_field, flaw_code),
        program_id=text("program_id"),
        subsidy_fen=subsidy,
        subsidy_null=subsidy_null,
        flaw_field=flaw_field,
        flaw_code=flaw_code,
        raw=Text(data, start[:rows].copy(), (end - start)[:rows].astype(np.int32)),
    ), header


def _header(body: bytes) -> tuple[list[str], str, int]:
    """(columns, the header line, where the first record begins)."""
    at = len(BOM) if body.startswith(BOM) else 0
    while at < len(body):
        stop = body.find(b"\n", at)
        stop = len(body) if stop < 0 else stop
        line = body[at:stop].strip(b"\r \t")
        at = stop + 1
        if not line:
            continue
        try:
            header = line.decode()
            names = next(csv.reader([header], strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            raise BodyRefused("body_undecodable", None, f"header: {str(error)[:200]}") from error
        for name in names:
            if name not in NUMBER:
                raise BodyRefused("unknown_column", name[:64], f"unknown column {name[:64]!r}")
            if names.count(name) > 1:
                raise BodyRefused("unknown_column", name, f"column {name} comes twice")
        for name in FIELDS:
            if name in REQUIRED and name not in names:
                raise BodyRefused("missing_column", name, f"column {name} is missing")
        return names, header, at
    return [], "", at


def _undouble(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, doubled: np.ndarray, rows: int
) -> np.ndarray:
    """Doubled quotes become one, behind the body."""
    extra = bytearray()
    for column, row in np.argwhere(doubled[:, :rows]).tolist():
        begin = starts[column, row]
        value = data[begin : begin + sizes[column, row]].tobytes().replace(b'""', b'"')
        starts[column, row], sizes[column, row] = len(data) + len(extra), len(value)
        extra += value
    return np.concatenate([data, np.frombuffer(bytes(extra), np.uint8)]) if extra else data


def _tags(column: Text, flaw_field: np.ndarray, flaw_code: np.ndarray) -> Text:
    """Tags of a field: a JSON array, or texts between `;` or `|`."""
    tags = TagReader(len(column.size), flaw_field, flaw_code)
    for row in np.flatnonzero(column.size >= 0).tolist():
        value = column.at(row)
        if value.startswith(b"["):
            tags.json(row, value)
        else:
            parts = value.decode("utf-8", "replace").replace("|", ";").split(";")
            tags.listed(row, tuple(part.strip() for part in parts if part.strip()))
    return tags.text()

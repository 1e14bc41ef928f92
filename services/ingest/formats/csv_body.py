"""`text/csv` with a header. An empty field is null. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import numpy as np

from services.ingest.columns import (
    CHANNELS,
    CODE,
    FIELDS,
    NUMBER,
    PIECE_ROWS,
    REQUIRED,
    Columns,
    Text,
    empty_flaws,
)
from services.ingest.formats import csv_scan
from services.ingest.formats.json_rows import BOM
from services.ingest.formats.pieces import NOTHING, Read
from services.ingest.formats.tags import LIST_MAX_BYTES, TagReader
from services.ingest.kernels import (
    NOT_INTEGER,
    TOO_BIG,
    codes_of_digits,
    codes_of_words,
    instants,
    integers,
)
from services.ingest.refused import BodyRefused, check_rows
from yumai.entry import KINDS

_BLANKS = re.compile(rb"[\r\n \t]*")
_STATE_CODES = {
    csv_scan.NOT_CSV: "not_csv",
    csv_scan.FIELD_COUNT: "field_count",
    csv_scan.NOT_UTF8: "not_utf8",
}


HEADER_MAX_BYTES = 64 * 1024


def read(body: bytes, came: int) -> Read:
    """Raises BodyRefused for the header, and for too many rows."""
    names, header, begin = _header(body)
    if not names:
        return NOTHING
    data = np.frombuffer(body, np.uint8)
    rows, begins = 0, []
    while begin < len(data):
        count, after = csv_scan.scan(data, begin, PIECE_ROWS, *_room(len(names), 1))
        if count:
            begins.append((begin, after, count))
        rows += count
        check_rows(rows, came)
        begin = after

    def pieces() -> Iterator[Columns]:
        for at, after, count in begins:
            yield _piece(names, data[at:after], count)

    return Read(rows, pieces, header)


def _room(columns: int, rows: int) -> tuple[csv_scan.Records, csv_scan.Fields]:
    """What `csv_scan.scan` fills."""
    return (
        csv_scan.Records(
            np.empty(rows, np.int64), np.empty(rows, np.int64), np.zeros(rows, np.uint8)
        ),
        csv_scan.Fields(
            np.zeros((columns, rows), np.int64),
            np.full((columns, rows), -1, np.int32),
            np.zeros((columns, rows), np.uint8),
        ),
    )


def _piece(names: list[str], data: np.ndarray, rows: int) -> Columns:
    """`data`: `rows` records and nothing else."""
    # Room for one row only would mean: count.
    records, fields = _room(len(names), rows + 1)
    csv_scan.scan(data, 0, rows, records, fields)
    start, end, state = records
    starts, sizes, doubled = fields
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
    )


def _header(body: bytes) -> tuple[list[str], str, int]:
    """(columns, the header line, where the first record begins)."""
    blanks = _BLANKS.match(body, len(BOM) if body.startswith(BOM) else 0)
    at = blanks.end() if blanks else 0
    if at == len(body):
        return [], "", at
    stop = body.find(b"\n", at)
    stop = len(body) if stop < 0 else stop
    if stop - at > HEADER_MAX_BYTES:
        raise BodyRefused("body_undecodable", None, "the header is longer than 64 KiB")
    try:
        header = body[at:stop].strip(b"\r \t").decode()
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
    return names, header, stop + 1


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
        elif len(value) > LIST_MAX_BYTES:
            tags.wrong(row, "too_long")
        else:
            parts = value.decode("utf-8", "replace").replace("|", ";").split(";")
            tags.listed(row, tuple(part.strip() for part in parts if part.strip()))
    return tags.text()

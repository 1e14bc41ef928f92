"""What every format becomes: one set of columns over the rows of a request. Pure.

Every row that came has a place here, also one that could not be parsed: it carries a flaw. Texts
are spans of the bytes that came (or of an Arrow buffer): nothing is copied to be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts.entries.kernel_types import BYTES, INT32, INT64, group, read_only

FIELDS = (
    "entry_id",
    "platform_id",
    "merchant_id",
    "occurred_at",
    "kind",
    "amount_fen",
    "refers_to",
    "district_code",
    "mcc",
    "channel",
    "scene_tags",
    "program_id",
    "subsidy_fen",
)
"""Contract order. A field's number is its place here plus one; 0 means the row as a whole."""
NUMBER = {name: number for number, name in enumerate(FIELDS, 1)}
REQUIRED = frozenset(FIELDS[:6])

CODES = (
    "",
    "not_json",
    "not_object",
    "not_utf8",
    "not_csv",
    "field_count",
    "unknown_field",
    "missing_field",
    "wrong_type",
    "invalid_value",
    "out_of_range",
    "too_long",
    "invalid_time",
    "in_future",
    "too_old",
    "unknown_district",
    "platform_mismatch",
    "reserved_name",
)
CODE = {code: number for number, code in enumerate(CODES)}
NO_FLAW = 255

PIECE_ROWS = 131_072
"""A large body becomes columns in pieces: those of so many rows take some 40 MB."""

NULL, INVALID = -1, -2
"""In the small-number columns: nothing said, and said but not allowed."""

CHANNELS = {"online": 1, "offline": 2}


class Spans(NamedTuple):
    """A Text as kernels take it."""

    data: np.ndarray
    start: np.ndarray
    size: np.ndarray


SPANS = group(Spans, BYTES, INT64, INT32)


@dataclass
class Text:
    """A column of texts: bytes data[start:start+size]; size −1 is null."""

    data: np.ndarray
    start: np.ndarray
    size: np.ndarray

    @classmethod
    def nulls(cls, rows: int) -> Text:
        return cls(np.zeros(1, np.uint8), np.zeros(rows, np.int64), np.full(rows, NULL, np.int32))

    @property
    def spans(self) -> Spans:
        return Spans(read_only(self.data), read_only(self.start), read_only(self.size))

    def at(self, row: int) -> bytes:
        begin = int(self.start[row])
        return self.data[begin : begin + max(int(self.size[row]), 0)].tobytes()


@dataclass
class Columns:
    """`rows` rows. Numbers: Int64 with a mask of what is null; kind, channel, district and mcc as
    small numbers (NULL, INVALID). `tags`: sorted, joined by 0x1F, null where there are none."""

    rows: int
    entry_id: Text
    platform_id: Text
    merchant_id: Text
    occurred_ms: np.ndarray
    occurred_null: np.ndarray
    kind: np.ndarray
    amount_fen: np.ndarray
    amount_null: np.ndarray
    refers_to: Text
    district: np.ndarray
    mcc: np.ndarray
    channel: np.ndarray
    tags: Text
    program_id: Text
    subsidy_fen: np.ndarray
    subsidy_null: np.ndarray
    flaw_field: np.ndarray
    flaw_code: np.ndarray
    unknown: dict[int, str] = field(default_factory=dict)
    """Row -> name of the unknown field."""
    raw: Text | None = None
    """Each row's own bytes (text formats)."""
    sent: pa.StructArray | None = None
    """Each row as the sender's own columns (Arrow, Parquet)."""
    sent_schema: pa.Schema | None = None

    def flaw(self, row: int, field_number: int, code: str) -> None:
        """Notes why a row is refused; the first field in contract order wins."""
        if field_number < self.flaw_field[row]:
            self.flaw_field[row] = field_number
            self.flaw_code[row] = CODE[code]


def empty_flaws(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(rows, NO_FLAW, np.uint8), np.zeros(rows, np.uint8)


def concat(parts: Sequence[Columns]) -> Columns:
    """The rows of several requests of one kind, one after the other. `unknown` is left out."""
    if len(parts) == 1:
        return parts[0]
    joined: dict[tuple[int, ...], tuple[np.ndarray, list[int]]] = {}

    def texts(columns: list[Text]) -> Text:
        # Columns of a text format share one buffer: join it once.
        names = tuple(id(column.data) for column in columns)
        if names not in joined:
            data = np.concatenate([column.data for column in columns])
            shifts = np.cumsum([0, *(len(column.data) for column in columns[:-1])])
            joined[names] = (data, shifts.tolist())
        data, begins = joined[names]
        starts = [column.start + shift for column, shift in zip(columns, begins, strict=True)]
        return Text(data, np.concatenate(starts), np.concatenate([c.size for c in columns]))

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    first = parts[0]
    return Columns(
        rows=sum(part.rows for part in parts),
        entry_id=texts([part.entry_id for part in parts]),
        platform_id=texts([part.platform_id for part in parts]),
        merchant_id=texts([part.merchant_id for part in parts]),
        occurred_ms=column("occurred_ms"),
        occurred_null=column("occurred_null"),
        kind=column("kind"),
        amount_fen=column("amount_fen"),
        amount_null=column("amount_null"),
        refers_to=texts([part.refers_to for part in parts]),
        district=column("district"),
        mcc=column("mcc"),
        channel=column("channel"),
        tags=texts([part.tags for part in parts]),
        program_id=texts([part.program_id for part in parts]),
        subsidy_fen=column("subsidy_fen"),
        subsidy_null=column("subsidy_null"),
        flaw_field=column("flaw_field"),
        flaw_code=column("flaw_code"),
        raw=texts([part.raw for part in parts if part.raw]) if first.raw else None,
        sent=pa.concat_arrays([p.sent for p in parts if p.sent is not None])
        if first.sent is not None
        else None,
        sent_schema=first.sent_schema,
    )

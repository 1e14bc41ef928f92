"""Rows of JSON, wherever they come from (NDJSON, an array, the Kafka door), as columns. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
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
from services.ingest.formats import json_scan
from services.ingest.formats.json_scan import MISSING, NUMBERS, SAID, UNREADABLE_TIME
from services.ingest.formats.pieces import Read
from services.ingest.formats.tags import TagReader
from services.ingest.kernels import codes_of_digits, codes_of_words, instant
from yumai.entry import KINDS

_INTEGER = re.compile(rb"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INT64_MAX = 2**63 - 1
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)
_text = msgspec.json.Decoder(str)

BOM = b"\xef\xbb\xbf"
SLOW_MAX_BYTES = 1024 * 1024
"""A row that the quick reading leaves over is looked at up to this size: its fields become objects."""


def read_pieces(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> Read:
    """The rows data[start:end], which lie one behind the other."""

    def pieces() -> Iterator[Columns]:
        for a in range(0, len(start), PIECE_ROWS):
            b = min(a + PIECE_ROWS, len(start))
            base = start[a]
            yield read(data[base : end[b - 1]], start[a:b] - base, end[a:b] - base)

    return Read(len(start), pieces)


def read(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> Columns:
    """Columns of the rows data[start:end]; a row that can't be read carries its flaw."""
    rows = len(start)
    fields = len(FIELDS)
    starts = np.zeros((fields, rows), np.int64)
    sizes = np.empty((fields, rows), np.int32)
    numbers = np.zeros((len(NUMBERS), rows), np.int64)
    state = np.empty((len(NUMBERS), rows), np.uint8)
    pace = np.empty(rows, np.uint8)
    json_scan.scan(data, start, end, starts, sizes, numbers, state, pace)
    flaw_field, flaw_code = empty_flaws(rows)
    unknown: dict[int, str] = {}
    slow = np.flatnonzero(pace)
    if len(slow):
        reader = _SlowReader(
            len(data), starts, sizes, numbers, state, flaw_field, flaw_code, unknown
        )
        for row in slow.tolist():
            reader.read(row, data[start[row] : end[row]].tobytes())
        if reader.extra:
            data = np.concatenate([data, np.frombuffer(bytes(reader.extra), np.uint8)])

    def text(name: str) -> Text:
        number = NUMBER[name] - 1
        return Text(data, starts[number], sizes[number])

    unreadable = state[0] == UNREADABLE_TIME
    if unreadable.any():
        _set_flaws(flaw_field, flaw_code, unreadable, "occurred_at", "invalid_time")
    tags = TagReader(rows, flaw_field, flaw_code)
    tags_at = NUMBER["scene_tags"] - 1
    for row in np.flatnonzero(sizes[tags_at] >= 0).tolist():
        begin = starts[tags_at, row]
        tags.json(row, data[begin : begin + sizes[tags_at, row]].tobytes())
    return Columns(
        rows=rows,
        entry_id=text("entry_id"),
        platform_id=text("platform_id"),
        merchant_id=text("merchant_id"),
        occurred_ms=numbers[0],
        occurred_null=state[0] == MISSING,
        kind=codes_of_words(text("kind"), KINDS),
        amount_fen=numbers[1],
        amount_null=state[1] == MISSING,
        refers_to=text("refers_to"),
        district=codes_of_digits(text("district_code"), 6),
        mcc=codes_of_digits(text("mcc"), 4),
        channel=codes_of_words(text("channel"), CHANNELS),
        tags=tags.text(),
        program_id=text("program_id"),
        subsidy_fen=numbers[2],
        subsidy_null=state[2] == MISSING,
        flaw_field=flaw_field,
        flaw_code=flaw_code,
        unknown=unknown,
        raw=Text(data, np.asarray(start), (end - start).astype(np.int32)),
    )


def _set_flaws(
    fields: np.ndarray, codes: np.ndarray, mask: np.ndarray, name: str, code: str
) -> None:
    mask = mask & (fields > NUMBER[name])
    fields[mask] = NUMBER[name]
    codes[mask] = CODE[code]


class _SlowReader:
    """Reads one row with msgspec into the arrays, texts going to `extra` behind the body."""

    def __init__(self, base, starts, sizes, numbers, state, flaw_field, flaw_code, unknown) -> None:
        self._base, self._starts, self._sizes = base, starts, sizes
        self._numbers, self._state = numbers, state
        self._flaw_field, self._flaw_code, self._unknown = flaw_field, flaw_code, unknown
        self.extra = bytearray()

    def read(self, row: int, raw: bytes) -> None:
        self._sizes[:, row] = -1
        self._state[:, row] = MISSING
        if len(raw) > SLOW_MAX_BYTES:
            self._flaw(row, 0, "too_long")
            return
        fields = self._fields(row, raw)
        if fields is None:
            return
        for name, value in fields.items():
            if name not in NUMBER:
                self._unknown[row] = name[:64]
                self._flaw(row, 0, "unknown_field")
                return
            code = self._value(row, name, bytes(value).strip())
            if code:
                self._flaw(row, NUMBER[name], code)
        for name in REQUIRED:
            if name not in fields:
                self._flaw(row, NUMBER[name], "missing_field")

    def _flaw(self, row: int, number: int, code: str) -> None:
        if number < self._flaw_field[row]:
            self._flaw_field[row] = number
            self._flaw_code[row] = CODE[code]

    def _fields(self, row: int, raw: bytes) -> dict[str, msgspec.Raw] | None:
        try:
            raw.decode()
        except UnicodeDecodeError:
            self._flaw(row, 0, "not_utf8")
            return None
        try:
            return _object.decode(raw)
        except msgspec.ValidationError:
            code = "not_object"
            try:
                _any.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                code = "not_json"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            code = "not_json"
        self._flaw(row, 0, code)
        return None

    def _value(self, row: int, name: str, raw: bytes) -> str | None:
        """Takes a field's value; the code of what is wrong with it."""
        number = NUMBER[name] - 1
        if raw == b"null":
            return "missing_field" if name in REQUIRED else None
        if raw[:1] == b'"':
            try:
                value = _text.decode(raw).encode()
            except (msgspec.DecodeError, UnicodeError):
                self._flaw(row, 0, "not_json")
                return None
            if name in ("amount_fen", "subsidy_fen", "scene_tags"):
                return "wrong_type"
            if name == "occurred_at":
                readable, value_ms = instant(np.frombuffer(value or b"-", np.uint8), 0, len(value))
                self._numbers[0, row] = value_ms
                self._state[0, row] = SAID
                return None if readable else "invalid_time"
            self._keep(row, number, value)
            return None
        if name in NUMBERS and _INTEGER.fullmatch(raw):
            # int() of thousands of digits is slow and limited: too long is too big.
            value_int = int(raw) if len(raw) < 25 else _INT64_MAX + 1
            if abs(value_int) > _INT64_MAX:
                return "out_of_range"
            self._numbers[NUMBERS[name], row] = value_int
            self._state[NUMBERS[name], row] = SAID
            return None
        if name == "scene_tags" and raw[:1] == b"[":
            self._keep(row, number, raw)
            return None
        if raw[:1] in b"-0123456789" and not _FLOAT.fullmatch(raw):
            self._flaw(row, 0, "not_json")
            return None
        return "wrong_type"

    def _keep(self, row: int, number: int, value: bytes) -> None:
        self._starts[number, row] = self._base + len(self.extra)
        self._sizes[number, row] = len(value)
        self.extra += value

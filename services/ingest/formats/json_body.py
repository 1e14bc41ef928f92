"""`application/json`: one object, or an array of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import numpy as np

from services.ingest.formats import json_rows, json_scan
from services.ingest.formats.pieces import NOTHING, Read
from services.ingest.refused import BodyRefused, check_rows

_any = msgspec.json.Decoder(msgspec.Raw)
_BLANKS = re.compile(rb"[ \t\r\n]*")
# Numbers that JSON has no word for (Python writes them all the same) -> as many bytes of JSON.
_NO_NUMBERS = ((b"-Infinity", b"        0"), (b"Infinity", b"       0"), (b"NaN", b"  0"))


def _check(body: bytes) -> None:
    """Raises msgspec.DecodeError where the body is no JSON as a whole.

    A lone surrogate and a number that is none are an element's own fault: here they count as a
    blank and as 0.
    """
    try:
        _any.decode(body)
    except msgspec.DecodeError:
        for word, number in _NO_NUMBERS:
            body = body.replace(word, number)
        mended = bytearray(body)
        json_scan.blank_surrogates(np.frombuffer(mended, np.uint8))
        _any.decode(mended)


def read(body: bytes, came: int) -> Read:
    """Raises BodyRefused where the body as a whole is not JSON, or neither object nor array."""
    body = body.removeprefix(json_rows.BOM)
    begin = _begin(body)
    kind = body[begin : begin + 1]
    if not kind:
        return NOTHING
    if kind not in (b"[", b"{"):
        raise BodyRefused("body_undecodable", None, "neither a JSON object nor an array")
    if kind == b"[":
        return json_rows.read_pieces(*elements(body, lambda rows: check_rows(rows, came)))
    _check_whole(body)
    end = len(body.rstrip(b" \t\r\n"))
    return json_rows.read_pieces(np.frombuffer(body, np.uint8), np.array([begin]), np.array([end]))


def elements(
    body: bytes, check: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the body's bytes, where each element of its array begins, where it ends).

    `check` is asked about their number before there is room for any. Raises BodyRefused.
    """
    body = body.removeprefix(json_rows.BOM)
    if not body.startswith(b"[", _begin(body)):
        raise BodyRefused("body_undecodable", None, "want a JSON array")
    _check_whole(body)
    data = np.frombuffer(body, np.uint8)
    rows = json_scan.elements(data, json_scan.NONE, json_scan.NONE)
    check(rows)
    start, end = np.empty(rows, np.int64), np.empty(rows, np.int64)
    json_scan.elements(data, start, end)
    return data, start, end


def _begin(body: bytes) -> int:
    blanks = _BLANKS.match(body)
    return blanks.end() if blanks else 0


def _check_whole(body: bytes) -> None:
    try:
        _check(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BodyRefused("body_undecodable", None, f"not JSON: {error}") from error

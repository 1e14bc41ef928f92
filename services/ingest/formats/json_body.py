"""`application/json`: one object, or an array of them. Pure."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from services.ingest.columns import Columns
from services.ingest.formats import json_rows, json_scan
from services.ingest.formats.refused import BodyRefused, check_rows

_any = msgspec.json.Decoder(msgspec.Raw)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

# A lone surrogate, and a number that JSON has no word for (Python writes it all the same), are an element's
# own fault: for the look at the whole they count as a blank and as null.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NO_NUMBER = re.compile(rb"NaN|-?Infinity")


def _decode(decoder: msgspec.json.Decoder, body: bytes) -> None:
    """Raises msgspec.DecodeError where the body is no JSON as a whole."""
    try:
        decoder.decode(body)
    except msgspec.DecodeError:
        if not (_SURROGATE.search(body) or _NO_NUMBER.search(body)):
            raise
        decoder.decode(_NO_NUMBER.sub(b"null", _SURROGATE.sub(b"\\\\u0020", body)))


def read(body: bytes) -> Columns:
    """Raises BodyRefused where the body as a whole is not JSON, or neither object nor array."""
    body = body.removeprefix(json_rows.BOM)
    kind = body.lstrip(b" \t\r\n")[:1]
    if not kind:
        nothing = np.empty(0, np.int64)
        return json_rows.read(np.zeros(1, np.uint8), nothing, nothing)
    data = np.frombuffer(body, np.uint8)
    try:
        if kind == b"[":
            _decode(_any, body)
            room = int(np.count_nonzero(data == ord(","))) + 1
            start, end = np.empty(room, np.int64), np.empty(room, np.int64)
            count = json_scan.elements(data, start, end)
            check_rows(count)
            return json_rows.read(data, start[:count], end[:count])
        if kind == b"{":
            _decode(_object, body)
            begin = len(body) - len(body.lstrip(b" \t\r\n"))
            last = len(body.rstrip(b" \t\r\n"))
            return json_rows.read(data, np.array([begin]), np.array([last]))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BodyRefused("body_undecodable", None, f"not JSON: {error}") from error
    raise BodyRefused("body_undecodable", None, "neither a JSON object nor an array")

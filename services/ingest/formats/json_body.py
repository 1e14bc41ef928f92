"""`application/json`: one object, or an array of them. Pure."""

from __future__ import annotations

import msgspec
import numpy as np

from services.ingest.columns import Columns
from services.ingest.formats import json_rows, json_scan
from services.ingest.formats.refused import BodyRefused

_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
            count = len(_array.decode(body))
            start, end = np.empty(count, np.int64), np.empty(count, np.int64)
            if json_scan.elements(data, start, end) != count:
                raise BodyRefused("body_undecodable", None, "the array can't be taken apart")
            return json_rows.read(data, start, end)
        if kind == b"{":
            _object.decode(body)
            begin = len(body) - len(body.lstrip(b" \t\r\n"))
            last = len(body.rstrip(b" \t\r\n"))
            return json_rows.read(data, np.array([begin]), np.array([last]))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BodyRefused("body_undecodable", None, f"not JSON: {error}") from error
    raise BodyRefused("body_undecodable", None, "neither a JSON object nor an array")

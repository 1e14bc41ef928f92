"""`application/x-ndjson`: one JSON object a line. Pure."""

from __future__ import annotations

import numpy as np

from services.ingest.formats import json_rows, json_scan
from services.ingest.formats.pieces import Read
from services.ingest.refused import check_rows


def read(body: bytes, came: int) -> Read:
    """Raises BodyRefused for too many rows."""
    data = np.frombuffer(body or b"\n", np.uint8)
    if body.startswith(json_rows.BOM):
        data = data[3:] if len(body) > 3 else np.frombuffer(b"\n", np.uint8)
    rows = json_scan.lines(data, json_scan.NONE, json_scan.NONE)
    check_rows(rows, came)
    start, end = np.empty(rows, np.int64), np.empty(rows, np.int64)
    json_scan.lines(data, start, end)
    return json_rows.read_pieces(data, start, end)

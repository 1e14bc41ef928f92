"""`application/x-ndjson`: one JSON object a line. Pure."""

from __future__ import annotations

import numpy as np

from services.ingest.columns import Columns
from services.ingest.formats import json_rows, json_scan
from services.ingest.formats.refused import check_rows


def read(body: bytes) -> Columns:
    data = np.frombuffer(body or b"\n", np.uint8)
    if body.startswith(json_rows.BOM):
        data = data[3:] if len(body) > 3 else np.frombuffer(b"\n", np.uint8)
    room = int(np.count_nonzero(data == 10)) + 1
    start, end = np.empty(room, np.int64), np.empty(room, np.int64)
    count = json_scan.lines(data, start, end)
    check_rows(count)
    return json_rows.read(data, start[:count], end[:count])

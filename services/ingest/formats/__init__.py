"""The formats of the HTTP door: media type -> how its body becomes columns. Pure."""

from __future__ import annotations

import pyarrow as pa

from services.ingest.decoder.decode import decode
from services.ingest.formats import arrow_table, csv_body, json_body, ndjson
from services.ingest.formats.pieces import Read
from services.ingest.refused import BodyRefused

MEDIA_TYPES = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
DECODED = ("arrow", "parquet")
"""Formats whose bodies go through `decoder` first."""
_READERS = {"json": json_body.read, "ndjson": ndjson.read, "csv": csv_body.read}


def read(name: str, body: bytes, came: int | None = None) -> Read:
    """The rows of a decompressed body, Arrow and Parquet decoded right here. Raises BodyRefused.

    `came`: its bytes before that, where it was packed.
    """
    came = len(body) if came is None else came
    try:
        if name not in DECODED:
            return _READERS[name](body, came)
        sink = pa.BufferOutputStream()
        rows = decode(name, pa.py_buffer(body), came, sink)
        return arrow_table.read(sink.getvalue(), rows)
    except MemoryError as error:
        raise BodyRefused("too_large", None, "more than there is memory for") from error

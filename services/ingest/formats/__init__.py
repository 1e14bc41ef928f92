"""The formats of the HTTP door: media type -> how its body becomes columns. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from services.ingest.columns import Columns
from services.ingest.formats import arrow_stream, csv_body, json_body, ndjson, parquet
from services.ingest.formats.refused import BodyRefused


@dataclass(frozen=True)
class Read:
    """`columns` None: there were no rows at all."""

    columns: Columns | None
    header: str = ""


MEDIA_TYPES = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}


_READERS = {
    "json": json_body.read,
    "ndjson": ndjson.read,
    "arrow": arrow_stream.read,
    "parquet": parquet.read,
}


def read(name: str, body: bytes) -> Read:
    """The rows of a decompressed body. Raises BodyRefused."""
    if name == "csv":
        columns, header = csv_body.read(body)
        return Read(columns, header)
    try:
        columns = _READERS[name](body)
    except (pa.ArrowException, MemoryError) as error:
        raise BodyRefused("body_undecodable", None, f"not decoded: {str(error)[:200]}") from error
    return Read(columns if columns is not None and columns.rows else None)

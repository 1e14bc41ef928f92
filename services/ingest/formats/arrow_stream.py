"""`application/vnd.apache.arrow.stream`. Pure."""

from __future__ import annotations

import pyarrow as pa

from services.ingest.columns import Columns
from services.ingest.formats import arrow_table
from services.ingest.formats.refused import BodyRefused, check_rows

_END = b"\xff\xff\xff\xff\0\0\0\0"
_END_OLD = b"\0\0\0\0"


def read(body: bytes) -> Columns | None:
    """None for an empty body. Raises BodyRefused.

    A stream has to say that it ends: one that was cut between two batches looks whole otherwise.
    """
    if not body:
        return None
    source = pa.BufferReader(body)
    batches = []
    decoded = rows = 0
    try:
        with pa.ipc.open_stream(source) as reader:
            schema = reader.schema
            arrow_table.check_schema(schema)
            for batch in reader:
                batch.validate()
                decoded += batch.nbytes
                rows += batch.num_rows
                check_rows(rows)
                if decoded > arrow_table.DECODED_MAX_BYTES:
                    raise BodyRefused("too_large", None, "more than 1 GiB of columns")
                batches.append(batch)
        at = source.tell()
    except (pa.ArrowException, OSError, ValueError, EOFError, MemoryError) as error:
        raise BodyRefused(
            "body_undecodable", None, f"not an Arrow stream: {str(error)[:200]}"
        ) from error
    # Streams of before Arrow 0.15 have no continuation marker, and another end.
    end = _END if body.startswith(_END[:4]) else _END_OLD
    if body[at - len(end) : at] != end:
        raise BodyRefused("body_undecodable", None, "the Arrow stream has no end: it was cut off")
    return arrow_table.read(pa.Table.from_batches(batches, schema=schema))

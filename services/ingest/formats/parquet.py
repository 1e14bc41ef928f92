"""`application/vnd.apache.parquet`. Pure."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from services.ingest.columns import Columns
from services.ingest.formats import arrow_table
from services.ingest.formats.refused import BodyRefused, check_rows


def read(body: bytes) -> Columns | None:
    """None for an empty body. Raises BodyRefused."""
    if not body:
        return None
    try:
        with pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True) as file:
            arrow_table.check_schema(file.schema_arrow)
            told = sum(
                file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)
            )
            check_rows(file.metadata.num_rows)
            if told > arrow_table.DECODED_MAX_BYTES:
                raise BodyRefused("too_large", None, "more than 1 GiB of columns")
            groups = []
            decoded = 0
            for number in range(file.num_row_groups):
                groups.append(file.read_row_group(number, use_threads=False))
                decoded += groups[-1].nbytes
                if decoded > arrow_table.DECODED_MAX_BYTES:
                    raise BodyRefused("too_large", None, "more than 1 GiB of columns")
            table = pa.concat_tables(groups) if groups else file.schema_arrow.empty_table()
    except (pa.ArrowException, OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise BodyRefused("body_undecodable", None, f"not Parquet: {str(error)[:200]}") from error
    return arrow_table.read(table)

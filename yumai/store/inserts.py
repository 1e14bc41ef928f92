"""Inserts that count: a store that acknowledges fewer rows than it was sent has not stored them.

The store's summary counts rows on their way into a table and into the views on it, so more than
were sent is fine. It counts also what a deduplication log would drop; `guarantees.py` turns that off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.summary import QuerySummary

if TYPE_CHECKING:
    import pyarrow as pa


class NotStored(ClickHouseError):
    """Rows are missing though the store said 200: as good as away, send them again."""


def insert_stream(
    client: Client, table: str, stream: pa.Buffer, rows: int, settings: dict[str, Any] | None = None
) -> None:
    """One Arrow IPC stream of so many rows. Raises STORE_ERRORS, NotStored among them."""
    # By the buffer protocol: no copy into bytes, whatever the annotation says.
    body: Any = memoryview(stream)
    done = client.raw_insert(table, insert_block=body, fmt="ArrowStream", settings=settings)
    _require(done, table, rows)


def insert_rows(
    client: Client, table: str, rows: Sequence[Sequence[Any]], column_names: Sequence[str]
) -> None:
    """Raises STORE_ERRORS, NotStored among them."""
    _require(client.insert(table, rows, column_names=column_names), table, len(rows))


def _require(done: QuerySummary, table: str, rows: int) -> None:
    if done.written_rows < rows:
        raise NotStored(f"{table}: {done.written_rows:,} rows written of {rows:,} sent")

"""Where a partition begins, and what it must know before its first record. Reads the store.

The start is a block's first offset: the lower of the broker's committed offset (a hint) and the
store's lowest incomplete block. A store that was lost, or restored from a backup, reads again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.external import ExternalData

from contracts.entries.codec import SLOT_FUNCTION
from services.metrics.blocks import FUNCTION_VERSION
from services.metrics.processor import BookedBefore
from services.metrics.seen import Filter
from yumai.entry import BLOCK_OFFSETS, IDS_SINCE_FUNCTION, SLOTS
from yumai.store.layout import Layout

log = logging.getLogger("yumai.metrics.placement")

FIRST_EPOCH = 1
"""While the log has one epoch, a partition's ids lie on one shard, and only that one is asked."""
LITERAL_IDS = 500
_LITERALS = {"max_query_size": 4_000_000, "max_ast_elements": 100_000}


RESTART_HINT = "then `yumai scale metrics 0` and `yumai scale metrics 1`"


@dataclass(frozen=True)
class Start:
    """`offset`: a block's first. `written`: last offset the store holds of the log, or -1.

    `old_ids`: the block is complete, but its ids are of a function that no longer is.
    """

    offset: int
    written: int
    old_ids: bool = False


def start_of(client: Client, epoch: int, part: int, committed: int | None) -> Start:
    """Raises STORE_ERRORS."""
    rows = client.query(
        "SELECT block, last_offset, complete, function_version FROM blocks FINAL"
        " WHERE epoch = {e:UInt16} AND part = {p:UInt16} ORDER BY block",
        parameters={"e": epoch, "p": part},
    ).result_rows
    expected = 0
    old_ids = False
    for block, _, complete, version in rows:
        old_ids = version < IDS_SINCE_FUNCTION and int(block) == expected
        if int(block) != expected or not complete or old_ids:
            break
        expected += 1
    if committed is not None and committed >= 0:
        expected = min(expected, committed // BLOCK_OFFSETS)
    written = max((int(last) for _, last, _, _ in rows), default=-1)
    return Start(expected * BLOCK_OFFSETS, written, old_ids)


def older_epoch_of_old_ids(client: Client, epoch: int) -> int | None:
    """An epoch before this one whose ledger has ids of a function that no longer is; None: there is none."""
    rows = client.query(
        "SELECT min(epoch) FROM blocks FINAL"
        " WHERE epoch < {e:UInt16} AND function_version < {v:UInt16} HAVING count() > 0",
        parameters={"e": epoch, "v": IDS_SINCE_FUNCTION},
    ).result_rows
    return int(rows[0][0]) if rows else None


def missing(start: Start, log_start: int, older_epoch: int | None) -> str:
    """Why records can't be read any more that would have to be, and what to do; "" where none is missing."""
    if older_epoch is not None or (start.old_ids and log_start > start.offset):
        which = (
            f"epoch {older_epoch}"
            if older_epoch is not None
            else f"what stands from offset {start.offset} to {log_start}"
        )
        return (
            f"the ledger has {which} under ids of an earlier version, and the log, from which they "
            "would be made anew, no longer has its records; nothing was changed: go back to the "
            "version of the programs that wrote them"
        )
    if log_start > start.offset:
        return (
            f"the log begins at offset {log_start}, block starts at {start.offset}: "
            "records are gone that the store does not hold; restore the store from a backup "
            f"that reaches offset {log_start}, {RESTART_HINT}"
        )
    return ""


def drop_foreign_function(
    client: Client, layout: Layout, epoch: int, part: int, start: int
) -> bool:
    """Removes rows at and above `start` that another function version wrote; whether there were any.

    One block, one function: its cells would mix otherwise. Only with no older worker alive.
    """
    parameters = {"e": epoch, "p": part, "b": start // BLOCK_OFFSETS, "v": FUNCTION_VERSION}
    found = client.query(
        "SELECT count() FROM blocks FINAL WHERE epoch = {e:UInt16} AND part = {p:UInt16}"
        " AND block >= {b:UInt64} AND function_version != {v:UInt16}",
        parameters=parameters,
    ).result_rows[0][0]
    if not found:
        return False
    where = f"epoch = {epoch} AND part = {part} AND"
    block = start // BLOCK_OFFSETS
    for table, beginning in (
        ("entries", f"off >= {start}"),
        ("verdicts", f"off >= {start}"),
        ("cells", f"block >= {block}"),
        ("receipt_bookings", f"block >= {block}"),
        # Days that were closed are open again until the log is read.
        ("progress", "1"),
        ("blocks", f"block >= {block}"),
    ):
        client.command(
            f"ALTER TABLE {layout.rows_of(table)} DELETE WHERE {where} {beginning}",
            settings={"mutations_sync": 2},
        )
    log.warning("partition %d: rows of another function version removed from block %d", part, block)
    return True


def load_filter(
    client: Client,
    epoch: int,
    part: int,
    partitions: int,
    below: int,
    slot_function: str = SLOT_FUNCTION,
) -> Filter:
    """A filter of every id of this partition below `below`, older epochs included."""
    where = f"(epoch = {epoch} AND part = {part} AND off < {below})"
    if epoch > FIRST_EPOCH:
        slot = f"reinterpretAsUInt64(substring(id, 1, 8)) % {SLOTS}"
        where += f" OR (epoch < {epoch}"
        # By another slot function no id of the ledger tells its partition: then all of them.
        where += f" AND {slot} % {partitions} = {part})" if slot_function == SLOT_FUNCTION else ")"
    (count,) = client.query(f"SELECT count() FROM entries WHERE {where}").result_rows[0]
    filter_ = Filter(expected=int(count))
    if count:
        with client.query_arrow_stream(
            f"SELECT reinterpretAsUInt64(substring(id, 9, 8)) AS high FROM entries WHERE {where}"
        ) as batches:
            for batch in batches:
                filter_.add(batch.column("high").to_numpy())
    return filter_


def look_up(client: Client, epoch: int, part: int, below: int, ids: np.ndarray) -> BookedBefore:
    """Which ids (uint64[n, 2]) are booked below that offset of the partition, or in older epochs."""
    unique = np.unique(ids.view("V16").reshape(-1))
    bound = f"(epoch = {epoch} AND part = {part} AND off < {below})"
    if epoch > FIRST_EPOCH:
        bound = f"(epoch < {epoch} OR {bound})"
    select = "SELECT id, platform, content, receipt_low, receipt_row FROM entries WHERE id IN"
    if len(unique) <= LITERAL_IDS:
        literals = ",".join(f"unhex('{x.tobytes().hex()}')" for x in unique)
        table = client.query_arrow(f"{select} ({literals}) AND {bound}", settings=_LITERALS)
    else:
        # So many ids touch every granule: one scan against a set, the skip index left alone.
        asked = ExternalData(
            data=unique.tobytes(),
            file_name="asked.bin",
            fmt="RowBinary",
            structure="id FixedString(16)",
        )
        table = client.query_arrow(
            f"{select} (SELECT id FROM asked) AND {bound}",
            external_data=asked,
            settings={"use_skip_indexes": 0},
        )
    table = table.combine_chunks()
    if table.num_rows == 0:
        empty = np.empty(0, dtype=np.uint64)
        return BookedBefore(empty.reshape(0, 2), [], empty, empty, empty.astype(np.uint32))
    raw = b"".join(table.column("id").to_pylist())
    return BookedBefore(
        np.frombuffer(raw, dtype=np.uint64).reshape(-1, 2),
        table.column("platform").cast(pa.string()).to_pylist(),
        table.column("content").to_numpy().astype(np.uint64),
        table.column("receipt_low").to_numpy().astype(np.uint64),
        table.column("receipt_row").to_numpy().astype(np.uint32),
    )

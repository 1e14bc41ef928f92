"""What of the log may go, where disk demands it: nothing that an open block or a backup still needs.

`entries.v1` has no retention by time or size (blueprint §4): a quiet partition's open block would
start before the log does, out of range for ever. Records go only by this, below a block's start.
"""

from __future__ import annotations

from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from yumai.broker.epochs import Epoch
from yumai.broker.security import Bootstrap, client_options
from yumai.entry import BLOCK_OFFSETS, IDS_SINCE_FUNCTION
from yumai.store.client import connect
from yumai.store.runs import LAST_GOOD_BACKUP, backed_up
from yumai.topics import ENTRIES


def open_block_starts(dsn: str, epoch: Epoch) -> dict[int, int]:
    """Partition -> first offset of its lowest block that is incomplete, or has ids of an old function."""
    client = connect(dsn, sequential=True)
    try:
        rows = client.query(
            "SELECT part, block FROM blocks FINAL WHERE epoch = {e:UInt16} AND complete = 1"
            " AND function_version >= {v:UInt16} ORDER BY part, block",
            parameters={"e": epoch.epoch, "v": IDS_SINCE_FUNCTION},
        ).result_rows
    finally:
        client.close()
    starts = dict.fromkeys(range(epoch.partitions), 0)
    for part, block in rows:
        if int(block) == starts[int(part)] // BLOCK_OFFSETS:
            starts[int(part)] = (int(block) + 1) * BLOCK_OFFSETS
    return starts


def last_backup(dsn: str) -> tuple[str, dict[tuple[int, int], int]] | None:
    """The last verified backup: its name, and (epoch, part) -> offset below which it holds all."""
    client = connect(dsn, sequential=True)
    try:
        return backed_up(client.query(LAST_GOOD_BACKUP.sql).result_rows)
    finally:
        client.close()


def deletable(
    bootstrap: Bootstrap, starts: Mapping[int, int], older_than_ms: int
) -> dict[int, int]:
    """Partition -> offset below which records are older than that instant and in complete blocks."""
    consumer = KafkaConsumer(**client_options(bootstrap))
    try:
        partitions = {TopicPartition(ENTRIES.name, part): part for part in starts}
        begins = consumer.beginning_offsets(list(partitions))
        ends = consumer.end_offsets(list(partitions))
        first_kept = consumer.offsets_for_times(dict.fromkeys(partitions, older_than_ms))
        found = {}
        for tp, part in partitions.items():
            kept = first_kept.get(tp)
            below = min(starts[part], kept.offset if kept is not None else ends[tp])
            below -= below % BLOCK_OFFSETS
            if below > begins[tp]:
                found[part] = below
        return found
    finally:
        consumer.close()


def delete(bootstrap: Bootstrap, below: Mapping[int, int]) -> None:
    """Deletes the records below these offsets. Raises KafkaError."""
    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-housekeeping")
    try:
        admin.delete_records(
            {TopicPartition(ENTRIES.name, part): offset for part, offset in below.items()}
        )
    finally:
        admin.close()

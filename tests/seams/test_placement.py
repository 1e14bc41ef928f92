"""Where a partition begins and what it has seen, asked of the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from services.metrics import placement
from services.metrics.blocks import FUNCTION_VERSION
from services.metrics.ledger import LedgerBuffer, Segment, stream_bytes
from yumai.broker.epochs import Epoch
from yumai.broker.housekeeping import open_block_starts
from yumai.store.backup import holdings
from yumai.store.client import connect
from yumai.store.layout import Layout
from yumai.store.migrate import ChangedMigration, migrate, migrations


@pytest.fixture
def client(store: str, unique: str) -> Iterator[Client]:
    dsn = f"{store}/{unique}"
    migrate(dsn)
    client = connect(dsn)
    yield client
    client.close()


def _block(
    client: Client, part: int, block: int, last: int, complete: int, version=FUNCTION_VERSION
):
    client.insert(
        "blocks",
        [[1, part, block, last, 10, 0, complete, version, datetime(2026, 1, 1, tzinfo=UTC)]],
        column_names=["epoch", "part", "block", "last_offset", "entries", "net_fen", "complete",
                      "function_version", "written_at"],
    )  # fmt: skip


def _ledger(
    client: Client, ids: np.ndarray, *, epoch: int, part: int, off: int, platform: str = "unipay"
) -> None:
    buffer = LedgerBuffer(len(ids))
    for array in buffer.columns:
        array[:] = 1
    buffer.columns.id[:] = ids
    buffer.columns.content[:] = np.arange(len(ids))
    buffer.columns.row[:] = np.arange(len(ids))
    buffer.columns.platform[:] = 0
    buffer.rows = len(ids)
    buffer.segments = [Segment(epoch, part, off, 20_000, len(ids))]
    body = memoryview(stream_bytes(buffer.batch([platform])))
    client.raw_insert("entries", insert_block=body, fmt="ArrowStream")


def _ids(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64)


def test_the_start_is_the_lowest_incomplete_block_or_the_brokers_if_lower(client: Client) -> None:
    assert placement.start_of(client, 1, 0, None).offset == 0
    for block, last, complete in ((0, 1023, 1), (1, 2047, 1), (2, 2100, 0)):
        _block(client, 0, block, last, complete)
    assert placement.start_of(client, 1, 0, None) == placement.Start(2048, 2100)
    assert placement.start_of(client, 1, 0, 5000).offset == 2048
    assert placement.start_of(client, 1, 0, 1500).offset == 1024
    assert placement.start_of(client, 1, 1, 5000).offset == 0


def test_a_hole_in_the_blocks_is_read_again(client: Client) -> None:
    _block(client, 0, 0, 1023, 1)
    _block(client, 0, 2, 3071, 1)
    assert placement.start_of(client, 1, 0, 9000).offset == 1024


def test_the_filter_holds_what_is_below_the_start_and_older_epochs_of_the_partition(
    client: Client,
) -> None:
    below, above = _ids(1, 5_000), _ids(2, 5_000)
    _ledger(client, below, epoch=2, part=0, off=10)
    _ledger(client, above, epoch=2, part=0, off=2_000)
    older = _ids(3, 4_000)
    _ledger(client, older, epoch=1, part=7, off=5_000)
    filter_ = placement.load_filter(client, 2, 0, 4, 1_024)
    mine = older[(older[:, 0] % np.uint64(720)) % np.uint64(4) == 0]
    marks = np.zeros(len(below) + len(mine), np.uint8)
    assert filter_.mark(np.concatenate([below, mine]), marks) == len(marks)
    assert filter_.mark(above, np.zeros(len(above), np.uint8)) < 100


def test_of_an_older_slot_function_every_older_id_is_in_the_filter(client: Client) -> None:
    """The ledger's ids are of today: they don't tell in which partition such an epoch puts them."""
    older = _ids(3, 4_000)
    _ledger(client, older, epoch=1, part=7, off=5_000)
    for slot_function, held in (("murmur3-720", 4_000), ("sha256-720", 1_000)):
        filter_ = placement.load_filter(client, 2, 0, 4, 1_024, slot_function)
        found = filter_.mark(older, np.zeros(len(older), np.uint8))
        assert abs(found - held) < 200
    elsewhere = placement.load_filter(client, 1, 0, 4, 1_024, "murmur3-720")
    assert elsewhere.mark(older, np.zeros(len(older), np.uint8)) < 100


def test_complete_blocks_with_ids_of_an_old_function_are_read_again(
    client: Client, store: str, unique: str
) -> None:
    _block(client, 0, 0, 1023, 1)
    _block(client, 0, 1, 2047, 1, version=1)
    _block(client, 0, 2, 3071, 1, version=1)
    _block(client, 0, 3, 3100, 0, version=1)
    start = placement.start_of(client, 1, 0, None)
    assert start == placement.Start(1024, 3100, old_ids=True)
    for off in (1_000, 1_050, 3_080):
        _ledger(client, _ids(off, 10), epoch=1, part=0, off=off)
    columns = ["epoch", "part", "through", "next_offset", "worker", "stopped", "written_at"]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    client.insert("progress", [[1, 0, now, 3101, "m", "", now]], column_names=columns)
    # housekeeping and backups leave the log what it is needed for
    epoch = Epoch(1, "topic", 2)
    assert open_block_starts(f"{store}/{unique}", epoch) == {0: 1024, 1: 0}
    assert holdings(client).starts == {"1/0": 1024}
    assert placement.drop_foreign_function(client, Layout(), 1, 0, start.offset)
    left = client.query("SELECT off, count() FROM entries GROUP BY 1 ORDER BY 1")
    assert left.result_rows == [(1_000, 10)]
    # no day is closed until the log is read again
    assert client.query("SELECT count() FROM progress").result_rows == [(0,)]
    assert placement.start_of(client, 1, 0, None) == placement.Start(1024, 1023)


def test_a_log_that_begins_after_blocks_with_old_ids_is_named_and_nothing_removed(
    client: Client,
) -> None:
    _block(client, 0, 0, 1023, 1, version=1)
    start = placement.start_of(client, 1, 0, None)
    assert placement.older_epoch_of_old_ids(client, 1) is None
    assert placement.older_epoch_of_old_ids(client, 2) == 1
    assert placement.missing(start, 0, None) == ""
    said = placement.missing(start, 1_024, None)
    assert "earlier version" in said
    assert "offset 0 to 1024" in said
    assert "epoch 1" in placement.missing(start, 0, 1)
    assert "backup" in placement.missing(placement.Start(1_024, 2_000), 2_048, None)


def test_an_id_of_another_platform_is_told_as_its_own(client: Client) -> None:
    ids = _ids(9, 5)
    _ledger(client, ids, epoch=1, part=0, off=10)
    _ledger(client, ids, epoch=1, part=0, off=11, platform="daojia")
    known = placement.look_up(client, 1, 0, 20, ids)
    assert sorted(known.platforms) == ["daojia"] * 5 + ["unipay"] * 5
    assert len(known.ids) == 10


@pytest.mark.parametrize("count", [3, 5_000])
def test_look_ups_see_only_what_is_below(client: Client, count: int) -> None:
    ids = _ids(4, 2 * count)
    _ledger(client, ids[:count], epoch=1, part=0, off=10)
    _ledger(client, ids[count:], epoch=1, part=0, off=20)
    known = placement.look_up(client, 1, 0, 20, ids)
    assert {x.tobytes() for x in known.ids} == {x.tobytes() for x in ids[:count]}
    contents = {x.tobytes(): c for x, c in zip(known.ids, known.content, strict=True)}
    assert [contents[x.tobytes()] for x in ids[:count]] == list(range(count))
    assert len(placement.look_up(client, 1, 1, 10**6, ids).ids) == 0
    assert len(placement.look_up(client, 2, 1, 0, ids).ids) == 2 * count


def test_rows_of_another_function_version_are_removed_from_the_open_block_on(
    client: Client,
) -> None:
    _block(client, 0, 0, 1023, 1)
    _block(client, 0, 1, 1100, 0, version=FUNCTION_VERSION + 1)
    _ledger(client, _ids(5, 10), epoch=1, part=0, off=1_000)
    _ledger(client, _ids(6, 10), epoch=1, part=0, off=1_050)
    _ledger(client, _ids(7, 10), epoch=1, part=1, off=1_050)
    assert placement.drop_foreign_function(client, Layout(), 1, 0, 1_024)
    assert not placement.drop_foreign_function(client, Layout(), 1, 0, 1_024)
    left = client.query("SELECT part, off, count() FROM entries GROUP BY 1, 2 ORDER BY 1, 2")
    assert left.result_rows == [(0, 1_000, 10), (1, 1_050, 10)]


def test_migrating_twice_does_nothing_and_an_edited_migration_is_refused(
    store: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = f"{store}/{unique}"
    assert migrate(dsn) == [m.name for m in migrations()]
    assert migrate(dsn) == []
    first = migrations()[0]
    edited = type(first)(first.number, first.name, first.template + "\n-- edited")
    monkeypatch.setattr("yumai.store.migrate.migrations", lambda: [edited])
    with pytest.raises(ChangedMigration):
        migrate(dsn)


def test_a_ledger_batch_reaches_the_table_as_it_was(client: Client) -> None:
    _ledger(client, _ids(8, 3), epoch=1, part=0, off=0)
    batch = pa.table(client.query_arrow("SELECT * FROM entries ORDER BY row"))
    assert batch.column("platform").to_pylist()[0] in ("unipay", b"unipay")
    assert batch.num_rows == 3

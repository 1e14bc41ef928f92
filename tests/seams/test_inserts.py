"""What was written is compared with what was sent, and rows that were removed can be written again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from console.running import probes
from embedded import secret_files
from services.metrics.ledger import stream_bytes
from tests.conftest import free_port, running
from tests.disks import disk, full
from yumai.store.address import Dsn
from yumai.store.client import STORE_ERRORS, connect, connect_async
from yumai.store.inserts import NotStored, insert_rows, insert_stream

ROWS = pa.RecordBatch.from_pydict({"a": pa.array(range(1_000), pa.uint64())})
WINDOW = "SETTINGS non_replicated_deduplication_window = 1000"


@pytest.fixture
def client(store: str, unique: str) -> Iterator[Client]:
    engine = connect(f"{store}/default")
    engine.command(f"CREATE DATABASE {unique}")
    client = connect(f"{store}/{unique}")
    yield client
    client.close()
    engine.command(f"DROP DATABASE {unique}")
    engine.close()


@pytest.fixture
def stock(store: str, client: Client) -> Iterator[Client]:
    """A client that asks for nothing."""
    to = Dsn.parse(f"{store}/{client.database}")
    stock = clickhouse_connect.get_client(
        host=to.host,
        port=to.port,
        username=to.username,
        password=to.password,
        database=to.database,
        autogenerate_session_id=False,
    )
    yield stock
    stock.close()


def count(client: Client, table: str) -> int:
    return int(str(client.command(f"SELECT count() FROM {table}")))


def by_stream(client: Client) -> None:
    insert_stream(client, "kept", stream_bytes(ROWS), ROWS.num_rows)


def by_rows(client: Client) -> None:
    insert_rows(client, "kept", [[n] for n in range(1_000)], ["a"])


def by_select(client: Client) -> None:
    # ORDER BY ALL into one stream: what the engine takes for a repetition of the same block.
    client.command(
        "INSERT INTO kept SELECT number AS a FROM numbers(1000) ORDER BY ALL"
        " SETTINGS max_threads = 1, max_insert_threads = 1"
    )


@pytest.mark.parametrize("write", [by_stream, by_rows, by_select])
def test_rows_that_were_removed_are_written_again(
    client: Client, write: Callable[[Client], None]
) -> None:
    client.command(f"CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a {WINDOW}")
    write(client)
    client.command("ALTER TABLE kept DELETE WHERE 1", settings={"mutations_sync": 1})
    assert count(client, "kept") == 0
    write(client)
    assert count(client, "kept") == 1_000


async def test_also_by_the_client_of_asyncio(store: str, client: Client) -> None:
    client.command(f"CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a {WINDOW}")
    writer = await connect_async(f"{store}/{client.database}")
    async with writer:
        for _ in range(2):
            await writer.command("TRUNCATE TABLE kept")
            await writer.insert("kept", [[n] for n in range(1_000)], ["a"])
    assert count(client, "kept") == 1_000


@pytest.mark.parametrize("write", [by_stream, by_rows, by_select])
def test_this_engine_would_drop_them(
    client: Client, stock: Client, write: Callable[[Client], None]
) -> None:
    """What the two tests above rest on: it has a window, and by its defaults it uses it."""
    client.command(f"CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a {WINDOW}")
    write(stock)
    client.command("ALTER TABLE kept DELETE WHERE 1", settings={"mutations_sync": 1})
    stock.set_client_setting("insert_deduplicate", 0)
    write(stock)
    assert count(client, "kept") == 0


def test_a_store_that_leaves_rows_out_has_not_stored_them(client: Client) -> None:
    """Here: it reads up to the first stream's end, and answers 200."""
    client.command("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
    twice = pa.py_buffer(stream_bytes(ROWS).to_pybytes() * 2)
    with pytest.raises(NotStored, match="1,000 rows written of 2,000 sent"):
        insert_stream(client, "kept", twice, 2 * ROWS.num_rows)
    assert issubclass(NotStored, STORE_ERRORS)


def test_rows_of_a_view_count_too_and_are_no_fault(client: Client) -> None:
    client.command("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
    client.command(
        "CREATE MATERIALIZED VIEW seen ENGINE = MergeTree ORDER BY a AS SELECT a FROM kept"
    )
    by_stream(client)
    assert count(client, "kept") == count(client, "seen") == 1_000


REFUSED = {
    "a constraint": (469, "CREATE TABLE kept (a UInt64, CONSTRAINT c CHECK a < 999) ENGINE = MergeTree ORDER BY a"),
    "too many partitions": (252, "CREATE TABLE kept (a UInt64) ENGINE = MergeTree PARTITION BY a ORDER BY a"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("write", [by_stream, by_rows])
def test_what_a_table_cannot_take_is_an_error(
    client: Client, why: str, write: Callable[[Client], None]
) -> None:
    code, table = REFUSED[why]
    client.command(table)
    with pytest.raises(DatabaseError) as caught:
        write(client)
    assert caught.value.code == code
    assert count(client, "kept") == 0


def test_too_many_parts_are_an_error_and_what_was_acknowledged_is_there(client: Client) -> None:
    client.command(
        "CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a"
        " SETTINGS parts_to_throw_insert = 2, parts_to_delay_insert = 100,"
        " max_bytes_to_merge_at_max_space_in_pool = 1"
    )
    by_stream(client)
    by_stream(client)
    with pytest.raises(DatabaseError) as caught:
        by_stream(client)
    assert caught.value.code == 252
    assert count(client, "kept") == 2_000


def test_a_view_that_fails_is_an_error(client: Client) -> None:
    client.command("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
    client.command(
        "CREATE MATERIALIZED VIEW seen ENGINE = MergeTree ORDER BY a"
        " AS SELECT a + throwIf(a = 500) AS a FROM kept"
    )
    with pytest.raises(DatabaseError, match="throwIf"):
        by_stream(client)


def test_a_full_disk_is_an_error_and_when_it_is_freed_the_same_rows_are_taken(
    tmp_path: Path,
) -> None:
    rows = pa.RecordBatch.from_pydict({"a": pa.array(range(200_000), pa.uint64())})
    port, password = free_port(), tmp_path / "password"
    arguments = ["embedded.store", "--data-dir", str(tmp_path / "disk/data"), "--port", str(port)]
    arguments += ["--password-file", str(password)]
    log, ping = tmp_path / "log", f"http://127.0.0.1:{port}/ping"

    def healthy() -> bool:
        return probes.get(ping).healthy

    def asking(to: str = "disk") -> Client:
        return connect(f"http://default:{secret_files.read(password)}@127.0.0.1:{port}/{to}")

    with disk(tmp_path / "disk", 64):
        with running(arguments, log, healthy) as process:
            asking(to="default").command("CREATE DATABASE disk")
            client = asking()
            client.command("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
            stored = 0
            for _ in range(3):
                insert_stream(client, "kept", stream_bytes(rows), rows.num_rows)
                with full([tmp_path / "disk"]):
                    for _ in range(5):
                        with pytest.raises(DatabaseError) as caught:
                            insert_stream(client, "kept", stream_bytes(rows), rows.num_rows)
                        assert caught.value.code in (75, 243, 1001), caught.value
                insert_stream(client, "kept", stream_bytes(rows), rows.num_rows)
                stored += 2 * rows.num_rows
                assert count(client, "kept") == stored
            with full([tmp_path / "disk"]):
                process.send_signal(signal.SIGKILL)
                process.wait()
        with running(arguments, log, healthy):
            again = asking()
            assert count(again, "kept") == stored
            insert_stream(again, "kept", stream_bytes(rows), rows.num_rows)
            assert count(again, "kept") == stored + rows.num_rows

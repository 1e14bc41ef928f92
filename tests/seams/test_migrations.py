"""Migrations of a cluster, as far as one engine can tell: parsed, run, sharded, locked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from clickhouse_connect.driver.client import Client

from yumai.store.address import Cluster
from yumai.store.client import connect
from yumai.store.layout import SHARDED, Layout
from yumai.store.migrate import LOCK, Locked, migrate, migrations
from yumai.store.runs import LAST, LAST_GOOD_BACKUP, backed_up, last, record

CLUSTERED = [s for m in migrations() for s in m.statements(Layout(Cluster("city")))]


@pytest.fixture
def engine(store: str) -> Iterator[Client]:
    client = connect(f"{store}/default")
    yield client
    client.close()


def test_the_engine_reads_every_statement_of_a_cluster(engine: Client) -> None:
    for statement in CLUSTERED:
        parsed = engine.command("SELECT formatQuery({sql:String})", parameters={"sql": statement})
        assert "city" in str(parsed) or statement.startswith("INSERT"), statement
    with pytest.raises(Exception, match="SYNTAX_ERROR"):
        engine.command("SELECT formatQuery('CREATE TABLE a ON CLUSTER ENGINE = x ORDER BY')")


def _unreplicated(statement: str, database: str) -> str:
    """What a node of a cluster makes of it, without Keeper: same names, columns, orders."""
    statement = re.sub(r" ON CLUSTER '\w+'", "", statement)
    statement = re.sub(r"ReplicatedReplacingMergeTree\('[^']*', '[^']*'(?:, )?", "ReplacingMergeTree(", statement)  # fmt: skip
    return statement.replace("currentDatabase()", f"'{database}'")


@pytest.fixture
def shards(store: str, unique: str) -> Iterator[list[Client]]:
    """Two shards as two databases of one engine: each with the local tables of a node."""
    engine = connect(f"{store}/default")
    nodes = []
    for number in (0, 1):
        engine.command(f"CREATE DATABASE {unique}_{number}")
        nodes.append(connect(f"{store}/{unique}_{number}"))
        for statement in CLUSTERED:
            # Distributed asks remote_servers, which an embedded engine has none of.
            if "ENGINE = Distributed" in statement or "CREATE VIEW" in statement:
                continue
            if statement.split()[2] in SHARDED and statement.startswith("ALTER TABLE"):
                continue
            nodes[number].command(_unreplicated(statement, f"{unique}_{number}"))
    yield nodes
    for number, node in enumerate(nodes):
        node.close()
        engine.command(f"DROP DATABASE {unique}_{number}")
    engine.close()


def test_rows_routed_by_the_sharding_key_add_up_to_one_store(
    store: str, unique: str, shards: list[Client]
) -> None:
    """Any rows, written twice and in several versions: FINAL of each shard, together, is FINAL of all."""
    dsn = f"{store}/{unique}"
    migrate(dsn)
    whole = connect(dsn)
    rng = np.random.default_rng(5)
    for table, key in SHARDED.items():
        described = whole.query(f"DESCRIBE TABLE {table}").result_rows
        order = str(
            whole.command(
                "SELECT sorting_key FROM system.tables WHERE database = {d:String} AND name = {t:String}",
                parameters={"d": unique, "t": table},
            )
        ).split(", ")
        seed = int(rng.integers(1, 2**31))
        # An entry's row in a receipt decides its slot, and so its partition, in every epoch.
        values = {
            "epoch": "1 + number % 2",
            "part": "(cityHash64(receipt, row) % 720) % if(epoch = 1, 4, 8)"
            if table == "verdicts"
            else "number % 8",
            "receipt": "toFixedString(substring(hex(number % 37), 1, 16), 16)",
            "row": "toUInt32(number % 5)",
            "at": "now64(3)",  # dead letters live for 30 days
        }
        columns = ", ".join(
            f"{values.get(name, '1' if type_.startswith('Enum') else _narrow(name, type_, seed))} AS {name}"
            for name, type_, *_ in described
        )
        whole.command(f"INSERT INTO {table} SELECT {columns} FROM numbers(3000)")
        for number, shard in enumerate(shards):
            for _ in range(2):
                shard.command(
                    f"INSERT INTO {table}_local SELECT * FROM {unique}.{table}"
                    f" WHERE {key} % {len(shards)} = {number}"
                )
        keys = ", ".join(order)
        (total, distinct) = whole.query(
            f"SELECT count(), uniqExact({keys}) FROM {table} FINAL"
        ).result_rows[0]
        union = " UNION ALL ".join(
            f"SELECT {keys} FROM {unique}_{n}.{table}_local FINAL" for n in range(len(shards))
        )
        found = whole.query(f"SELECT count(), uniqExact({keys}) FROM ({union})").result_rows[0]
        assert tuple(found) == (total, distinct) == (distinct, distinct), table
        held = [
            int(s.query(f"SELECT count() FROM {table}_local").result_rows[0][0]) for s in shards
        ]
        assert min(held) > 0, f"{table}: one shard holds all: {held}"
    whole.close()


def _narrow(name: str, type_: str, seed: int) -> str:
    """Few values, so that keys meet; versions differ."""
    number = f"(cityHash64(number, {seed}, '{name}') % 7)"
    if "String" in type_:
        size = re.search(r"FixedString\((\d+)\)", type_)
        return f"toFixedString(toString({number}), {size[1]})" if size else f"toString({number})"
    return f"CAST({number} AS {type_})"


def test_two_migrations_at_once_apply_each_step_once(store: str, unique: str) -> None:
    dsn = f"{store}/{unique}"
    done: list[list[str]] = []
    threads = [threading.Thread(target=lambda: done.append(migrate(dsn))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, done)) == [0, 0, len(migrations())]
    client = connect(dsn)
    counted = client.query("SELECT count(), uniqExact(number) FROM migrations").result_rows[0]
    assert tuple(counted) == (len(migrations()), len(migrations()))
    assert not int(str(client.command(f"EXISTS TABLE {LOCK}")))
    client.close()


@pytest.mark.parametrize("holder", ["elsewhere 1", "{host} 999999999"])
def test_a_lock_is_waited_for_and_taken_over_from_the_dead(
    store: str, unique: str, holder: str
) -> None:
    import socket

    dsn = f"{store}/{unique}"
    engine = connect(f"{store}/default")
    engine.command(f"CREATE DATABASE {unique}")
    comment = holder.format(host=socket.gethostname())
    engine.command(f"CREATE TABLE {unique}.{LOCK} (x UInt8) ENGINE = Memory COMMENT '{comment}'")
    engine.close()
    if holder.startswith("elsewhere"):
        with pytest.raises(Locked, match=f"elsewhere 1 .*DROP TABLE {LOCK}"):
            migrate(dsn, lock_seconds=0.2)
    else:
        assert migrate(dsn, lock_seconds=5)


def test_what_maintenance_did_is_found_again(store: str, unique: str) -> None:
    migrate(f"{store}/{unique}")
    client = connect(f"{store}/{unique}")
    assert last(client.query(LAST.sql).result_rows) == {}
    assert backed_up(client.query(LAST_GOOD_BACKUP.sql).result_rows) is None
    old = {"open_block_starts": {"1/0": 2048}}
    record(client, "backup", "of an earlier version", True, 1.0, old)
    assert backed_up(client.query(LAST_GOOD_BACKUP.sql).result_rows) is None
    good = {"open_block_starts": {"1/0": 1024}, "ids_since_function": 2}
    record(client, "backup", "one", True, 1.0, good)
    record(client, "backup", "two", False, 1.0, {"wrong": "block missing"})
    record(client, "audit", "x", True, 1.0, {"difference_fen": 0, "blocks": 3})
    found = last(client.query(LAST.sql).result_rows)
    assert (found["backup"].name, found["backup"].ok) == ("two", False)
    assert 0 < found["backup"].good_at <= found["backup"].at
    assert found["audit"].report["blocks"] == 3
    held = backed_up(client.query(LAST_GOOD_BACKUP.sql).result_rows)
    assert held == ("one", {(1, 0): 1024})
    client.close()

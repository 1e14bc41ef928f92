"""Migrations written once: what one server and what a cluster is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.entry import SLOTS
from yumai.store.address import Cluster, Dsn, with_cluster
from yumai.store.guarantees import INSERTS, of_inserts, of_session
from yumai.store.layout import SHARDED, Layout, UnevenPartitions, check_partitions
from yumai.store.migrate import OldSchema, migrations, require_schema

CLUSTER = Layout(Cluster("city"))

APPLIED_BEFORE_CLUSTERS = {
    1: "112b6ddf531aa36c4ac8446268c9d65de3f76634cf0cc264c34aeefe04cf4198",
    2: "4193eebf88f216babb497dad328221b1f69b0b41edcd3ef507bd5fde4e51b816",
    3: "e25ed827765290cdb3542beec51dda554aaa3c06906f457b6f4022e5c9d0372e",
    4: "a77e452973f4f20072fe561d14945a69963741e200715ceb932418cafe97162e",
    5: "8c2cf1b33d30ee5061d543871ff26fb4bcab47c665eb32c86df134db1dad6071",
}


def _tables(layout: Layout) -> dict[str, str]:
    """Name -> its last CREATE TABLE."""
    found = {}
    for migration in migrations():
        for statement in migration.statements(layout):
            name = re.match(r"CREATE TABLE (\w+)", statement)
            if name:
                found[name[1]] = statement
    return found


def test_stores_that_were_migrated_before_there_were_clusters_go_on() -> None:
    checksums = {m.number: m.checksum for m in migrations()}
    assert {n: checksums[n] for n in APPLIED_BEFORE_CLUSTERS} == APPLIED_BEFORE_CLUSTERS


def test_every_statement_of_a_cluster_reaches_every_node() -> None:
    for migration in migrations():
        for statement in migration.statements(CLUSTER):
            verb = re.match(r"(CREATE|ALTER|DROP|INSERT)", statement)
            assert verb, statement
            assert verb[1] == "INSERT" or " ON CLUSTER 'city'" in statement.split("\n")[0], (
                statement
            )


def test_a_table_is_replicated_over_all_nodes_or_sharded_under_the_name_that_queries_use() -> None:
    single, clustered = _tables(Layout()), _tables(CLUSTER)
    assert set(SHARDED) <= set(single)
    for name, statement in single.items():
        assert "ENGINE = ReplacingMergeTree" in statement
        if name not in SHARDED:
            assert "{uuid}/all', '{shard}-{replica}'" in clustered[name]
            continue
        assert "{uuid}/{shard}', '{replica}'" in clustered[f"{name}_local"]
        assert clustered[name].endswith(
            f"Distributed('city', currentDatabase(), {name}_local, {SHARDED[name]})"
        )


def test_rows_that_replace_each_other_meet_on_one_shard() -> None:
    """The sharding key is of columns of the table's own key: equal keys, equal shard.

    `verdicts` is the exception: there the shard follows from the entry, see the property below.
    """
    for name, key in SHARDED.items():
        order = re.search(r"ORDER BY \(?([^)]*?)\)?(?:\n|$)", _tables(Layout())[name])
        assert order
        columns = {column.strip() for column in order[1].split(",")}
        needed = re.sub(r"^\w+\((\w+)\)$", r"\1", key)
        assert needed in columns or name == "verdicts", (name, columns)


@given(
    slot=st.integers(0, SLOTS - 1),
    shards=st.integers(1, 12),
    fold=st.lists(st.integers(1, 30), min_size=2, max_size=2),
)
def test_an_entry_stays_on_its_shard_when_partitions_are_added(
    slot: int, shards: int, fold: list[int]
) -> None:
    before, after = (shards * n for n in fold)
    check_partitions(before, shards)
    assert (slot % before) % shards == (slot % after) % shards == slot % shards


@pytest.mark.parametrize(("partitions", "shards"), [(4, 3), (6, 4), (1, 2), (4, 0)])
def test_partitions_that_do_not_divide_are_refused(partitions: int, shards: int) -> None:
    with pytest.raises(UnevenPartitions, match="multiple"):
        check_partitions(partitions, shards)


def test_rows_are_removed_from_the_local_tables_of_every_shard() -> None:
    assert Layout().rows_of("entries") == "entries"
    assert CLUSTER.rows_of("entries") == "entries_local ON CLUSTER 'city'"
    assert CLUSTER.rows_of("targets") == "targets ON CLUSTER 'city'"


def test_one_server_is_asked_for_nothing_and_a_cluster_for_all() -> None:
    assert of_session(None) == of_session(None, sequential=True) == {}
    seen, shown = (of_session(Cluster("city", "2"), sequential=s) for s in (True, False))
    for session in (seen, shown):
        assert session["insert_quorum"] == "2"
        assert session["distributed_foreground_insert"] == 1
        assert session["skip_unavailable_shards"] == 0
        # The condition under which select_sequential_consistency means anything.
        assert session["insert_quorum_parallel"] == 0
    assert seen["select_sequential_consistency"] == 1
    assert "select_sequential_consistency" not in shown


def test_inserts_are_asked_for_what_the_server_knows() -> None:
    before_26_2 = {"insert_deduplicate", "async_insert", "max_threads"}
    assert of_inserts(before_26_2) == {"insert_deduplicate": 0, "async_insert": 0}
    assert of_inserts(before_26_2 | {"deduplicate_insert", "deduplicate_insert_select"}) == INSERTS


def test_the_cluster_is_in_the_address() -> None:
    dsn = with_cluster("https://u:p@clickhouse:8443/yumai", "city", "3")
    parsed = Dsn.parse(dsn)
    assert parsed.cluster == Cluster("city", "3")
    assert (parsed.host, parsed.port, parsed.database, parsed.password) == (
        "clickhouse", 8443, "yumai", "p",
    )  # fmt: skip
    assert Dsn.parse("http://h/yumai").cluster is None
    assert with_cluster("http://h/yumai", "", "auto") == "http://h/yumai"


@pytest.mark.parametrize(
    "wrong",
    ["?cluster=a'b", "?cluster=city&insert_quorum=1", "?cluster=c&insert_quorum=x", "?clustre=c"],
)
def test_a_wrong_address_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="want"):
        Dsn.parse(f"http://h:8123/yumai{wrong}")


def test_an_older_schema_is_refused_by_name_and_a_newer_one_is_not() -> None:
    numbers = [(m.number, m.checksum) for m in migrations()]
    require_schema([*numbers, (9_999, "of the next release")])
    with pytest.raises(OldSchema, match=migrations()[-1].name):
        require_schema(numbers[:-1])

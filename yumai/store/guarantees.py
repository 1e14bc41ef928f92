"""What a session asks of ClickHouse, setting by setting. Pure; docs/clickhouse.md says what each
protects. One server, or the embedded engine, is asked for `INSERTS` only."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from yumai.store.address import Cluster

UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE = 286
"""Another insert into that table is on its way to the quorum: not away, only busy."""

Settings = dict[str, Any]

INSERTS: Settings = {
    # The engine would swallow a block it has seen before, also one removed since (ALTER DELETE,
    # restore): rows are idempotent by their keys, blocks need not be. Servers before 26.2 read the
    # first of these, later ones only the other two.
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "deduplicate_insert_select": "disable",
    # On by default since 26.2: a queue of several senders' rows, refused together with insert_quorum.
    "async_insert": 0,
}

EVERYWHERE: Settings = {
    # A shard that is away is an error, never a smaller sum.
    "skip_unavailable_shards": 0,
    # A partition's rows are on one shard: ask that one.
    "optimize_skip_unused_shards": 1,
    # A sharded table inside IN: its rows come from all shards, not from each one's own.
    "distributed_product_mode": "global",
    # A replica that is so many seconds behind is not asked.
    "max_replica_delay_for_distributed_queries": 10,
    "fallback_to_stale_replicas_for_distributed_queries": 0,
}

SEQUENTIAL: Settings = {
    # Everything that was acknowledged, or an error: a replica that lacks it does not answer.
    "select_sequential_consistency": 1,
    # The first replica that is there, whichever node took the request: read where it was written.
    "prefer_localhost_replica": 0,
    "load_balancing": "in_order",
}


def writing(cluster: Cluster) -> Settings:
    """Settings of inserts: a 200 means that a quorum of the right shard has the rows."""
    return {
        # Not queued on the node that took the request: the shard itself has it.
        "distributed_foreground_insert": 1,
        # INSERT SELECT goes by the sharding key, not from each shard into itself (default since 25.7).
        "parallel_distributed_insert_select": 0,
        "insert_quorum": cluster.insert_quorum,
        # One after the other in a table: only so can a read know which inserts it must have.
        "insert_quorum_parallel": 0,
        "insert_quorum_timeout": 60_000,
        # Seen again where it was written; see SEQUENTIAL.
        "prefer_localhost_replica": 0,
        "load_balancing": "in_order",
    }


def schema_changes() -> Settings:
    """Settings of DDL: it returns when every replica is done, with an error where one is not."""
    return {
        "distributed_ddl_output_mode": "throw",
        "distributed_ddl_task_timeout": 180,
        "alter_sync": 2,
        "mutations_sync": 2,
    }


def of_session(cluster: Cluster | None, *, sequential: bool = False) -> Settings:
    """All settings of a cluster's session; `sequential`: for Seen, receipts and the audit."""
    if cluster is None:
        return {}
    return {
        **EVERYWHERE,
        **writing(cluster),
        **({} if sequential else {"prefer_localhost_replica": 1, "load_balancing": "random"}),
        **(SEQUENTIAL if sequential else {}),
        **schema_changes(),
    }


def of_inserts(known: Container[str]) -> Settings:
    """INSERTS, as far as a server knows them: an unknown setting is an error of every request."""
    return {name: value for name, value in INSERTS.items() if name in known}

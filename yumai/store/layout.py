"""Migrations written once: their engines and where tables lie, for one server and for a cluster. Pure.

A migration names what differs in braces (a brace of its own is doubled):

    CREATE TABLE entries{shard}             each shard has its own rows: entries_local ON CLUSTER …
    ENGINE = {replicated_shard[version]}    ReplacingMergeTree(version), replicated within a shard
    ORDER BY (…){distributed[entries part]} and the table that queries name: Distributed, by `part`
    CREATE TABLE targets{everywhere}        each node has all rows
    ENGINE = {replicated[version]}          replicated over all nodes
    DROP TABLE IF EXISTS targets{dropped}

On one server the braces vanish: the text is what it was before there was a cluster, and so is its
checksum.
"""

from __future__ import annotations

from dataclasses import dataclass

from yumai.store.address import Cluster

# By the table's UUID, which ON CLUSTER makes the same everywhere: a table that is re-created, or
# restored under another name, never meets the Keeper's memory of an older one.
_SHARD_PATH = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
_ALL_PATH = "'/clickhouse/tables/{uuid}/all', '{shard}-{replica}'"

SHARDED = {
    "entries": "part",
    "cells": "part",
    "blocks": "part",
    "progress": "part",
    "receipt_bookings": "part",
    "verdicts": "part",
    "receipts": "cityHash64(receipt)",
    "dead_letters": "cityHash64(receipt)",
}
"""Sharding key of each table that is not on all nodes; rows that replace each other share it.

Where `part` is not in a table's key (`verdicts`), an entry's shard is its slot modulo the shards in
every epoch of one slot function, since partitions are a multiple of shards (`check_partitions`).
"""


class UnevenPartitions(ValueError):
    """Partitions of the log that do not divide evenly among the shards."""


def check_partitions(partitions: int, shards: int) -> None:
    """(slot mod partitions) mod shards is slot mod shards only where shards divide partitions.

    Else an entry that is sent again in an epoch with more partitions would meet another shard.
    """
    if shards < 1 or partitions % shards:
        raise UnevenPartitions(
            f"{partitions} partitions on {shards} shards: want a multiple of the shards, in every epoch"
        )


@dataclass(frozen=True)
class _Replacing:
    """`{engine}` and `{engine[version]}` of a template."""

    path: str

    def __getitem__(self, version: str) -> str:
        if not self.path:
            return f"ReplacingMergeTree({version})"
        return f"ReplicatedReplacingMergeTree({self.path}, {version})"

    def __format__(self, _: str) -> str:
        if not self.path:
            return "ReplacingMergeTree"
        return f"ReplicatedReplacingMergeTree({self.path})"


@dataclass(frozen=True)
class _Distributed:
    """`{distributed[table key]}`: a second statement, where there is a cluster."""

    layout: Layout

    def __getitem__(self, arguments: str) -> str:
        table, key = arguments.split(" ", 1)
        cluster = self.layout.cluster
        if cluster is None:
            return ""
        return (
            f";\nCREATE TABLE {table}{self.layout.on_cluster} AS {table}_local"
            f"\nENGINE = Distributed('{cluster.name}', currentDatabase(), {table}_local, {key})"
        )


@dataclass(frozen=True)
class Layout:
    """One server (`cluster` None), or a cluster."""

    cluster: Cluster | None = None

    @property
    def on_cluster(self) -> str:
        return f" ON CLUSTER '{self.cluster.name}'" if self.cluster else ""

    def render(self, template: str) -> str:
        """The SQL of a migration. Raises KeyError or ValueError for braces that mean nothing."""
        clustered = self.cluster is not None
        return template.format(
            shard=f"_local{self.on_cluster}" if clustered else "",
            everywhere=self.on_cluster,
            # SYNC: its name, and its place in the Keeper, are free when the statement returns.
            dropped=f"{self.on_cluster} SYNC" if clustered else "",
            replicated_shard=_Replacing(_SHARD_PATH if clustered else ""),
            replicated=_Replacing(_ALL_PATH if clustered else ""),
            distributed=_Distributed(self),
        )

    def rows_of(self, table: str) -> str:
        """What an ALTER TABLE that changes rows names: a Distributed table takes none."""
        if self.cluster is None:
            return table
        return f"{table}{'_local' if table in SHARDED else ''}{self.on_cluster}"

"""The set-up step before a rollout: schema, epoch and the plan's targets. Safe to run at any time."""

from __future__ import annotations

from yumai.broker import epochs, provision, target_log
from yumai.broker.security import Bootstrap
from yumai.store.address import Dsn
from yumai.store.client import connect
from yumai.store.layout import UnevenPartitions, check_partitions
from yumai.store.migrate import migrate


class NoTopics(Exception):
    """Topics are missing, and this run was not asked to make them."""


def set_up(bootstrap: Bootstrap, dsn: str, *, make_topics: bool) -> str:
    """What was done, as a sentence.

    Raises NoTopics, UnevenPartitions, KafkaError, or what `migrate` raises.
    """
    absent = provision.missing(bootstrap)
    if absent and not make_topics:
        raise NoTopics(
            f"topics {', '.join(absent)} are not there: apply their manifests, or --topics"
        )
    created = provision.ensure(bootstrap)
    applied = migrate(dsn)
    check_shards(bootstrap, dsn)
    epoch = epochs.ensure(bootstrap, dsn)
    seeded = target_log.seed(bootstrap)
    return (
        f"topics created: {created}; migrations applied: {applied}; {epoch};"
        f" targets of the plan written: {seeded}"
    )


def check_shards(bootstrap: Bootstrap, dsn: str) -> None:
    """Raises UnevenPartitions where the cluster would tear a partition's entries apart."""
    cluster = Dsn.parse(dsn).cluster
    if cluster is None:
        return
    client = connect(dsn, sequential=True)
    try:
        shards, lightest, heaviest = client.query(
            "SELECT uniqExact(shard_num), min(shard_weight), max(shard_weight)"
            " FROM system.clusters WHERE cluster = {name:String}",
            parameters={"name": cluster.name},
        ).result_rows[0]
    finally:
        client.close()
    if (int(lightest), int(heaviest)) != (1, 1):
        raise UnevenPartitions(f"cluster {cluster.name}: want weight 1 for every shard")
    _, partitions = epochs.topic_state(bootstrap)
    check_partitions(partitions, int(shards))

"""Kafka's users, topics, tables and epochs: `python -m console.running.prepare`, run by `up` until it ends with 0, and again whenever the
broker or the store has been restarted, since either may have come back with an empty directory.

A process of its own, so that a call that hangs neither holds up the supervisor nor outlives it.
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from console.running import kafka_users, probes
from console.running.state import State
from embedded import secret_files
from yumai import canary, topics
from yumai.broker import provision
from yumai.broker.security import Bootstrap, client_options
from yumai.process import settings
from yumai.store.address import Dsn


def wait_for_engines(broker: str, dsn: str) -> None:
    """Returns when both answer. Without a limit: who waits for whom is the supervisor's business."""
    store = Dsn.parse(dsn)
    ping = f"{'https' if store.secure else 'http'}://{store.host}:{store.port}/ping"
    while not (probes.ask(broker).healthy and probes.get(ping).healthy):
        time.sleep(0.05)


def make_users(state: State, internal: str) -> None:
    """Yumai's own users and their ACLs."""
    with kafka_users.administrator(state, internal) as admin:
        users = kafka_users.KAFKA_USERS.values()
        words = {u: secret_files.read(kafka_users.password_file(state, u)) for u in users}
        kafka_users.put(admin, words)


def prepare(bootstrap: Bootstrap, dsn: str) -> None:
    """Safe to run at any time and twice."""
    from services.maintenance.set_up import set_up

    print(set_up(bootstrap, dsn, make_topics=True), flush=True)


def settle_feeds(state: State, bootstrap: Bootstrap, internal: str | None) -> None:
    """Feeds that an older version made get the settings of this one."""
    from kafka.admin import KafkaAdminClient

    with (
        kafka_users.administrator(state, internal)
        if internal
        else contextlib.closing(KafkaAdminClient(**client_options(bootstrap)))
    ) as admin:
        changed = provision.settle_feeds(admin)
    if changed:
        print(f"feeds with settings of this version: {', '.join(changed)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="users, topics, tables, epochs")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument(
        "--internal", required=True, metavar="HOST:PORT", help="the broker's own listener"
    )
    args = parser.parse_args()
    state, mine = State(args.state), settings.read()
    broker = f"kafkas://{args.internal}#{state.tls}"
    try:
        # Imported while the engines start: these take as long to import as the broker to come up.
        import services.maintenance.set_up  # noqa: F401

        wait_for_engines(broker, mine.clickhouse_dsn)
        make_users(state, args.internal)
        prepare(mine.kafka, mine.clickhouse_dsn)
        # The canary may not make it.
        provision.ensure(mine.kafka, (topics.feed(canary.PLATFORM),))
        settle_feeds(state, mine.kafka, args.internal)
    except Exception as error:
        print(f"prepare: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise


if __name__ == "__main__":
    main()

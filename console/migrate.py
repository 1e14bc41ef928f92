"""`python -m console.migrate`: the set-up step of a data centre, run once a version, before its pods serve.

Tables, the epoch, the plan's targets; safe to run at any time and twice. It waits for Kafka and the store.
Topics are the cluster's business (deploy/k8s/base/topics.yaml): one made here would have the wrong number of
partitions, so it waits for them too. `--create-topics`: there is nobody else who would make them (compose).
`--wait`: only waits until all this is done, by asking the store; what a new pod does before it serves.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from yumai import settings
from yumai.broker import epochs, target_log, topics
from yumai.broker.security import Bootstrap, client_options
from yumai.store.client import STORE_ERRORS, connect
from yumai.store.migrate import migrate, migrations

log = logging.getLogger("yumai.migrate")

PAUSE_SECONDS = 2.0


class NotYet(Exception):
    """What is waited for."""


def missing_topics(bootstrap: Bootstrap) -> list[str]:
    consumer = KafkaConsumer(**client_options(bootstrap), client_id="yumai-migrate")
    try:
        return sorted({topic.name for topic in topics.TOPICS} - set(consumer.topics()))
    finally:
        consumer.close()


def pending(dsn: str) -> list[str]:
    """What a pod of this version would miss in the store. Raises one of STORE_ERRORS."""
    client = connect(dsn)
    try:
        applied = {int(n) for (n,) in client.query("SELECT number FROM migrations FINAL").result_rows}
        missing = [m.name for m in migrations() if m.number not in applied]
        if not missing and not client.query("SELECT count() FROM epochs FINAL").result_rows[0][0]:
            missing = ["an epoch"]
        return missing
    finally:
        client.close()


def set_up(bootstrap: Bootstrap, dsn: str, create_topics: bool) -> str:
    """Raises NotYet, a KafkaError, one of STORE_ERRORS; or ChangedMigration, which waiting does not mend."""
    created = topics.ensure(bootstrap) if create_topics else []
    if missing := missing_topics(bootstrap):
        raise NotYet(f"topics {', '.join(missing)}")
    applied = migrate(dsn)
    epoch = epochs.ensure(bootstrap, dsn)
    seeded = target_log.seed(bootstrap)
    return f"topics created: {created}; migrations applied: {applied}; {epoch}; targets written: {seeded}"


def migrated(dsn: str) -> str:
    """Raises NotYet, or one of STORE_ERRORS."""
    if missing := pending(dsn):
        raise NotYet(f"migrations {', '.join(missing)}")
    return "everything is migrated"


def until_done(step: Callable[[], str]) -> str:
    told = ""
    while True:
        try:
            return step()
        except (NotYet, KafkaError, OSError, *STORE_ERRORS) as error:
            why = f"{type(error).__name__}: {str(error)[:300]}"
            if why != told:
                log.warning("waiting: %s", why)
            told = why
            time.sleep(PAUSE_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m console.migrate", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="until it is done, by whoever does it")
    how.add_argument("--create-topics", action="store_true", help="also the topics")
    parser.add_argument("--check", action="store_true", help="print the settings in force, and end")
    args = parser.parse_args()
    mine = settings.start("kafka")
    if args.wait:
        done = until_done(lambda: migrated(mine.clickhouse_dsn))
    else:
        done = until_done(lambda: set_up(mine.kafka, mine.clickhouse_dsn, args.create_topics))
    log.info("%s", done)
    return 0


if __name__ == "__main__":
    sys.exit(main())

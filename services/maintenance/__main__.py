"""`python -m services.maintenance migrate | migrated | audit | backup | restore NAME`: jobs beside the services.

Settings come from the environment, as everywhere. Exit codes: 0 done and right; 1 done, and
something is wrong (audit differs, backup not verified); 2 not done: the store or the broker is
away, refuses, or was asked for nonsense. One JSON line on standard output says what came of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kafka.errors import KafkaError

from contracts.days import book_day
from services.maintenance.set_up import NoTopics, set_up
from yumai.process.settings import Settings, start
from yumai.store import backup, runs
from yumai.store.audit import audit
from yumai.store.client import STORE_ERRORS, connect
from yumai.store.layout import UnevenPartitions
from yumai.store.migrate import ChangedMigration, Locked, missing, wait_for_store

log = logging.getLogger("yumai.maintenance")

AUDIT_SECONDS = 3_600.0
Outcome = tuple[bool, dict[str, Any]]


def _migrate(settings: Settings, args: argparse.Namespace) -> Outcome:
    deadline = time.monotonic() + args.wait
    wait_for_store(settings.clickhouse_dsn, args.wait, log.warning)
    while True:
        try:
            done = set_up(settings.kafka, settings.clickhouse_dsn, make_topics=args.topics)
            return True, {"done": done}
        except (NoTopics, KafkaError, OSError) as error:
            # Manifests of topics and of this job are applied at once; the operator needs a while.
            if time.monotonic() > deadline:
                raise
            log.warning("waiting: %s", error)
            time.sleep(2.0)


def _migrated(settings: Settings, _: argparse.Namespace) -> Outcome:
    """For as long as it takes: a pod of a new version goes on when its migrations are there."""
    told = ""
    while True:
        try:
            client = connect(settings.clickhouse_dsn)
            try:
                why = ", ".join(migration.name for migration in missing(client))
            finally:
                client.close()
        except STORE_ERRORS as error:
            why = str(error).partition("\n")[0][:200]
        if not why:
            return True, {}
        if why != told:
            log.warning("waiting: %s", why)
        told = why
        time.sleep(2.0)


def _audit(settings: Settings, args: argparse.Namespace) -> Outcome:
    client = connect(settings.clickhouse_dsn, timeout=AUDIT_SECONDS, sequential=True)
    try:
        report = audit(client, args.first, args.last)
    finally:
        client.close()
    return report.ok, report.to_dict()


def _backup(settings: Settings, args: argparse.Namespace) -> Outcome:
    try:
        return True, backup.back_up(settings.clickhouse_dsn, settings.backup_to, args.name)
    except backup.NotVerified as error:
        return False, {"name": args.name, "wrong": str(error)}


def _restore(settings: Settings, args: argparse.Namespace) -> Outcome:
    try:
        return True, backup.restore(
            settings.clickhouse_dsn, settings.backup_to, args.name, replace=args.replace
        )
    except backup.NotVerified as error:
        return False, {"name": args.name, "wrong": str(error)}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m services.maintenance", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="kind")

    command = commands.add_parser("migrate", help="bring schema, epoch and targets up to date")
    command.add_argument("--wait", type=float, default=120.0, metavar="SECONDS")
    command.add_argument("--topics", action="store_true", help="create topics that are missing")
    command.set_defaults(run=_migrate)

    command = commands.add_parser("migrated", help="wait until the schema is there")
    command.set_defaults(run=_migrated)

    command = commands.add_parser("audit", help="recount the ledger against the cells")
    command.add_argument("--from", dest="first", type=book_day, metavar="DATE")
    command.add_argument("--to", dest="last", type=book_day, metavar="DATE")
    command.set_defaults(run=_audit)

    command = commands.add_parser("backup", help="back the books up, and restore them beside")
    command.add_argument("--name", type=backup.check_name, default=backup.new_name())
    command.set_defaults(run=_backup)

    command = commands.add_parser("restore", help="put a backup in the books' place")
    command.add_argument("name", type=backup.check_name)
    command.add_argument("--replace", action="store_true", help="drop the books that are there")
    command.set_defaults(run=_restore)
    return parser


def main() -> int:
    if "--check" not in sys.argv:
        args = parser().parse_args()
    settings = start("maintenance", "kafka", "clickhouse_connect")
    run: Callable[[Settings, argparse.Namespace], Outcome] = args.run
    begun_at, begun = datetime.now(UTC), time.monotonic()
    try:
        ok, report = run(settings, args)
    except (
        *STORE_ERRORS,
        KafkaError,
        ChangedMigration,
        Locked,
        NoTopics,
        UnevenPartitions,
        backup.InUse,
    ) as error:
        print(json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"[:2000]}))
        return 2
    seconds = round(time.monotonic() - begun, 1)
    if args.kind in runs.KINDS:
        name = report.get("name") or begun_at.isoformat()
        with suppress(*STORE_ERRORS):
            client = connect(settings.clickhouse_dsn)
            runs.record(client, args.kind, str(name), ok, seconds, runs.short(report))
            client.close()
    print(json.dumps({"ok": ok, "seconds": seconds, **report}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""Numbered SQL migrations: forward only, each applied once, guarded by a checksum.

The checksum is of what one server is told (`layout.py`), so it does not depend on the cluster.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from yumai.store.address import Dsn
from yumai.store.client import STORE_ERRORS, connect
from yumai.store.inserts import insert_rows
from yumai.store.layout import Layout

LOCK = "migration_lock"
LOCK_SECONDS = 900.0
"""A lock older than this belongs to somebody who died; no migration takes so long."""
_POLL_SECONDS = 0.5
_PROCESS = secrets.token_hex(4)


class ChangedMigration(Exception):
    """A migration that was applied has been edited since."""


class OldSchema(ClickHouseError):
    """The store's schema is older than this code: as good as away until the migration has run."""


class Locked(Exception):
    """Another migration holds the lock."""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    template: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(Layout().render(self.template).encode()).hexdigest()

    def statements(self, layout: Layout | None = None) -> list[str]:
        """Statements end with `;` at a line's end; comments begin a line."""
        text = (layout or Layout()).render(self.template)
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]


def migrations() -> list[Migration]:
    folder = files("yumai") / "store" / "migrations"
    found = [
        Migration(int(f.name[:4]), f.name, f.read_text(encoding="utf-8"))
        for f in folder.iterdir()
        if f.name.endswith(".sql")
    ]
    return sorted(found, key=lambda m: m.number)


def wait_for_store(dsn: str, seconds: float, told: Callable[[str], None] = lambda _: None) -> None:
    """Returns when the store answers. Raises one of STORE_ERRORS after so many seconds."""
    deadline = time.monotonic() + seconds
    last = ""
    while True:
        try:
            connect(dsn, database="default", timeout=10).close()
            return
        except STORE_ERRORS as error:
            if time.monotonic() > deadline:
                raise
            words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            if words != last:
                told(f"waiting for the store: {words}")
            last = words
            time.sleep(_POLL_SECONDS)


def migrate(dsn: str, *, lock_seconds: float = 120.0) -> list[str]:
    """Brings the database to the newest schema; names of what was applied.

    Safe to run at any time, twice, and by two at once: the second waits up to `lock_seconds`.
    Raises ChangedMigration, Locked, or STORE_ERRORS.
    """
    to = Dsn.parse(dsn)
    layout = Layout(to.cluster)
    bootstrap = connect(dsn, database="default", sequential=True)
    bootstrap.command(f"CREATE DATABASE IF NOT EXISTS {to.database}{layout.on_cluster}")
    bootstrap.close()
    client = connect(dsn, timeout=300, sequential=True)
    try:
        if not missing(client):
            return []
        with _locked(client, layout, lock_seconds):
            return _apply(client, layout)
    finally:
        client.close()


APPLIED = "SELECT number, checksum FROM migrations FINAL"


def missing(client: Client) -> list[Migration]:
    """Migrations that the store has not had yet. Raises ChangedMigration, or STORE_ERRORS."""
    applied: dict[int, str] = {}
    if int(str(client.command("EXISTS TABLE migrations"))):
        applied = {int(number): checksum for number, checksum in client.query(APPLIED).result_rows}
    for migration in migrations():
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise ChangedMigration(f"{migration.name} was changed after it was applied")
    return [m for m in migrations() if m.number not in applied]


def require_schema(applied: Iterable[Sequence[Any]]) -> None:
    """Rows of APPLIED. Raises OldSchema while a migration that this code needs is missing.

    A newer schema is fine: migrations only add while older code runs (docs/clickhouse.md).
    """
    known = {int(row[0]) for row in applied}
    lacking = [m.name for m in _needed() if m.number not in known]
    if lacking:
        raise OldSchema(
            f"the store lacks {', '.join(lacking)}: run `python -m services.maintenance migrate`"
        )


@functools.cache
def _needed() -> tuple[Migration, ...]:
    return tuple(migrations())


def _apply(client: Client, layout: Layout) -> list[str]:
    client.command(
        layout.render(
            "CREATE TABLE IF NOT EXISTS migrations{everywhere}"
            " (number UInt32, name String, checksum String) ENGINE = {replicated} ORDER BY number"
        )
    )
    done = []
    for migration in missing(client):
        for statement in migration.statements(layout):
            # A crash between two statements leaves a table without its migration's row.
            client.command(
                re.sub(r"^CREATE (TABLE|VIEW) ", r"CREATE \1 IF NOT EXISTS ", statement, count=1)
            )
        insert_rows(
            client,
            "migrations",
            [[migration.number, migration.name, migration.checksum]],
            ["number", "name", "checksum"],
        )
        done.append(migration.name)
    return done


@contextmanager
def _locked(client: Client, layout: Layout, seconds: float) -> Iterator[None]:
    """One at a time: who can create the lock's table has it (CREATE is atomic; ON CLUSTER it goes
    through the Keeper's queue, in one order for all)."""
    holder = f"{socket.gethostname()} {os.getpid()} {_PROCESS}"
    made = f"CREATE TABLE {LOCK}{layout.on_cluster} (x UInt8) ENGINE = Memory COMMENT '{holder}'"
    dropped = f"DROP TABLE IF EXISTS {LOCK}{layout.on_cluster} SYNC"
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.command(made)
            break
        except STORE_ERRORS as error:
            if "TABLE_ALREADY_EXISTS" not in str(error):
                raise
        rows = client.query(
            "SELECT comment, toInt64(now() - metadata_modification_time) FROM system.tables"
            " WHERE database = currentDatabase() AND name = {name:String}",
            parameters={"name": LOCK},
        ).result_rows
        if rows and (int(rows[0][1]) > LOCK_SECONDS or _is_dead(rows[0][0])):
            client.command(dropped)
        elif time.monotonic() > deadline:
            raise Locked(
                f"{rows[0][0] if rows else 'somebody'} migrates since more than {seconds:.0f} s;"
                f" if nobody does: DROP TABLE {LOCK}{layout.on_cluster}"
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        client.command(dropped)


def _is_dead(holder: str) -> bool:
    """Whether it ran on this host and does no more. Of another host only time can tell."""
    host, pid, process = (*holder.split(" "), "", "")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        # A container that was started again has the same name and number, and is another process.
        return process != _PROCESS
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False

"""Backup and restore of the books by the engine's own BACKUP and RESTORE; verified by restoring.

A backup is not taken at one instant. So what says how far the books are (`POSITIONS`) is taken
first, and the rest after it: a worker writes the other way round, so whatever a backup announces it
also holds. What it holds beyond is read from the log again, and comes to the same rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from yumai.entry import BLOCK_OFFSETS, IDS_SINCE_FUNCTION
from yumai.store.address import Dsn
from yumai.store.audit import audit
from yumai.store.client import connect
from yumai.store.layout import SHARDED, Layout

POSITIONS = ("blocks", "progress", "projections")
GROWING = ("entries", "receipts")
"""Tables whose rows, by key, are never fewer than before."""
WORKERS_WRITE_SECONDS = 15
_TIMEOUT = 6 * 3_600.0


class NotVerified(Exception):
    """The backup was taken, and does not hold what the store held."""


class InUse(Exception):
    """A restore would take the books from under workers, or write over others."""


def new_name(at: datetime | None = None) -> str:
    return f"yumai-{at or datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def check_name(name: str) -> str:
    """Raises ValueError: it becomes part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"backup {name!r}: want letters, digits, '.', '-' and '_'")
    return name


# -- the statements; pure -------------------------------------------------------------------------


@dataclass(frozen=True)
class Statements:
    """`to`: the engine's name of a place, `{name}` in it once."""

    layout: Layout
    database: str
    to: str

    def _tables(self) -> list[str]:
        """Names of the tables behind POSITIONS: a sharded one is two tables."""
        clustered = self.layout.cluster is not None
        local = [f"{t}_local" for t in POSITIONS if clustered and t in SHARDED]
        return [*POSITIONS, *local]

    def _at(self, name: str, part: str) -> str:
        return self.to.replace("{name}", f"{check_name(name)}.{part}")

    def backup(self, name: str) -> list[str]:
        """In this order."""
        on = self.layout.on_cluster
        only = ", ".join(f"TABLE {self.database}.{table}" for table in self._tables())
        rest = ", ".join(f"{self.database}.{table}" for table in self._tables())
        return [
            f"BACKUP {only}{on} TO {self._at(name, 'positions')}",
            f"BACKUP DATABASE {self.database} EXCEPT TABLES {rest}{on} TO {self._at(name, 'books')}",
        ]

    def restore(self, name: str, into: str) -> list[str]:
        """In this order: the books are there before anything says so."""
        on = self.layout.on_cluster
        tables = ", ".join(
            f"TABLE {self.database}.{table} AS {into}.{table}" for table in self._tables()
        )
        return [
            f"RESTORE DATABASE {self.database} AS {into}{on} FROM {self._at(name, 'books')}",
            f"RESTORE {tables}{on} FROM {self._at(name, 'positions')}",
        ]

    def peek(self, name: str, into: str) -> list[str]:
        """Restores little of both halves: only where they are there and can be read."""
        on = self.layout.on_cluster
        small = "progress_local" if self.layout.cluster else "progress"
        return [
            f"CREATE DATABASE {into}{on}",
            f"RESTORE TABLE {self.database}.epochs AS {into}.epochs{on} FROM {self._at(name, 'books')}",
            f"RESTORE TABLE {self.database}.{small} AS {into}.{small}{on}"
            f" FROM {self._at(name, 'positions')}",
        ]

    def drop(self, database: str) -> str:
        return f"DROP DATABASE IF EXISTS {database}{self.layout.on_cluster} SYNC"


# -- what a store holds ---------------------------------------------------------------------------


@dataclass
class Holdings:
    """What must be found again. `starts`: (epoch/part) -> first offset of the lowest open block."""

    blocks: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)
    """Complete blocks: (epoch, part, block) -> (entries, net fen)."""
    old_ids: set[tuple[int, int, int]] = field(default_factory=set)
    """Those of them that the workers write again from the log: the backup need not hold them."""
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def starts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for epoch, part, block in sorted(self.blocks.keys() - self.old_ids):
            key = f"{epoch}/{part}"
            if block == found.setdefault(key, 0) // BLOCK_OFFSETS:
                found[key] = (block + 1) * BLOCK_OFFSETS
        return found


def holdings(client: Client) -> Holdings:
    """Raises STORE_ERRORS."""
    rows = client.query(
        "SELECT epoch, part, block, entries, net_fen, function_version FROM blocks FINAL"
        " WHERE complete = 1"
    ).result_rows
    return Holdings(
        {(int(e), int(p), int(b)): (int(n), int(fen)) for e, p, b, n, fen, _ in rows},
        {(int(e), int(p), int(b)) for e, p, b, _, _, v in rows if v < IDS_SINCE_FUNCTION},
        {
            table: int(client.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0])
            for table in GROWING
        },
    )


def lacking(before: Holdings, restored: Holdings) -> list[str]:
    """What the store held before and the backup does not; nothing is what one wants."""
    found = [
        f"block {key}: {restored.blocks.get(key)} where {value} was announced"
        for key, value in sorted(before.blocks.items())
        if restored.blocks.get(key) != value
    ]
    found += [
        f"{table}: {restored.rows.get(table, 0):,} rows where there were {rows:,}"
        for table, rows in before.rows.items()
        if restored.rows.get(table, 0) < rows
    ]
    return found


# -- doing it -------------------------------------------------------------------------------------


def back_up(dsn: str, to: str, name: str) -> dict[str, Any]:
    """Takes a backup and restores it beside the store; the report of what it holds.

    Raises NotVerified with what is wrong, or STORE_ERRORS.
    """
    at = Dsn.parse(dsn)
    statements = Statements(Layout(at.cluster), at.database, to)
    beside = f"{at.database}_verify"
    client = connect(dsn, timeout=_TIMEOUT, sequential=True)
    try:
        before = holdings(client)
        for statement in statements.backup(name):
            client.command(statement)
        client.command(statements.drop(beside))
        try:
            for statement in statements.restore(name, beside):
                client.command(statement)
            copy = connect(dsn, timeout=_TIMEOUT, database=beside, sequential=True)
            try:
                restored = holdings(copy)
                report = audit(copy)
            finally:
                copy.close()
        finally:
            client.command(statements.drop(beside))
    finally:
        client.close()
    wrong = lacking(before, restored)
    if not report.ok:
        wrong.append(f"the copy's audit finds {report.difference_fen:,} fen of difference")
    if wrong:
        raise NotVerified("; ".join(wrong[:20]))
    return {
        "name": name,
        "blocks": len(restored.blocks),
        "rows": restored.rows,
        "entries": report.entries,
        "net_fen": report.net_fen,
        "open_block_starts": restored.starts,
        "ids_since_function": IDS_SINCE_FUNCTION,
    }


def restore(dsn: str, to: str, name: str, *, replace: bool = False) -> dict[str, Any]:
    """Puts a backup in the place of the database; workers then read the log on from there.

    Raises InUse, NotVerified, ValueError or STORE_ERRORS.
    """
    at = Dsn.parse(dsn)
    statements = Statements(Layout(at.cluster), at.database, to)
    wanted = statements.restore(name, at.database)
    client = connect(dsn, timeout=_TIMEOUT, database="default", sequential=True)
    try:
        _check_free(client, at.database, replace)
        # A name that was mistyped, or a place that can't be read, must cost nothing.
        beside = f"{at.database}_verify"
        client.command(statements.drop(beside))
        try:
            for statement in statements.peek(name, beside):
                client.command(statement)
        finally:
            client.command(statements.drop(beside))
        client.command(statements.drop(at.database))
        for statement in wanted:
            client.command(statement)
    finally:
        client.close()
    books = connect(dsn, timeout=_TIMEOUT, sequential=True)
    try:
        report = audit(books)
        held = holdings(books)
    finally:
        books.close()
    if not report.ok:
        raise NotVerified(f"restored, but the audit finds {report.difference_fen:,} fen")
    return {
        "name": name,
        "blocks": len(held.blocks),
        "rows": held.rows,
        "entries": report.entries,
        "net_fen": report.net_fen,
        "open_block_starts": held.starts,
    }


def _check_free(client: Client, database: str, replace: bool) -> None:
    for table in ("blocks", "progress"):
        if not int(str(client.command(f"EXISTS TABLE {database}.{table}"))):
            return
    rows = int(client.query(f"SELECT count() FROM {database}.blocks").result_rows[0][0])
    since = client.query(
        "SELECT dateDiff('second', max(written_at), now64(3))"
        f" FROM {database}.progress HAVING count() > 0"
    ).result_rows
    if since and 0 <= int(since[0][0]) < WORKERS_WRITE_SECONDS:
        raise InUse(f"a worker wrote {since[0][0]} s ago: stop the metrics workers first")
    if rows and not replace:
        raise InUse(f"database {database} holds {rows:,} blocks: --replace drops them")

"""Numbered SQL migrations: forward only, each applied once, guarded by a checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from clickhouse_connect.driver.client import Client

from yumai import districts, sectors
from yumai.store.client import Dsn, connect

TAXONOMY_VERSION = 1


class ChangedMigration(Exception):
    """A migration that was applied has been edited since."""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Statements end with `;` at a line's end; comments begin a line."""
        lines = [line for line in self.sql.splitlines() if not line.startswith("--")]
        return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]


def migrations() -> list[Migration]:
    folder = files("yumai") / "store" / "migrations"
    found = [
        Migration(int(f.name[:4]), f.name, f.read_text(encoding="utf-8"))
        for f in folder.iterdir()
        if f.name.endswith(".sql")
    ]
    return sorted(found, key=lambda m: m.number)


def migrate(dsn: str) -> list[str]:
    """Brings the database to the newest schema; names of what was applied.

    Safe to run at any time and twice. Raises ChangedMigration, or STORE_ERRORS.
    """
    database = Dsn.parse(dsn).database
    bootstrap = connect(dsn, database="default")
    bootstrap.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    bootstrap.close()
    client = connect(dsn)
    try:
        client.command(
            "CREATE TABLE IF NOT EXISTS migrations (number UInt32, name String, checksum String)"
            " ENGINE = ReplacingMergeTree ORDER BY number"
        )
        applied = {
            int(number): checksum
            for number, checksum in client.query(
                "SELECT number, checksum FROM migrations FINAL"
            ).result_rows
        }
        done = []
        for migration in migrations():
            if migration.number in applied:
                if applied[migration.number] != migration.checksum:
                    raise ChangedMigration(f"{migration.name} was changed after it was applied")
                continue
            for statement in migration.statements():
                # A crash between two statements leaves a table without its migration's row.
                statement = statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
                statement = statement.replace("CREATE VIEW ", "CREATE VIEW IF NOT EXISTS ", 1)
                client.command(statement)
            client.insert(
                "migrations",
                [[migration.number, migration.name, migration.checksum]],
                column_names=["number", "name", "checksum"],
            )
            done.append(migration.name)
        if done:
            _load_taxonomy(client)
        return done
    finally:
        client.close()


def _load_taxonomy(client: Client) -> None:
    client.insert(
        "districts",
        [
            [int(d.code), d.zh, d.en, d.kind, d.group, d.population]
            for d in districts.districts().values()
        ],
        column_names=["code", "zh", "en", "kind", "group", "population"],
    )
    client.insert(
        "sectors",
        [[s["code"], s["zh"], s["en"], s["kind"]] for s in sectors.sectors()],
        column_names=["code", "zh", "en", "kind"],
    )
    client.insert(
        "mcc_sectors",
        [
            [mcc, sectors.SECTOR_CODES[number], TAXONOMY_VERSION]
            for mcc, number in sectors.mcc_sectors().items()
        ],
        column_names=["mcc", "sector", "map_version"],
    )

"""What maintenance did: written by the jobs, read by alarms and by housekeeping."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from yumai.entry import IDS_SINCE_FUNCTION
from yumai.store.figures import Query
from yumai.store.inserts import insert_rows

KINDS = ("audit", "backup", "restore")

LAST = Query(
    "SELECT toString(kind) AS of, argMax(name, at), toUnixTimestamp64Milli(max(maintenance_runs.at)),"
    " argMax(ok, at), argMax(report, at), maxIf(toUnixTimestamp64Milli(maintenance_runs.at), ok = 1)"
    " FROM maintenance_runs FINAL GROUP BY kind ORDER BY of"
)
LAST_GOOD_BACKUP = Query(
    "SELECT name, report FROM maintenance_runs FINAL WHERE kind = 'backup' AND ok = 1"
    " ORDER BY maintenance_runs.at DESC LIMIT 1"
)


@dataclass(frozen=True)
class MaintenanceRun:
    """The last run of a kind. Instants are epoch ms; `good_at` 0: none was ever good."""

    kind: str
    name: str
    at: int
    ok: bool
    report: dict[str, Any]
    good_at: int


def last(rows: Iterable[Sequence[Any]]) -> dict[str, MaintenanceRun]:
    """Rows of LAST by kind."""
    decoded = [
        MaintenanceRun(kind, name, int(at), bool(ok), json.loads(report or "{}"), int(good_at))
        for kind, name, at, ok, report, good_at in rows
    ]
    return {run.kind: run for run in decoded}


def record(
    client: Client, kind: str, name: str, ok: bool, seconds: float, report: dict[str, Any]
) -> None:
    """Raises STORE_ERRORS."""
    assert kind in KINDS
    row = [kind, name, datetime.now(UTC), seconds, int(ok), json.dumps(report, ensure_ascii=False)]
    names = ["kind", "name", "at", "seconds", "ok", "report"]
    insert_rows(client, "maintenance_runs", [row], names)


def short(report: dict[str, Any]) -> dict[str, Any]:
    """Without the lists of what differs: they may be long, and stand in the log."""
    return {name: value for name, value in report.items() if not isinstance(value, list)}


def backed_up(rows: Iterable[Sequence[Any]]) -> tuple[str, dict[tuple[int, int], int]] | None:
    """Row of LAST_GOOD_BACKUP as (name, {(epoch, part): offset}); below it the backup has all.

    None too for one from before today's ids: restored, it would be read again from the log.
    """
    for name, report in rows:
        said = json.loads(report)
        if said.get("ids_since_function") != IDS_SINCE_FUNCTION:
            return None
        starts = said["open_block_starts"]
        return str(name), {
            (int(epoch), int(part)): int(offset)
            for key, offset in starts.items()
            for epoch, _, part in (key.partition("/"),)
        }
    return None

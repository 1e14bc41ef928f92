"""How far behind the figures are, how fresh, how fast, and what is booked: asked of broker and store.

For people and for the gateway: it never raises and never takes longer than it was given. What can't
be known in that time is None, and `problems` says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from yumai.broker import lag as lags
from yumai.broker.security import Bootstrap
from yumai.store import runs

COUNTS = ("booked", "duplicate", "conflicting", "dead")
_GIVEN_UP = (
    "SELECT office, subscription, count(), argMax(last_error, at) FROM deliveries FINAL"
    " WHERE state = 'given_up' AND at >= now() - INTERVAL 1 DAY AND attempts > 0"
    " GROUP BY office, subscription ORDER BY office, subscription"
)
"""Somebody was not told: an alarm until the day after. (Untried: the subscription was taken away.)"""
_MARGIN = 0.15
"""Seconds kept back for putting the answer together."""


def read(bootstrap: Bootstrap, dsn: str, timeout: float = 3.0) -> dict[str, Any]:
    """`lag`, `freshness`, `rates`, `counts`, `problems`; see `docs/architecture.md`."""
    deadline = time.monotonic() + timeout - _MARGIN
    store, broker = _Store(), _Broker()
    asked = [
        _background(lambda: _ask_store(store, dsn, timeout)),
        _background(lambda: _ask_broker(broker, bootstrap, store, deadline)),
    ]
    for thread in asked:
        thread.join(max(deadline - time.monotonic(), 0))
    problems = list(store.problems)
    if not store.problems and not store.done.is_set():
        problems.append("store: no answer in time")
    problems += broker.problems
    # It may only be waiting for what the store has announced.
    if not broker.problems and asked[1].is_alive() and store.has_announced.is_set():
        problems.append("broker: no answer in time")
    found, recent = broker.lag or lags.Lag(), broker.recent
    return {
        "lag": {
            "records": found.records,
            "seconds": found.seconds,
            "partitions": {str(number): n for number, n in found.partitions.items()},
            "feeds": dict(found.feeds),
        },
        "freshness": {
            "through": store.through,
            "last_seconds": recent.last_seconds if recent else None,
            "worst_seconds": recent.worst_seconds if recent else None,
        },
        "rates": {"entries_per_second": recent.entries_per_second if recent else None},
        "counts": {name: store.counts.get(name) for name in COUNTS},
        "rejects": store.rejects,
        "parts": store.parts,
        "audit": store.audit,
        "problems": problems,
    }


@dataclass
class _Store:
    """Filled in by its thread as the answers come."""

    epochs: list[tuple[int, str, int]] = field(default_factory=list)
    announced: dict[int, dict[int, int]] | None = None
    """By epoch and partition: the next offset to be announced."""
    through: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] | None = None
    """Rows refused in the last 24 hours, by reason."""
    parts: dict[str, dict[str, int]] | None = None
    """Of each table: active parts and bytes on disk."""
    audit: dict[str, Any] | None = None
    """The last recorded one."""
    problems: list[str] = field(default_factory=list)
    has_announced: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Broker:
    lag: lags.Lag | None = None
    recent: lags.Recent | None = None
    problems: list[str] = field(default_factory=list)


def _ask_store(store: _Store, dsn: str, timeout: float) -> None:
    try:
        # Here, so that what it takes to import (a second on a busy machine) is part of the time given.
        from yumai.store.client import connect

        client = connect(dsn, timeout=timeout)
        try:
            epochs = client.query(
                "SELECT epoch, topic_id, partitions FROM epochs FINAL"
            ).result_rows
            store.epochs = [(int(epoch), str(topic), int(parts)) for epoch, topic, parts in epochs]
            announced: dict[int, dict[int, int]] = {}
            for epoch, part, next_offset in client.query(
                "SELECT epoch, part, max(last_offset) + 1 FROM blocks GROUP BY epoch, part"
            ).result_rows:
                announced.setdefault(int(epoch), {})[int(part)] = int(next_offset)
            store.announced = announced
            store.has_announced.set()
            _ask_progress(store, client)
            store.problems += [
                f"{count} messages to {office}/{subscription} given up within a day: {error}"
                for office, subscription, count, error in client.query(_GIVEN_UP).result_rows
            ]
            store.counts["booked"] = _count(client, "SELECT sum(entries) FROM blocks FINAL")
            for verdict, name in (("duplicate", "duplicate"), ("conflict", "conflicting")):
                store.counts[name] = _count(
                    client, f"SELECT count() FROM verdicts FINAL WHERE verdict = '{verdict}'"
                )
            store.counts["dead"] = _count(
                client, "SELECT count() FROM dead_letters FINAL WHERE code != 'conflict'"
            )
            _ask_state(store, client)
        finally:
            client.close()
    except Exception as error:
        store.problems.append(f"store: {_words(error)}")
    finally:
        store.has_announced.set()
        store.done.set()


def _ask_progress(store: _Store, client: Any) -> None:
    """How far every partition of the newest epoch is booked, and which ones have stopped."""
    rows = client.query("SELECT epoch, part, through, stopped FROM progress FINAL ORDER BY part")
    newest = max((epoch for epoch, *_ in store.epochs), default=0)
    mine = [row for row in rows.result_rows if int(row[0]) == newest]
    parts = next((parts for epoch, _, parts in store.epochs if epoch == newest), 0)
    if mine and len(mine) == parts:
        through = min(row[2] for row in mine)
        through = through.replace(tzinfo=UTC) if through.tzinfo is None else through.astimezone(UTC)
        store.through = through.isoformat(timespec="milliseconds")
    store.problems += [f"partition {row[1]} stands still: {row[3]}" for row in mine if row[3]]


def _ask_state(store: _Store, client: Any) -> None:
    rows = client.query(
        "SELECT toString(code), count() FROM dead_letters FINAL WHERE at >= now() - 86400"
        " AND code != 'conflict' GROUP BY 1 ORDER BY 2 DESC, 1"
    ).result_rows
    store.rejects = {code: int(number) for code, number in rows}
    rows = client.query(
        "SELECT table, count(), sum(bytes_on_disk) FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
    ).result_rows
    store.parts = {table: {"parts": int(n), "bytes": int(size)} for table, n, size in rows}
    run = runs.last(client.query(runs.LAST.sql).result_rows).get("audit")
    if run is not None:
        at = datetime.fromtimestamp(run.at / 1000, UTC).isoformat(timespec="seconds")
        fen = run.report.get("difference_fen")
        store.audit = {"at": at, "ok": run.ok, "difference_fen": fen}


def _count(client: Any, sql: str) -> int:
    return int(client.query(sql).result_rows[0][0])


def _ask_broker(broker: _Broker, bootstrap: Bootstrap, store: _Store, deadline: float) -> None:
    def announced(topic_id: str, partitions: int) -> Mapping[int, int] | None:
        store.has_announced.wait(max(deadline - 0.2 - time.monotonic(), 0))
        if store.announced is None:
            return None
        fitting = [
            e for e, topic, parts in store.epochs if (topic, parts) == (topic_id, partitions)
        ]
        # A topic that the store has no epoch of: nothing of it is announced.
        return store.announced.get(max(fitting), {}) if fitting else {}

    try:
        admin = lags.connect(bootstrap, deadline)
        try:
            broker.lag = lags.read(admin, bootstrap, announced, deadline)
            broker.recent = lags.recent(admin, bootstrap, deadline)
        finally:
            admin.close()
    except Exception as error:
        broker.problems.append(f"broker: {_words(error)}")


def _background(work: Callable[[], None]) -> threading.Thread:
    # A daemon: a call that hangs must not hold up who asked, nor the process's end.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _words(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "does not answer" if "Failed to establish" in text else text.splitlines()[0][:300]

"""What the gateway tells Prometheus of the whole system: lag, stopped partitions, parts of the store.

Asked of broker and store every EVERY_SECONDS, in a thread. What can't be known is NaN or has no series.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from clickhouse_connect.driver.client import Client
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from yumai.broker import lag as lags
from yumai.broker.security import Bootstrap
from yumai.observability import telemetry
from yumai.store import runs
from yumai.store.client import STORE_ERRORS, connect

log = logging.getLogger("yumai.gateway")

EVERY_SECONDS = 5.0
LOOK_SECONDS = 10.0
STANDING_SECONDS = 300.0
"""A feed of which nothing is taken over for so long is named in the log."""

EPOCH = "SELECT epoch, topic_id, partitions FROM epochs FINAL ORDER BY epoch DESC LIMIT 1"
ANNOUNCED = (
    "SELECT part, max(last_offset) + 1 FROM blocks"
    " WHERE epoch = (SELECT max(epoch) FROM epochs) GROUP BY part"
)
STOPPED = (
    "SELECT countIf(stopped != '') FROM progress FINAL"
    " WHERE epoch = (SELECT max(epoch) FROM epochs)"
)
PARTS = (
    "SELECT table, count(), sum(bytes_on_disk) FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table"
)


class SystemFigures(threading.Thread):
    """Looks, until stopped; connections are kept from one look to the next."""

    def __init__(self, bootstrap: Bootstrap, dsn: str) -> None:
        super().__init__(name="whole", daemon=True)
        self._kafka, self._dsn = bootstrap, dsn
        self._ending = threading.Event()
        self._admin: KafkaAdminClient | None = None
        self._client: Client | None = None
        self._standing = lags.Standing()
        self._told: set[str] = set()

    def run(self) -> None:
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                self._look()
            except Exception:
                log.exception("the whole system's figures could not be read")
            self._ending.wait(max(EVERY_SECONDS - (time.monotonic() - begun), 1.0))

    def stop(self) -> None:
        """A look under way is not waited for."""
        self._ending.set()

    def _look(self) -> None:
        announced = self._store()
        if announced is None:
            telemetry.METRICS_PARTITIONS_STOPPED.set(None)
            telemetry.STORE_PARTS.set_all({})
            telemetry.STORE_BYTES.set_all({})
        self._broker(announced)

    def _store(self) -> tuple[str, int, Mapping[int, int]] | None:
        """Id and partitions of the log that is booked, and what is announced of it."""
        try:
            if self._client is None:
                self._client = connect(self._dsn, timeout=LOOK_SECONDS)
            ask = self._client.query
            epochs = ask(EPOCH).result_rows
            announced = {int(part): int(offset) for part, offset in ask(ANNOUNCED).result_rows}
            telemetry.METRICS_PARTITIONS_STOPPED.set(ask(STOPPED).result_rows[0][0])
            parts = {t: (n, size) for t, n, size in ask(PARTS).result_rows if t in telemetry.TABLES}
            telemetry.STORE_PARTS.set_all({table: n for table, (n, _) in parts.items()})
            telemetry.STORE_BYTES.set_all({table: size for table, (_, size) in parts.items()})
            _tell_runs(runs.last(ask(runs.LAST.sql).result_rows))
        except STORE_ERRORS:
            if self._client is not None:
                client, self._client = self._client, None
                client.close()
            return None
        # Before the first epoch nothing is booked, and nothing is announced.
        return (str(epochs[0][1]), int(epochs[0][2]), announced) if epochs else ("", 0, {})

    def _broker(self, known: tuple[str, int, Mapping[int, int]] | None) -> None:
        def announced(topic_id: str, partitions: int) -> Mapping[int, int] | None:
            if known is None:
                return None
            return known[2] if known[:2] == (topic_id, partitions) else {}

        deadline = time.monotonic() + LOOK_SECONDS
        try:
            if self._admin is None:
                self._admin = lags.connect(self._kafka, deadline)
            found = lags.read(self._admin, self._kafka, announced, deadline, may_read_feeds=False)
        except (KafkaError, OSError, ValueError, AssertionError):
            if self._admin is not None:
                admin, self._admin = self._admin, None
                admin.close()
            found = lags.Lag()
        parts = {str(p): n for p, n in found.partitions.items() if n is not None}
        telemetry.METRICS_LAG_RECORDS.set_all(parts)
        telemetry.METRICS_LAG_SECONDS.set_all({p: found.ages.get(int(p)) for p in parts})
        feeds = list(found.feeds.values())
        unknown = not found.partitions or None in feeds
        telemetry.FEEDS_LAG_RECORDS.set(None if unknown else sum(n or 0 for n in feeds))
        if unknown:
            telemetry.FEEDS_STANDING_SECONDS.set(None)
        else:
            self._tell_standing(self._standing.look(found.feeds_waiting, time.monotonic()))

    def _tell_standing(self, seconds: Mapping[str, float]) -> None:
        telemetry.FEEDS_STANDING_SECONDS.set(max(seconds.values(), default=0.0))
        standing = {topic for topic, for_ in seconds.items() if for_ > STANDING_SECONDS}
        for topic in sorted(standing - self._told):
            log.error("feed_stands %s: records wait, none was taken over for a while", topic)
        self._told = standing


def _tell_runs(last: Mapping[str, runs.MaintenanceRun]) -> None:
    """The last audit and the last good backup; NaN until there is one."""
    audit = last.get("audit")
    if audit is not None:
        found = audit.report
        total = found.get("cells_differing_total", 0) + found.get("ids_twice_total", 0)
        telemetry.AUDIT_TIMESTAMP.set(audit.at / 1000)
        telemetry.AUDIT_DIFFERENCE_FEN.set(found.get("difference_fen"))
        telemetry.AUDIT_BLOCKS.set(found.get("blocks"))
        telemetry.AUDIT_FINDINGS.set(0 if audit.ok else max(total, 1))
    backup = last.get("backup")
    if backup is not None and backup.good_at:
        telemetry.BACKUP_TIMESTAMP.set(backup.good_at / 1000)

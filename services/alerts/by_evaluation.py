"""The judge behind alerts: `yumai.evaluation` on the store's cells, and the health of feeds. Blocking."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from contracts.days import SHANGHAI
from services.alerts.judge import Evaluation
from yumai.evaluation import books as books_
from yumai.evaluation import feeds, judge
from yumai.evaluation.judge import Moment
from yumai.evaluation.rows import progress_rows
from yumai.store.client import connect
from yumai.store.figures import FRESHNESS, Freshness
from yumai.store.migrate import APPLIED, require_schema
from yumai.targets.held import Held

log = logging.getLogger("yumai.alerts")

FEEDS_SECONDS = 5.0
HEALTH_RESTS = 20
"""The health of feeds is kept for 20 times as long as it took to read, and for these seconds at least."""


class ByEvaluation:
    """The judge of alerts, for one thread at a time. Raises one of STORE_ERRORS, and reconnects at the next call."""

    def __init__(self, dsn: str, rules: str = "severity") -> None:
        self._dsn = dsn
        self._rules = rules
        self._client: Client | None = None
        self._books: dict[int, books_.Books] = {}
        self._feeds: list[feeds.Feed] | None = None
        self._feeds_due = 0.0

    def evaluate(
        self, year: int, targets: Held, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        try:
            return self._evaluate(year, targets, districts, at)
        except Exception:
            self._client = None
            self._books.clear()
            raise

    def _evaluate(
        self, year: int, targets: Held, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        if self._client is None:
            self._client = connect(self._dsn, timeout=60)
            require_schema(self._client.query(APPLIED).result_rows)
        client = self._client
        ((through, known, wanted),) = client.query(FRESHNESS.sql).result_rows
        fresh = Freshness.of_row(through if known else None, known, wanted).through
        if fresh is None:
            return Evaluation(at, guard="stale")
        now = datetime.now(UTC)
        # As far as the books are: what is not booked yet is not lagging.
        at = min(at, fresh).astimezone(SHANGHAI)
        if at.year < year:
            return Evaluation(at, guard="stale")
        here = now.astimezone(SHANGHAI)
        moment = Moment.of(year, at, here.date())
        health = self._health(client, now)
        books = self._books.setdefault(year, books_.Books())
        years = books_.read(client, books.refresh(year))
        judged = judge.judge(
            years,
            year,
            targets.amounts(year),
            moment,
            share_path=targets.share(year),
            rules=self._rules,
            memory=books.memory,
            doubts=feeds.doubts(health) if at.date() == here.date() else None,
        )
        asked = None if districts is None else list(districts)
        rows = progress_rows(judged, asked, None, at=moment.day.isoformat())
        ended = datetime(year + 1, 1, 1, tzinfo=SHANGHAI) - timedelta(microseconds=1)
        return Evaluation(min(at, ended), rows, [feed.row() for feed in health])

    def _health(self, client: Client, now: datetime) -> list[feeds.Feed]:
        begun = time.monotonic()
        if self._feeds is None or begun >= self._feeds_due:
            queries = (
                feeds.hours_query(now),
                feeds.days_query(now),
                feeds.last_query(now),
                feeds.rejected_query(now),
            )
            answers = [list(client.query(q.sql, q.parameters).result_rows) for q in queries]
            self._feeds = feeds.health(feeds.Seen(*answers), now)
            took = time.monotonic() - begun
            self._feeds_due = begun + max(FEEDS_SECONDS, took * HEALTH_RESTS)
        return self._feeds

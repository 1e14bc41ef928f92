"""What alerts reads of the store: this year's days, past years, and how far the books are. Blocking."""

from __future__ import annotations

from datetime import date

from clickhouse_connect.driver.client import Client

from services.alerts.judge import Row
from yumai.store.client import connect
from yumai.store.figures import FRESHNESS, Freshness, Query, daily_services

PAST_YEARS = 3


class Books:
    """For one thread at a time. Raises one of STORE_ERRORS and connects anew at the next call."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._client: Client | None = None

    def freshness(self) -> Freshness:
        ((through, known, wanted),) = self._rows(FRESHNESS)
        return Freshness.of_row(through if known else None, known, wanted)

    def this_year(self, day: date) -> list[Row]:
        """Services by district and day, from 1 January to `day`."""
        return self._rows(daily_services(date(day.year, 1, 1), day))

    def past_years(self, year: int) -> list[Row]:
        return self._rows(daily_services(date(year - PAST_YEARS, 1, 1), date(year - 1, 12, 31)))

    def _rows(self, query: Query) -> list:
        try:
            if self._client is None:
                self._client = connect(self._dsn, timeout=30)
            return list(self._client.query(query.sql, query.parameters).result_rows)
        except Exception:
            self._client = None
            raise

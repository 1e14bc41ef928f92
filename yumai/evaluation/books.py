"""Columns kept fresh: what an evaluation stands on, read again only where the store has changed. Sans I/O.

`refresh` says step by step what is to be asked and takes the answers; `read` runs it with a blocking
client, the gateway with its own. Cells written since the last stand name the days to be read again,
so a commit costs one day and a restatement its own days, never five years.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from yumai.evaluation import columns, reads
from yumai.evaluation.columns import Year
from yumai.evaluation.judge import PAST_YEARS
from yumai.evaluation.segment import Memory
from yumai.store.figures import Query

_SERIALS = itertools.count()

DAYS_MOST = 62
"""A year with more changed days than this is read again as a whole."""


@dataclass(frozen=True)
class Ask:
    """A query, and whether its answer is wanted as rows or as an Arrow table."""

    query: Query
    arrow: bool = False


Steps = Generator[Ask, Any, dict[int, Year]]


class Books:
    """Columns of some years; one refresh at a time. `as_of`: only what was recorded by the end of that day."""

    def __init__(self, as_of: date | None = None) -> None:
        self._as_of = as_of
        self._years: dict[int, Year] = {}
        self._stand: list[tuple[int, int, int]] = []
        self.memory = Memory()
        self.serial = next(_SERIALS)
        self.changes = 0
        """Grows when columns change."""

    def refresh(self, year: int) -> Steps:
        """Columns of `year` and of the years before it that a judgement looks at."""
        answer = yield Ask(reads.STAND)
        stand = [(int(e), int(p), int(o)) for e, p, o in answer]
        wanted = range(year - PAST_YEARS, year + 1)
        if self._years and stand != self._stand:
            first = date(min(self._years), 1, 1)
            days = yield Ask(reads.changed_days(self._stand, first))
            yield from self._read_again(sorted({_day(day) for (day,) in days}))
        missing = [y for y in wanted if y not in self._years]
        if missing:
            first, last = date(missing[0], 1, 1), date(missing[-1], 12, 31)
            table = yield Ask(reads.daily(first, last, self._as_of), arrow=True)
            self._years |= columns.of_table(table, missing)
            self.changes += 1
        self._stand = stand
        return {y: self._years[y] for y in wanted}

    def _read_again(self, days: list[date]) -> Generator[Ask, Any, None]:
        for year in sorted({day.year for day in days} & set(self._years)):
            changed = [day for day in days if day.year == year]
            first, last = changed[0], changed[-1]
            if (last - first).days >= DAYS_MOST:
                first, last = date(year, 1, 1), date(year, 12, 31)
            table = yield Ask(reads.daily(first, last, self._as_of), arrow=True)
            fresh = columns.of_table(table, [year])[year]
            span = [(first + timedelta(days=n)) for n in range((last - first).days + 1)]
            begin = date(year, 1, 1)
            self._years[year] = columns.replaced(
                self._years[year], fresh, [(day - begin).days for day in span]
            )
            self.changes += 1


def _day(day: Any) -> date:
    return day if isinstance(day, date) else date.fromisoformat(str(day))


def table_of(body: bytes) -> pa.Table:
    """An ArrowStream answer; an empty one has no schema to speak of."""
    if not body:
        return pa.table({})
    return pa.ipc.open_stream(io.BytesIO(body)).read_all()


def read(client: Client, steps: Steps) -> dict[int, Year]:
    """Runs a refresh with a blocking client. Raises one of STORE_ERRORS."""
    answer: Any = None
    try:
        while True:
            ask = steps.send(answer)
            if ask.arrow:
                body = client.raw_query(ask.query.sql, ask.query.parameters, fmt="ArrowStream")
                answer = table_of(body)
            else:
                answer = client.query(ask.query.sql, ask.query.parameters).result_rows
    except StopIteration as done:
        return done.value

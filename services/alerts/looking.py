"""One look at the districts: what the judge finds of each, as events for its alert. Blocking."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from contracts.alerts import codec
from contracts.days import SHANGHAI
from services.alerts.judge import Evaluation, Judge
from services.alerts.lifecycle import Alerts, Judged, worst
from services.alerts.set_aside import SetAside
from yumai.evaluation.rows import ProgressRow
from yumai.methods.guards import is_warming_up
from yumai.targets.held import Held


@dataclass(frozen=True)
class Looked:
    """Result of one look."""

    events: list[Judged] = field(default_factory=list)
    feeds: list[dict] = field(default_factory=list)
    guard: str = ""
    judged: bool = True
    took: float = 0.0


class Looks:
    """Looks at districts and turns the judge's rows into events, for one thread at a time."""

    def __init__(self, judge: Judge, aside: SetAside) -> None:
        self._judge, self._aside = judge, aside

    def look(self, districts: set[str] | None, targets: Held, alerts: Alerts) -> Looked:
        """At these districts (None: all) now. Blocking. Raises STORE_ERRORS."""
        begun = time.monotonic()
        now = datetime.now(UTC)
        today = now.astimezone(SHANGHAI).date()
        events: list[Judged] = []
        feeds: list[dict] = []
        guards, judged = [], True
        wanted = targets.years()
        for year in years_judged(today):
            if year not in wanted:
                guards.append("no_target" if year == today.year else "")
                continue
            found = self._judge.evaluate(year, targets, districts, now)
            guards.append(found.guard)
            judged = judged and (not found.guard or found.guard == "warming_up")
            if found.feeds is not None and year == today.year:
                feeds = found.feeds
            events += self._events(year, found, targets, alerts)
        return Looked(
            events, feeds, next(filter(None, guards), ""), judged, time.monotonic() - begun
        )

    def _events(self, year: int, found: Evaluation, targets: Held, alerts: Alerts) -> list[Judged]:
        by_district: dict[str, list[ProgressRow]] = {}
        for row in found.rows:
            if row.year == year and row.district != "city":
                by_district.setdefault(row.district, []).append(row)
        at, day = int(time.time() * 1000), found.at.astimezone(SHANGHAI).date().isoformat()
        events = []
        for district, rows in sorted(by_district.items()):
            of = (year, day)
            if self._aside.has("district", district, of):
                continue
            with self._aside.guard("district", district, of):
                event = worst(rows, year, district, at, day)
                alert = alerts.get(codec.alert_id(year, district))
                if event.level == "green" and alert is not None and alert.state in codec.LIVE:
                    event = replace(event, withdraw=self._was_green(alert, targets))
                events.append(event)
        return events

    def _was_green(self, alert: codec.StepRecord, targets: Held) -> bool:
        """The day it opened, judged again: the targets that held when it opened, today's entries."""
        if alert.opened_at is None:
            return False
        opened = datetime.fromtimestamp(alert.opened_at / 1000, UTC)
        day = date.fromisoformat(alert.opened_on or day_of(alert.opened_at).isoformat())
        ends = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(days=1)
        at = min(ends - timedelta(microseconds=1), datetime.now(UTC))
        then = self._judge.evaluate(alert.year, targets.as_set_by(opened), {alert.district}, at)
        rows = [row for row in then.rows if row.district == alert.district]
        return worst(rows, alert.year, alert.district, 0, "").level == "green"


def years_judged(today: date) -> list[int]:
    """This year, and until February closes last year too."""
    if is_warming_up(today):
        return [today.year - 1, today.year]
    return [today.year]


def over(today: date, alerts: Alerts) -> frozenset[int]:
    """Years of alerts that are judged no more."""
    first = min(years_judged(today))
    return frozenset(alert.year for alert in alerts.values() if alert.year < first)


def day_of(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, SHANGHAI).date()

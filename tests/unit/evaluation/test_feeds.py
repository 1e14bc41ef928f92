"""How feeds are told to be, on made-up deliveries."""

from datetime import UTC, date, datetime, timedelta

import pytest

from contracts.days import SHANGHAI
from yumai.evaluation import feeds

NOW = datetime(2026, 9, 16, 15, 30, tzinfo=SHANGHAI)
TODAY = NOW.date()
CODES = (500101, 500102, 500103)


class Deliveries:
    """Entries by (platform, district, day, recorded day); a day's are spread over its hours."""

    def __init__(self) -> None:
        self.days: dict[tuple[str, int, date, date], int] = {}
        self.refused: dict[str, int] = {}

    def add(self, name: str, day: date, number: int, *, recorded: date | None = None, codes=CODES):
        for code in codes:
            key = (name, code, day, recorded or day)
            self.days[key] = self.days.get(key, 0) + number

    def steady(self, name: str, number: int = 240, *, until: date = TODAY, lag: int = 0, **more):
        day = TODAY - timedelta(days=65)
        while day <= until:
            recorded = day + timedelta(days=lag)
            if recorded <= TODAY:
                self.add(name, day, number, recorded=recorded, **more)
            day += timedelta(days=1)

    def health(self, now: datetime = NOW) -> dict[str, feeds.Feed]:
        hours: dict[tuple[str, int], int] = {}
        last: dict[str, int] = {}
        for (name, _, day, _), number in self.days.items():
            begin = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
            for hour in range(24):
                at = begin + timedelta(hours=hour)
                if at <= now and number >= 24:
                    stamp = int(at.timestamp())
                    hours[name, stamp] = hours.get((name, stamp), 0) + number // 24
                    last[name] = max(last.get(name, 0), stamp * 1000)
                elif at <= now and hour == 9:
                    stamp = int(at.timestamp())
                    hours[name, stamp] = hours.get((name, stamp), 0) + number
                    last[name] = max(last.get(name, 0), stamp * 1000)
        seen = feeds.Seen(
            [(name, stamp, number) for (name, stamp), number in hours.items()],
            [(*key, number, number * 100) for key, number in self.days.items()],
            list(last.items()),
            list(self.refused.items()),
        )
        return {feed.platform_id: feed for feed in feeds.health(seen, now)}


def test_a_feed_that_goes_on_is_ok():
    sent = Deliveries()
    sent.steady("a")
    found = sent.health()["a"]
    assert (found.state, found.districts) == ("ok", ())
    assert found.last_entry_at is not None
    assert found.row()["last_entry_at"].endswith("+00:00")


def test_a_feed_that_stopped_is_silent_everywhere():
    sent = Deliveries()
    sent.steady("a")
    sent.steady("b", until=TODAY - timedelta(days=2))
    found = sent.health()
    assert found["a"].state == "ok"
    assert (found["b"].state, found["b"].districts) == ("silent", ("500101", "500102", "500103"))


def test_a_feed_silent_for_hours_on_a_busy_day_is_silent():
    sent = Deliveries()
    sent.steady("a", 2_400, until=TODAY - timedelta(days=1))
    assert sent.health()["a"].state == "silent"
    assert sent.health(NOW.replace(hour=0, minute=50))["a"].state == "ok"


@pytest.mark.parametrize("number", [1, 3, 240])
def test_a_feed_silent_in_one_district_alone_names_it(number):
    sent = Deliveries()
    sent.steady("a", number, codes=CODES[1:])
    sent.steady("a", number, codes=CODES[:1], until=TODAY - timedelta(days=7))
    found = sent.health()["a"]
    assert (found.state, found.districts) == ("silent", ("500101",))
    assert feeds.affected([found]) == {"500101": [found]}


def test_a_feed_that_sends_yesterdays_bill_every_morning_is_ok():
    sent = Deliveries()
    sent.steady("a", lag=1, until=TODAY - timedelta(days=1))
    assert sent.health()["a"].state == "ok"
    early = NOW.replace(hour=6)
    late = Deliveries()
    late.steady("a", lag=1, until=TODAY - timedelta(days=2))
    assert late.health(early)["a"].state == "ok"


def test_a_feed_of_which_most_is_missing_is_broken():
    sent = Deliveries()
    sent.steady("a")
    sent.steady("b", until=TODAY - timedelta(days=4))
    for back in range(4):
        sent.add("b", TODAY - timedelta(days=back), 24)
    assert sent.health()["b"].state == "broken"
    assert sent.health()["a"].state == "ok"


def test_days_on_which_all_sell_less_break_no_feed():
    sent = Deliveries()
    for name in ("a", "b", "c"):
        sent.steady(name, until=TODAY - timedelta(days=4))
        for back in range(4):
            sent.add(name, TODAY - timedelta(days=back), 72)
    assert {feed.state for feed in sent.health().values()} == {"ok"}


def four_days_late() -> Deliveries:
    """Of the last eight days four are here, each of them late."""
    sent = Deliveries()
    sent.steady("a", until=TODAY - timedelta(days=8))
    for back in range(4, 8):
        day = TODAY - timedelta(days=back)
        sent.add("a", day, 240, recorded=day + timedelta(days=4))
    return sent


def test_a_feed_that_brings_days_late_what_used_to_be_there_is_late():
    sent = four_days_late()
    for back in range(4):
        sent.add("a", TODAY - timedelta(days=back), 60)
    assert sent.health()["a"].state in ("late", "broken")


def test_a_late_feed_is_in_doubt_from_the_first_day_that_is_missing():
    sent = four_days_late()
    for back in range(4):
        sent.add("a", TODAY - timedelta(days=back), 90 if back else 50)
    found = sent.health()["a"]
    assert found.state == "late"
    assert found.since is not None
    assert TODAY - timedelta(days=9) <= found.since <= TODAY - timedelta(days=2)
    doubt = feeds.doubts([found])["a"]
    assert (doubt.since, doubt.districts) == (found.since, {"500101", "500102", "500103"})


def test_what_a_feed_usually_takes_is_told_by_its_days_of_delivery_not_by_one_import():
    sent = Deliveries()
    sent.steady("a", lag=2)
    assert sent.health()["a"].lag == 2
    assert feeds.doubts(sent.health().values())["a"].since is None
    sent = Deliveries()
    imported = TODAY - timedelta(days=6)
    for back in range(7, 60):
        sent.add("a", TODAY - timedelta(days=back), 240, recorded=imported)
    for back in range(7):
        sent.add("a", TODAY - timedelta(days=back), 240)
    found = sent.health()["a"]
    assert (found.lag, found.state) == (0, "ok")


def test_a_backfill_of_past_days_is_no_lateness():
    sent = Deliveries()
    sent.steady("a")
    for back in range(2, 60):
        sent.add("a", TODAY - timedelta(days=back), 500, recorded=TODAY)
    assert sent.health()["a"].state == "ok"


def test_a_history_loaded_today_is_ok():
    sent = Deliveries()
    day = TODAY - timedelta(days=65)
    while day <= TODAY:
        sent.add("a", day, 240, recorded=TODAY)
        day += timedelta(days=1)
    assert sent.health()["a"].state == "ok"


def test_a_feed_with_many_refused_rows_is_rejecting():
    sent = Deliveries()
    sent.steady("a")
    sent.refused = {"a": 50, "b": 30}
    found = sent.health()
    assert found["a"].state == "ok"
    assert found["b"].state == "rejecting"
    sent.refused = {"a": 5_000}
    found = sent.health()["a"]
    assert (found.state, found.since) == ("rejecting", TODAY - timedelta(days=1))
    assert feeds.doubts([found])["a"].districts == {"500101", "500102", "500103"}


def test_a_platform_that_joined_last_week_has_no_rhythm_yet():
    sent = Deliveries()
    for back in range(3, 8):
        sent.add("new", TODAY - timedelta(days=back), 240)
    assert sent.health()["new"].state == "ok"


def test_instants_are_utc():
    sent = Deliveries()
    sent.steady("a")
    last = sent.health()["a"].last_entry_at
    assert last is not None
    assert last.tzinfo is UTC

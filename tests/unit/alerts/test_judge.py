"""What is judged, and as of when."""

from datetime import date, datetime

from contracts.commits import codec as commits
from contracts.days import SHANGHAI
from services.alerts.looking import over, years_judged
from services.alerts.worker import districts_of
from yumai.evaluation.judge import Moment


def test_the_districts_of_a_commit_are_found_and_nonsense_changes_none():
    change = [commits.Change("500101", "S01", 1, 1), commits.Change("500102", "S01", 1, 1)]
    commit = commits.Commit(1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, False, "m", change)
    assert districts_of(commits.encode(commit)) == {"500101", "500102"}
    assert districts_of(b"nonsense") == set()
    assert districts_of(None) == set()


def test_last_year_is_judged_until_february_closes():
    assert years_judged(date(2027, 2, 28)) == [2026, 2027]
    assert years_judged(date(2027, 3, 1)) == [2027]
    assert over(date(2027, 3, 1), {}) == frozenset()


def test_a_day_that_is_over_is_judged_as_at_its_end():
    noon = datetime(2026, 7, 1, 12, tzinfo=SHANGHAI)
    assert Moment.of(2026, noon, date(2026, 7, 1)).fraction == 0.5
    assert Moment.of(2026, noon, date(2026, 7, 2)).fraction == 1.0
    assert Moment.of(2025, noon, date(2026, 7, 1)).day == date(2025, 12, 31)

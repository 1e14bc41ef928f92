"""Who is judged, and when nobody is."""

from datetime import datetime, timedelta, timezone

import numpy as np

from services.alerts.judge import judge
from services.alerts.worker import districts_of
from yumai.methods.festival import each_day

SHANGHAI = timezone(timedelta(hours=8))
JULY = datetime(2026, 7, 1, 12, tzinfo=SHANGHAI)
EVEN = {code: np.arange(1, 366) / 365 for code in ("500101", "500102", "500157")}


def rows(number: int, fen: int, until: datetime = JULY) -> list:
    return [(number, day, fen) for day in each_day(2026) if day <= until.date()]


def test_pace_is_attained_over_the_expected_share():
    judged = judge(JULY, {"500101": 365_000}, rows(500101, 1_000), EVEN)
    progress = judged.progress["500101"]
    assert judged.guard == ""
    assert progress.attained_fen == 182_000
    assert progress.expected_fen == 181_500
    assert progress.pace == 182_000 / 181_500


def test_nobody_is_judged_before_march():
    at = datetime(2026, 2, 28, 23, tzinfo=SHANGHAI)
    assert judge(at, {"500101": 1}, rows(500101, 1, at), EVEN).guard == "warming_up"


def test_days_not_loaded_yet_are_missing_and_not_lagging():
    whole = rows(500101, 1_000)
    assert judge(JULY, {"500101": 365_000}, whole[:-5], EVEN).guard == "stale"
    assert judge(JULY, {"500101": 365_000}, whole[60:], EVEN).guard == "stale"
    assert judge(JULY, {"500101": 365_000}, [], EVEN).guard == "stale"


def test_a_district_without_sales_lags_when_the_city_has_them():
    judged = judge(JULY, {"500102": 365_000}, rows(500101, 1_000), EVEN)
    assert judged.progress["500102"].pace == 0.0


def test_districts_of_another_year_and_empty_targets_are_left_out():
    targets = {"500105": 365_000, "500157": 365_000, "500101": 0}
    assert list(judge(JULY, targets, rows(500101, 1_000), EVEN).progress) == ["500157"]


def test_without_past_years_days_are_counted():
    assert (
        judge(JULY, {"500101": 365_000}, rows(500101, 1_000), None).progress["500101"].expected_fen
        == 181_500
    )


def test_amounts_stay_exact():
    big = 10**15 + 1
    judged = judge(JULY, {"500101": 1}, rows(500101, big), EVEN)
    assert judged.progress["500101"].attained_fen == 182 * big


def test_a_commit_that_cannot_be_read_changes_no_district():
    assert districts_of(b"{") == set()
    assert districts_of(None) == set()

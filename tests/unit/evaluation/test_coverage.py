"""Missing is not lagging: which trouble of feeds freezes whose level, on made-up cities."""

from datetime import date, timedelta

import numpy as np
import pytest

from tests.unit.evaluation.test_judge import YEAR, city, goals, row
from yumai.evaluation import judge
from yumai.evaluation.columns import Year
from yumai.evaluation.coverage import Doubt
from yumai.evaluation.judge import Moment
from yumai.methods.breaks import breaks
from yumai.methods.silence import outages

AT = date(YEAR, 6, 30)
DAY = 180
"""Number of `AT`."""


@pytest.fixture(scope="module")
def past() -> dict[int, Year]:
    return {year: city(year) for year in (2024, 2025)}


def judged(past, this, doubts=None, at=AT):
    return judge.judge({**past, YEAR: this}, YEAR, goals(past), Moment(at), doubts=doubts)


def thinned(this: Year, part: float, days: slice) -> Year:
    mine = this.platform == "p2"
    this.fen[mine, days] = (this.fen[mine, days] * part).astype(np.int64)
    this.counted[mine, days] = (this.counted[mine, days] * part).astype(np.int64)
    return this


def test_a_volume_that_breaks_freezes_the_level_until_it_is_usual_again(past):
    found = judged(past, thinned(city(YEAR, until=AT), 0.2, slice(170, 178)))
    number = found.frame.number("500101", None)
    first = found.days.index(date(YEAR, 1, 1) + timedelta(days=170))
    stale = found.stale[first - 3 : first + 11, number].tolist()
    # Two days tell nothing yet.
    assert stale == [False] * 5 + [True] * 6 + [False] * 3
    assert set(found.level[first - 3 : first + 11, number].tolist()) == {0}


def test_all_feeds_moving_alike_is_no_break():
    counted = np.full((3, 60), 100)
    counted[:, 50:] = 20
    assert not breaks(counted).any()
    counted[1:, 50:] = 100
    assert breaks(counted)[0, 52:].all()
    assert not breaks(counted)[1:].any()


def test_a_break_is_known_from_earlier_days_alone():
    rng = np.random.default_rng(1)
    counted = rng.poisson(100, (2, 90))
    counted[1, 70:] = 10
    whole = breaks(counted)
    assert whole[1].any()
    for day in (40, 71, 73, 80):
        assert np.array_equal(breaks(counted[:, :day]), whole[:, :day])


def test_a_late_feed_freezes_where_it_serves_from_the_first_day_in_doubt(past):
    since = AT - timedelta(days=4)
    doubts = {"p2": Doubt(since=since, districts=frozenset({"500102"}))}
    found = judged(past, city(YEAR, until=AT), doubts)
    assert row(found, "500102")["guards"] == ["stale"]
    assert row(found, "500102")["level"] == "green"
    assert row(found, "500102", since)["guards"] == ["stale"]
    assert row(found, "500102", since - timedelta(days=1))["guards"] == []
    assert row(found, "500101")["guards"] == []


def test_what_usually_comes_days_later_is_not_missing(past):
    this = city(YEAR, until=AT)
    late = this.platform == "p2"
    this.fen[late, DAY - 1 : DAY + 1] = 0
    this.counted[late, DAY - 1 : DAY + 1] = 0
    assert row(judged(past, this), "500101")["guards"] == ["stale"]
    found = judged(past, this, {"p2": Doubt(lag=2)})
    assert row(found, "500101")["guards"] == []
    whole = judged(past, city(YEAR, until=AT))
    number = found.frame.number("500101", None)
    assert found.nowcast[-1, number] == pytest.approx(whole.nowcast[-1, number], rel=0.003)


def test_history_that_is_still_being_poured_in_is_not_judged(past):
    """Of a year known up to May, at the end of June: frozen as it stood, whoever lags or not."""
    until = date(YEAR, 5, 10)
    found = judged(past, city(YEAR, until=until))
    for code in ("500101", "500157", "city"):
        assert row(found, code)["guards"] == ["stale"]
        assert row(found, code)["level"] == "green"
    assert row(found, "500101", until)["guards"] == []
    empty = {**past, YEAR: city(YEAR, until=date(YEAR, 1, 1))}
    assert row(judge.judge(empty, YEAR, goals(past), Moment(AT)), "500101")["level"] is None


def test_an_outage_is_two_days_of_nobody_against_the_citys_own_rhythm():
    counted = np.full((4, 100), 30)
    counted[:, 60] = 0
    assert not outages(counted).any()
    counted[:, 60:63] = 0
    assert outages(counted).tolist() == [False] * 61 + [True] * 2 + [False] * 37
    monthly = np.zeros((4, 200), dtype=int)
    monthly[:, ::30] = 30
    assert not outages(monthly)[40:].any()

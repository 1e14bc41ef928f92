"""What trouble of feeds does to figures, on arrays alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from yumai.methods import coverage
from yumai.methods.silence import silences

DAYS = 120
RATE = 30


def _feeds(pairs=4):
    counted = np.full((pairs, DAYS), RATE)
    return counted, counted * 1_000


def test_each_missing_day_is_told_once_and_on_the_day_that_proves_it_all_so_far():
    counted, fen = _feeds()
    counted[0] = 3  # so few that one day without any could be chance
    counted[0, 100:] = 0
    found = silences(counted, fen)
    proving = int(np.flatnonzero(found.silent[0])[0])
    assert proving > 100
    assert found.missed[0, proving] == proving - 99
    assert (found.missed[0, proving + 1 :] == 1).all()
    assert not found.missed[1:].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000), st.integers(60, DAYS - 1))
def test_a_days_silence_depends_on_no_later_day(seed, day):
    rng = np.random.default_rng(seed)
    counted = rng.poisson(rng.uniform(0.2, 20, (5, 1)), (5, DAYS)) * (rng.random((5, 1)) < 0.9)
    counted[rng.integers(5), day - 10 : day + 5] = 0
    whole = silences(counted, counted * 1_000)
    part = silences(counted[:, :day], counted[:, :day] * 1_000)
    for name in ("silent", "gone", "rate", "missed"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, :day])


def test_what_is_due_later_is_as_the_last_day_that_is_due():
    counted, fen = _feeds(2)
    counted[0, -2:] = 0
    found = silences(counted, fen)
    assert found.silent[0, -1]
    due = coverage.by_due(found, counted > 0, np.array([2, 0]), DAYS)
    assert not due.silent.any()
    assert due.missed[0, -3:].tolist() == [0.0, 1.0, 1.0]


def test_today_is_as_yesterday_until_somebody_is_heard_of():
    counted, fen = _feeds(2)
    counted[:, -1] = 0
    found = silences(counted[:, :-1], fen[:, :-1])
    counted[0, -2] = 0
    mute = silences(counted[:, :-1], fen[:, :-1])
    heard = np.array([[False], [True]])
    assert not coverage.with_today(found, heard, 0.25).silent[:, -1].any()
    today = coverage.with_today(mute, heard, 0.25)
    assert today.silent[:, -1].tolist() == [True, False]
    assert today.missed[:, -1].tolist() == [0.25, 0.0]


def test_a_broken_feed_has_brought_too_little_since_the_break_began():
    counted, fen = _feeds(2)
    fen[0, 100:], counted[0, 100:] = fen[0, 100:] // 10, counted[0, 100:] // 10
    broken = coverage.broken_days(counted, np.zeros(2, int), DAYS)
    first = int(np.flatnonzero(broken[0])[0])
    assert 100 < first <= 102
    found = coverage.with_thin_days(silences(counted, fen), fen, broken)
    lost = (found.missed * found.rate)[0, : first + 1].sum()
    assert lost == (RATE * 1_000 - fen[0, 100]) * (first - 99)
    assert not found.missed[1].any()


def test_a_place_is_stale_from_five_percent_of_its_sales_on():
    rate = np.full((2, 2, 3), 1.0)
    rate[0, 0] = [0.0, 0.05, 1.0]
    doubted = np.zeros((2, 2, 3), bool)
    doubted[0, 0] = True
    # The last place is the whole: everybody's sales, so less of it is in doubt.
    assert coverage.is_stale(doubted, rate).tolist() == [[False, False, True], [False, False, True]]
    doubted[0, 1] = True
    assert coverage.is_stale(doubted, rate)[0].all()


def test_who_has_left_every_place_has_left_the_city():
    rate = np.ones((2, 2, 1))
    rate[1, 1] = 0
    gone = np.zeros((2, 2, 1), bool)
    gone[0] = True
    assert coverage.gone_everywhere(gone, rate)[:, 0].tolist() == [False, True]

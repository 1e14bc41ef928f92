"""A first year, and what comes by the month."""

import numpy as np
import pytest

from yumai.methods import monthly, no_history
from yumai.methods.aligned import month_starts


def test_a_first_year_is_carried_on_by_its_days_and_unsure():
    booked = np.array([[0, 100, 100]])
    target = np.array([1_000.0, np.nan, 100 * 365 / 60])
    found = no_history.flat(2026, booked, target, first_day=59)
    assert np.isnan(found.nowcast[0, 0])
    assert found.nowcast[0, 1] == pytest.approx(100 * 365 / 60)
    assert found.low[0, 1] < found.nowcast[0, 1] < found.high[0, 1]
    assert np.isnan(found.p_meet[0, :2]).all()
    assert found.p_meet[0, 2] == pytest.approx(0.5)
    half = no_history.flat(2026, booked, target, first_day=59, fraction=0.5)
    assert half.nowcast[0, 1] == pytest.approx(100 * 365 / 59.5)


def test_months_are_spread_over_their_days_and_what_comes_by_the_day_stays():
    days = np.ones((2, 365))
    days[1] = 0
    days[1, month_starts(2026)[1:] - 1] = 280.0
    even = monthly.evened(days, 2026)
    np.testing.assert_array_equal(even[0], days[0])
    np.testing.assert_allclose(monthly.by_month(even, 2026)[1], 280.0)
    assert even[1, 31:59].tolist() == [10.0] * 28
    assert even[1, 0] < even[1, 40]


def test_a_month_that_is_not_reported_yet_is_as_last_year_grown():
    last, this = np.zeros((1, 365)), np.zeros((1, 365))
    ends = month_starts(2026)[1:] - 1
    last[0, ends], this[0, ends[:4]] = 100.0, 110.0
    so_far = monthly.evened_so_far(this, last, 2026, last=134)
    assert so_far[0, 120:135] == pytest.approx(110.0 / 31)
    assert not so_far[0, 135:].any()
    assert monthly.by_month(so_far, 2026)[0, :4] == pytest.approx(110.0)

"""The seasonal profile and pace, by their properties."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.methods import pace, panel, profile
from yumai.methods.festival import (
    FESTIVE_DAYS,
    days_of,
    each_day,
    is_festive,
    is_fixed,
    spring_festival,
)

years = st.integers(2021, 2060)


def daily_sales(year: int):
    amounts = st.lists(
        st.integers(-1_000, 1_000_000), min_size=days_of(year), max_size=days_of(year)
    )
    return amounts.map(lambda v: np.array(v, dtype=float))


def lunar_year(year: int) -> np.ndarray:
    """Sales that follow the festival and nothing else."""
    festival = spring_festival(year)
    return np.array(
        [100 + (60 if abs((day - festival).days) <= 7 else 0) for day in each_day(year)],
        dtype=float,
    )


def test_spring_festival_is_where_the_reference_says():
    assert [spring_festival(y) for y in (2024, 2025, 2026, 2030)] == [
        date(2024, 2, 10),
        date(2025, 1, 29),
        date(2026, 2, 17),
        date(2030, 2, 3),
    ]


@given(years, st.integers(1, 3))
def test_festive_days_are_alike_by_distance_and_others_are_ordinary(year, back):
    past = year - back
    for day, source in zip(each_day(year), profile.aligned_days(year, past), strict=True):
        like = date(past, 1, 1) + timedelta(days=int(source))
        distance = (day - spring_festival(year)).days
        if abs(distance) <= FESTIVE_DAYS:
            assert (like - spring_festival(past)).days == distance or like == date(past, 1, 1)
        else:
            assert not is_festive(like)
            if not is_fixed(like):
                assert like.weekday() == day.weekday()


@given(st.data(), years)
def test_the_share_never_falls_and_ends_at_one(data, year):
    history = {year - 1: data.draw(daily_sales(year - 1)), year - 2: lunar_year(year - 2)}
    share = profile.cumulative_share(history, year)
    assert share is not None
    assert len(share) == days_of(year)
    assert np.all(np.diff(share) >= 0)
    assert share[-1] == 1.0
    assert np.all((share >= 0) & (share <= 1))


@given(years, st.floats(0.01, 1e9))
def test_the_share_does_not_depend_on_the_unit(year, factor):
    history = lunar_year(year - 1)
    one = profile.cumulative_share({year - 1: history}, year)
    other = profile.cumulative_share({year - 1: history * factor}, year)
    np.testing.assert_allclose(one, other, rtol=1e-9)


@given(years)
def test_a_festival_that_moves_does_not_count_twice_nor_get_lost(year):
    share = profile.cumulative_share({year - 1: lunar_year(year - 1)}, year)
    actual = lunar_year(year)
    np.testing.assert_allclose(share, np.cumsum(actual) / actual.sum(), atol=1e-9)


def test_a_year_without_sales_has_no_profile():
    assert profile.cumulative_share({2025: np.zeros(365)}, 2026) is None


def test_a_short_history_is_refused():
    with pytest.raises(ValueError, match="2025"):
        profile.cumulative_share({2025: np.ones(300)}, 2026)


@given(
    st.integers(1, 10**16),
    st.integers(0, 10**16),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31, 23, 59, 59)),
)
def test_expected_grows_to_the_target_and_pace_is_attained_over_it(target, attained, at):
    share = profile.cumulative_share({2025: lunar_year(2025)}, 2026)
    now = pace.progress(target, attained, share, at)
    later = pace.progress(
        target, attained, share, min(at + timedelta(days=9), datetime(2026, 12, 31))
    )
    assert 0 <= now.expected_fen <= target
    assert now.expected_fen <= later.expected_fen or at + timedelta(days=9) > datetime(2026, 12, 31)
    if now.expected_fen:
        assert now.pace == attained / now.expected_fen
    else:
        assert now.pace is None


def test_the_whole_target_is_expected_when_the_year_is_over():
    share = profile.cumulative_share({2025: lunar_year(2025)}, 2026)
    target = 9_007_199_254_740_993
    end = datetime(2026, 12, 31, 23, 59, 59, 999_999)
    assert abs(pace.progress(target, 0, share, end).expected_fen - target) < target * 1e-9


def test_levels_and_warming_up():
    assert [pace.level(p) for p in (None, 0.93, 0.94, 0.969, 0.97, 1.2)] == [
        None,
        "red",
        "yellow",
        "yellow",
        "green",
        "green",
    ]
    assert pace.is_warming_up(date(2026, 2, 28))
    assert not pace.is_warming_up(date(2026, 3, 1))


def test_a_new_district_inherits_its_predecessors_days():
    rows = [(500105, d, 10) for d in each_day(2025)] + [(500112, d, 5) for d in each_day(2025)]
    found = panel.of_district(panel.daily(rows), "500157", [2025])
    assert np.all(found[2025] == 15)


def test_days_still_missing_are_not_judged():
    city = np.ones(365)
    assert panel.is_covered(city, 200)
    city[199] = 0
    assert not panel.is_covered(city, 200)
    city[199] = 1
    city[20:30] = 0
    assert not panel.is_covered(city, 200)
    assert not panel.is_covered(np.zeros(365), 200)


def test_shares_lean_on_the_city_where_a_district_has_no_history():
    rows = [(500101, d, 100 + d.timetuple().tm_yday) for d in each_day(2025)]
    shares = panel.shares(panel.daily(rows), 2026)
    assert shares is not None
    assert set(shares) >= {"500101", "500157"}
    np.testing.assert_allclose(shares["500102"], shares["500101"])
    assert panel.shares(panel.daily([]), 2026) is None

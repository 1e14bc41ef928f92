"""Days of a year judged: alignment, expected share, no look-ahead, the whole course like its days."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yumai.methods import guards, like_for_like
from yumai.methods.aligned import align, expected_share, month_starts, share_within
from yumai.methods.city_share import share_path
from yumai.methods.festival import days_of, spring_festival
from yumai.methods.judged_year import course, lessons
from yumai.methods.levels import raw_levels
from yumai.methods.like_for_like import Gone
from yumai.methods.profile import aligned_days
from yumai.methods.silence import silences

YEARS = (2023, 2024, 2025)


def _day(year, number):
    return date.fromordinal(date(year, 1, 1).toordinal() + number)


def _history(seed=0, cells=6, festival=0.0, noise=0.1, years=YEARS, growth=0.05):
    rng = np.random.default_rng(seed)
    found = {}
    for year in (*years, 2026):
        days = [_day(year, d) for d in range(days_of(year))]
        near = np.array([abs((d - spring_festival(year)).days) <= 7 for d in days])
        week = np.array([1.2 if d.weekday() >= 5 else 0.9 for d in days])
        level = 1000 * (1 + growth) ** (year - 2023) * np.linspace(1, 1 + growth, len(days))
        found[year] = (
            level
            * week
            * np.where(near, 1 + festival, 1.0)
            * np.exp(rng.normal(0, noise, (cells, len(days))))
        )
    sales = found.pop(2026)
    return found, sales


def judged_levels(found, target):
    return raw_levels(
        found.p_meet, found.nowcast, target, found.least_shrinking, found.last_year_total
    )


def test_days_around_the_festival_are_laid_by_distance():
    assert spring_festival(2025) == date(2025, 1, 29)
    assert spring_festival(2026) == date(2026, 2, 17)
    laid = aligned_days(2026, 2025)
    for distance in (-21, -1, 0, 7, 21):
        there = (date(2026, 2, 17) - date(2026, 1, 1)).days + distance
        assert _day(2025, int(laid[there])) == date.fromordinal(
            date(2025, 1, 29).toordinal() + distance
        )
    # 29 January is an ordinary day of 2026: the festival must not count twice.
    ordinary = _day(2025, int(laid[(date(2026, 1, 25) - date(2026, 1, 1)).days]))
    assert abs((ordinary - date(2025, 1, 29)).days) > 21


def test_the_festival_moves_within_the_expected_share():
    history, _ = _history(festival=1.0, noise=0.0)
    laid = align(history, 2026, np.zeros(6, int))
    assert laid is not None
    learnt = lessons(history, 2026, np.zeros(6, int))
    assert learnt is not None
    found = course(
        learnt, np.zeros((6, 365)), np.full(6, np.nan), np.zeros(6, int), first_day=0, last_day=364
    )
    p = found.expected_share[:, 0]
    late = (date(2026, 2, 17) - date(2026, 1, 1)).days
    early = (date(2025, 1, 29) - date(2025, 1, 1)).days
    step = np.diff(p)
    assert step[late - 3 : late + 3].mean() > 1.6 * step[early - 6 : early + 1].mean()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(1, 3), st.booleans())
def test_the_expected_share_never_falls_and_ends_at_one(seed, past, lumpy):
    history, sales = _history(seed, noise=1.0 if lumpy else 0.1, years=YEARS[-past:])
    if lumpy:
        history[2025][:, 10:40] = -50.0
    sector = np.arange(6) % 2
    learnt = lessons(history, 2026, sector)
    assert learnt is not None
    found = course(learnt, sales, np.full(6, 4e5), sector, first_day=0, last_day=364)
    assert (np.diff(found.expected_share, axis=0) >= 0).all()
    assert (found.expected_share[-1] == 1.0).all()
    assert (found.expected_share >= 0).all()
    fine = ~np.isnan(found.nowcast)
    assert (found.low[fine] <= found.nowcast[fine]).all()
    assert (found.nowcast[fine] <= found.high[fine]).all()
    np.testing.assert_allclose(found.nowcast[-1], sales.sum(axis=1))


def test_within_a_day_it_runs_straight():
    p = np.array([[0.25, 0.5, 1.0]])
    assert share_within(p, 0, 0.5)[0] == pytest.approx(0.125)
    assert share_within(p, 2, 0.5)[0] == pytest.approx(0.75)
    assert share_within(p, 2, 1.0)[0] == 1.0


def test_expected_share_of_a_flat_year_is_its_days():
    starts = month_starts(2026)
    shape = np.concatenate([np.arange(1, n + 1) / n for n in np.diff(starts)])[None]
    p = expected_share(shape, np.diff(starts)[None] * 12 / 365, np.zeros(1), 2026)
    np.testing.assert_allclose(p[0], np.arange(1, 366) / 365)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.integers(60, 363))
def test_a_day_is_judged_the_same_alone_and_in_a_course_and_from_no_later_day(seed, day):
    history, sales = _history(seed)
    sector = np.arange(6) % 2
    target = history[2025].sum(axis=1) * 1.06
    learnt = lessons(history, 2026, sector)
    assert learnt is not None
    whole = course(learnt, sales, target, sector, first_day=59, last_day=364)
    later = sales.copy()
    later[:, day + 1 :] *= 100
    alone = course(learnt, later, target, sector, first_day=day, last_day=day)
    for name in (
        "booked",
        "expected_share",
        "nowcast",
        "low",
        "high",
        "p_meet",
        "yoy",
        "yoy_plain",
    ):
        np.testing.assert_allclose(
            getattr(alone, name)[0], getattr(whole, name)[day - 59], rtol=1e-9
        )


def test_today_runs_from_yesterdays_end_to_todays():
    history, sales = _history(noise=0.01)
    sector = np.zeros(6, int)
    learnt = lessons(history, 2026, sector)
    assert learnt is not None
    target = history[2025].sum(axis=1) * 1.05

    def at(fraction):
        seen = sales[:, :201].copy()
        seen[:, 200] *= fraction
        return course(learnt, seen, target, sector, first_day=200, last_day=200, fraction=fraction)

    yesterday = course(learnt, sales, target, sector, first_day=199, last_day=199)
    np.testing.assert_allclose(at(0.0).expected_share, yesterday.expected_share)
    np.testing.assert_allclose(at(0.0).booked, yesterday.booked)
    np.testing.assert_allclose(at(0.0).nowcast, yesterday.nowcast, rtol=1e-3)
    shares = [float(at(f).expected_share[0, 0]) for f in (0.0, 0.3, 0.7, 1.0)]
    assert shares == sorted(shares)


def test_one_past_year_is_enough_and_none_is_none():
    history, sales = _history(years=(2025,), noise=0.02)
    sector = np.zeros(6, int)
    learnt = lessons(history, 2026, sector)
    assert learnt is not None
    target = sales.sum(axis=1) / np.array([0.9, 0.9, 1.05, 1.05, 1.05, 1.05])
    found = course(learnt, sales, target, sector, first_day=59, last_day=300)
    raw = judged_levels(found, target)
    assert (raw[-1, :2] == 3).all()
    assert (raw[-1, 2:] == 0).all()
    assert np.abs(found.nowcast[120] / sales.sum(axis=1) - 1).max() < 0.03
    assert lessons({2024: history[2025]}, 2026, sector) is None


def test_a_cell_without_last_year_has_no_chance_but_a_share():
    history, sales = _history()
    history[2025][0] = np.nan
    sector = np.zeros(6, int)
    learnt = lessons(history, 2026, sector)
    assert learnt is not None
    found = course(learnt, sales, np.full(6, 4e5), sector, first_day=100, last_day=100)
    assert np.isnan(found.p_meet[0, 0])
    assert found.expected_share[0, 0] == pytest.approx(101 / 365)
    assert judged_levels(found, np.full(6, 4e5))[0, 0] == -1
    assert not np.isnan(found.p_meet[0, 1:]).any()


def test_guards():
    assert guards.guards("500103", date(2026, 2, 28), has_target=True) == ["warming_up"]
    assert guards.guards("500103", date(2026, 3, 1), has_target=True) == []
    assert guards.guards("500103", date(2026, 3, 1), has_target=False, coverage=0.9) == [
        "no_target",
        "stale",
    ]
    assert "rebased" in guards.guards("500157", date(2026, 1, 31), has_target=True)
    assert "rebased" not in guards.guards("500103", date(2026, 1, 31), has_target=True)


def test_a_platform_that_joins_or_left_is_not_compared():
    last, this = np.ones((1, 3, 10)), np.ones((1, 3, 10))
    last[0, 0], this[0, 2] = 0, 0
    before, now = _present(last), _present(this)
    panel = like_for_like.in_both(before, now)
    assert panel.pairs.tolist() == panel.city.tolist() == [False, True, False]


def test_a_panel_is_that_of_its_day():
    last, this = np.ones((2, 3, 10)), np.ones((2, 3, 10))
    this[0, 1, :4] = 0
    gone = Gone(np.zeros((6, 10), bool), np.zeros((3, 10), bool))
    gone.pairs[2, 7:] = True
    found = like_for_like.runs(_present(last), _present(this), gone, 2, 9)
    assert [(run.low, run.high) for run in found] == [(2, 3), (4, 6), (7, 9)]
    assert [run.panel.pairs[:3].tolist() for run in found] == [
        [True, False, True],
        [True, True, True],
        [True, True, False],
    ]
    assert all(run.panel.city.all() and run.panel.pairs[3:].all() for run in found)
    assert len({run.panel.key for run in found}) == 3


def _present(sales):
    """Of `[places, platforms, days]`."""
    pairs = like_for_like.first_days(sales.reshape(-1, sales.shape[-1]) > 0)
    city = like_for_like.first_days((sales > 0).any(axis=0))
    return like_for_like.Present(pairs, city, sales.shape[-1])


def test_required_growth_of_the_rest():
    assert like_for_like.required_growth(np.array([110.0]), np.array([50.0]), np.array([50.0]))[
        0
    ] == pytest.approx(0.2)
    assert np.isnan(
        like_for_like.required_growth(np.array([1.0]), np.array([0.0]), np.array([0.0]))
    )[0]


def test_silence_is_measured_against_a_platforms_own_rhythm():
    always, sundays_off = np.full(140, 30), np.where(np.arange(140) % 7 == 6, 0, 30)
    assert not _silent([always, sundays_off]).any()
    quiet = always.copy()
    quiet[-2] = 0
    assert _silent([quiet, sundays_off])[:, -3:].tolist() == [[False, True, False], [False] * 3]
    hole = sundays_off.copy()
    hole[-20:-17] = 0
    assert _silent([always, hole])[1, -20:-17].any()
    joined = np.where(np.arange(140) > 120, 30, 0)
    assert not _silent([always, joined]).any()


def _silent(pairs):
    counted = np.stack(pairs)
    return silences(counted, counted * 1_000).silent


def test_the_citys_path_goes_through_the_plans_targets():
    assert share_path(2024, 0.37, 2024) == 0.37
    assert share_path(2024, 0.37, 2027) == pytest.approx(0.40)
    assert share_path(2024, 0.37, 2035) == pytest.approx(0.45)
    assert share_path(2024, 0.37, 2040) == pytest.approx(0.45)
    path = [share_path(2024, 0.37, y) for y in range(2024, 2036)]
    assert path == sorted(path)

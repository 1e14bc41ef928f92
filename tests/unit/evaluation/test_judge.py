"""A year judged day by day, on made-up cities whose truth is known."""

from dataclasses import asdict
from datetime import date

import numpy as np
import pytest

from yumai.evaluation import cells, judge
from yumai.evaluation.columns import Year, replaced
from yumai.evaluation.judge import Moment
from yumai.evaluation.rows import progress_rows
from yumai.evaluation.segment import Memory
from yumai.methods.aligned import month_starts
from yumai.methods.festival import days_of

YEAR = 2026
CODES = ("500101", "500102", "500103", "500104", "500109")
OLD = (*CODES, "500105", "500112")
NEW = (*CODES, "500157")
SECTORS = (1, 5, 100)
PLATFORMS = ("p1", "p2")


def city(
    year: int,
    *,
    until: date | None = None,
    grown: dict[str, float] | None = None,
    platforms: tuple[str, ...] = PLATFORMS,
    noise: float = 0.01,
) -> Year:
    """Every line sells alike, grows 4 % a year, and more or less where `grown` says so."""
    codes = NEW if year >= 2026 else OLD
    lines = [(c, s, p) for c in codes for s in SECTORS for p in platforms]
    days = days_of(year)
    t = np.arange(days)
    season = 1 + 0.2 * np.sin(2 * np.pi * t / 365)
    rng = np.random.default_rng(year)
    level = np.array(
        [
            1_000_000
            * 1.04 ** (year - YEAR)
            * (2 if c == "500157" else 1)
            * (grown or {}).get(c, 1.0)
            for c, _, _ in lines
        ]
    )
    fen = level[:, None] * season * np.exp(noise * rng.standard_normal((len(lines), days)))
    counted = np.full((len(lines), days), 30, dtype=np.int64)
    fen = fen.astype(np.int64)
    if until is not None:
        fen[:, cells.day_number(until) + 1 :] = 0
        counted[:, cells.day_number(until) + 1 :] = 0
    return Year(
        year,
        np.array([int(c) for c, _, _ in lines]),
        np.array([s for _, s, _ in lines]),
        np.array([p for _, _, p in lines]),
        fen,
        counted,
    )


@pytest.fixture(scope="module")
def past() -> dict[int, Year]:
    return {year: city(year) for year in (2023, 2024, 2025)}


def goals(past: dict[int, Year], growth: float = 1.03) -> dict[tuple[str, str | None], int]:
    frame = cells.Frame.of(YEAR)
    sums = cells.everything(frame, cells.placed(frame, past)[0][2025]).sum(axis=1)
    return {
        key: int(sums[n] * growth)
        for n, key in enumerate(frame.keys())
        if key[1] is None and sums[n] > 0
    }


def row(found: judge.Judged, district: str, day: date | None = None) -> dict:
    at = -1 if day is None else found.days.index(day)
    (one,) = progress_rows(found, [district], [None], at="x", day=at)
    return asdict(one)


def test_who_is_on_target_is_green_and_who_is_short_is_red(past):
    at = date(YEAR, 6, 30)
    this = city(YEAR, until=at, grown={"500103": 0.93})
    found = judge.judge({**past, YEAR: this}, YEAR, goals(past), Moment(at))
    assert row(found, "500101")["level"] == "green"
    short = row(found, "500103")
    assert (short["level"], short["raw_level"]) == ("red", "red")
    assert short["p_meet"] < 0.1
    assert short["required_growth"] > 0.05
    assert short["nowcast_low_fen"] <= short["nowcast_fen"] <= short["nowcast_high_fen"]


def test_a_courses_beginning_does_not_depend_on_where_it_ends(past):
    at, later = date(YEAR, 5, 20), date(YEAR, 8, 31)
    this = city(YEAR, until=later, grown={"500103": 0.97})
    this.fen[0:2, 120:140] = 0
    this.counted[0:2, 120:140] = 0
    years = {**past, YEAR: this}
    short = judge.judge(years, YEAR, goals(past), Moment(at))
    long = judge.judge(years, YEAR, goals(past), Moment(later))
    n = len(short.days)
    for name in ("booked", "comparable", "raw", "level", "stale"):
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:n])
    for name in ("expected_share", "nowcast", "p_meet", "low", "high"):
        np.testing.assert_allclose(
            getattr(short, name), getattr(long, name)[:n], rtol=1e-9, equal_nan=True
        )
    assert short.shares == long.shares[:n]


def test_a_platform_that_joins_is_no_growth_and_one_that_leaves_no_decline(past):
    at = date(YEAR, 9, 30)
    joined = city(YEAR, until=at, grown={"500103": 0.95}, platforms=(*PLATFORMS, "p9"))
    found = judge.judge({**past, YEAR: joined}, YEAR, goals(past), Moment(at))
    one = row(found, "500103")
    assert one["attained_fen"] > one["comparable_fen"]
    assert one["level"] in ("yellow", "red")
    assert row(found, "500101")["level"] == "green"

    left = city(YEAR, until=at)
    gone = (left.platform == "p2") & (left.district == 500101)
    left.fen[gone, 60:] = 0
    left.counted[gone, 60:] = 0
    found = judge.judge({**past, YEAR: left}, YEAR, goals(past), Moment(at))
    assert row(found, "500101")["level"] == "green"


def test_a_feed_silent_for_a_week_freezes_the_level_and_raises_none(past):
    at = date(YEAR, 9, 30)
    silent = city(YEAR, until=at)
    mute = (silent.platform == "p2") & (silent.district == 500102)
    silent.fen[mute, 150:157] = 0
    silent.counted[mute, 150:157] = 0
    found = judge.judge({**past, YEAR: silent}, YEAR, goals(past), Moment(at))
    inside = row(found, "500102", date(YEAR, 6, 3))
    assert (inside["level"], inside["guards"]) == ("green", ["stale"])
    assert row(found, "500101", date(YEAR, 6, 3))["guards"] == []
    number = found.frame.number("500102", None)
    assert set(found.level[:, number].tolist()) == {0}


def test_a_restatement_moves_the_whole_course(past):
    at = date(YEAR, 9, 30)
    this = city(YEAR, until=at, grown={"500103": 0.93})
    better = city(YEAR, until=at)
    fresh = replaced(this, better, list(range(cells.day_number(at) + 1)))
    found = judge.judge({**past, YEAR: fresh}, YEAR, goals(past), Moment(at))
    number = found.frame.number("500103", None)
    assert set(found.level[:, number].tolist()) == {0}


def test_targets_are_expected_whole_on_the_last_day_and_never_fall(past):
    at = date(YEAR, 12, 31)
    found = judge.judge({**past, YEAR: city(YEAR)}, YEAR, goals(past), Moment(at))
    for district in ("500101", "city"):
        one = row(found, district)
        assert one["expected_fen"] == one["target_fen"]
        assert one["nowcast_fen"] == one["comparable_fen"] == one["attained_fen"]
    assert (np.diff(found.expected_share, axis=0) >= 0).all()


def test_the_new_districts_history_is_its_predecessors_and_marked(past):
    at = date(YEAR, 6, 30)
    found = judge.judge({**past, YEAR: city(YEAR, until=at)}, YEAR, goals(past), Moment(at))
    one = row(found, "500157")
    assert one["comparable_fen"] == one["attained_fen"] > 0
    assert one["level"] == "green"
    assert one["approximate"]
    assert not row(found, "500101")["approximate"]


def test_the_month_of_the_change_is_rebased_for_the_two(past):
    at = date(YEAR, 1, 20)
    found = judge.judge({**past, YEAR: city(YEAR, until=at)}, YEAR, goals(past), Moment(at))
    assert row(found, "500157")["guards"] == ["warming_up", "rebased"]
    assert row(found, "500109")["guards"] == ["warming_up", "rebased"]
    assert row(found, "500101")["guards"] == ["warming_up"]
    assert row(found, "500101")["level"] is None


def test_without_a_target_there_is_no_level(past):
    at = date(YEAR, 6, 30)
    found = judge.judge({**past, YEAR: city(YEAR, until=at)}, YEAR, {}, Moment(at))
    one = row(found, "500101")
    assert (one["level"], one["raw_level"], one["guards"]) == (None, None, ["no_target"])
    assert one["target_fen"] is one["expected_fen"] is one["pace"] is one["p_meet"] is None
    assert one["nowcast_fen"] > one["attained_fen"]


def test_a_year_of_2025_is_judged_on_its_own_districts(past):
    at = date(2025, 6, 30)
    frame = cells.Frame.of(2025)
    assert "500105" in frame.districts
    found = judge.judge(past, 2025, {("500105", None): 10**9}, Moment(at))
    assert row(found, "500105")["attained_fen"] > 0


@pytest.mark.parametrize("years", [0, 1])
def test_little_or_no_history_is_enough_for_a_figure(past, years):
    at = date(YEAR, 6, 30)
    known = {2025: past[2025]} if years else {}
    found = judge.judge({**known, YEAR: city(YEAR, until=at)}, YEAR, goals(past), Moment(at))
    one = row(found, "500101")
    assert one["nowcast_fen"] == pytest.approx(one["target_fen"] * 1.01, rel=0.14)
    assert one["level"] is not None


def test_half_a_day_is_expected_half_of_the_day(past):
    at = date(YEAR, 6, 30)
    years = {**past, YEAR: city(YEAR, until=at)}
    before = judge.judge(years, YEAR, goals(past), Moment(date(YEAR, 6, 29)))
    half = judge.judge(years, YEAR, goals(past), Moment(at, 0.5))
    after = judge.judge(years, YEAR, goals(past), Moment(at))
    expected = [row(found, "500101")["expected_fen"] for found in (before, half, after)]
    assert expected[1] == pytest.approx((expected[0] + expected[2]) / 2, abs=2)


def test_the_memory_of_past_years_changes_nothing(past):
    at = date(YEAR, 6, 30)
    years = {**past, YEAR: city(YEAR, until=at, grown={"500103": 0.96})}
    memory = Memory()
    first = judge.judge(years, YEAR, goals(past), Moment(at), memory=memory)
    again = judge.judge(years, YEAR, goals(past), Moment(at), memory=memory)
    np.testing.assert_array_equal(first.p_meet, again.p_meet)
    other = {**years, 2025: city(2025, grown={"500103": 1.3})}
    moved = judge.judge(other, YEAR, goals(past), Moment(at), memory=memory)
    assert not np.array_equal(first.p_meet, moved.p_meet, equal_nan=True)


def test_the_tianjin_rules_can_be_chosen(past):
    at = date(YEAR, 6, 30)
    this = city(YEAR, until=at, grown={"500103": 0.90})
    found = judge.judge({**past, YEAR: this}, YEAR, goals(past), Moment(at), rules="tianjin")
    assert row(found, "500103")["level"] == "red"


@pytest.mark.parametrize("day", [date(YEAR, 6, 3), date(YEAR, 6, 17), date(YEAR, 6, 30)])
def test_what_comes_by_the_month_is_judged_by_the_month(past, day):
    def lumps(year: Year) -> Year:
        starts = month_starts(year.year)[:12]
        fen, counted = np.zeros_like(year.fen), np.zeros_like(year.counted)
        for n, start in enumerate(starts):
            end = starts[n + 1] if n < 11 else year.days
            fen[:, start + 14] = year.fen[:, start:end].sum(axis=1)
            counted[:, start + 14] = 1
        return Year(year.year, year.district, year.sector, year.platform, fen, counted)

    then = {y: lumps(year) for y, year in past.items()}
    this = lumps(city(YEAR, grown={"500103": 0.93}))
    found = judge.judge({**then, YEAR: this}, YEAR, goals(past), Moment(day))
    assert row(found, "500101")["level"] == "green"
    assert row(found, "500101")["guards"] == []
    assert row(found, "500103")["level"] == "red"
    assert row(found, "500101")["nowcast_fen"] == pytest.approx(
        row(found, "500101")["target_fen"] * 1.04 / 1.03, rel=0.01
    )


def test_sums_beyond_int64_are_judged_and_shown_to_the_fen(past):
    years = {**past, YEAR: city(YEAR, until=date(YEAR, 6, 30))}
    huge = {
        y: Year(y, of.district, of.sector, of.platform, of.fen.astype(object) * 10**12, of.counted)
        for y, of in years.items()
    }
    small, large = (
        judge.judge(
            given,
            YEAR,
            {key: fen * by for key, fen in goals(past).items()},
            Moment(date(YEAR, 6, 30)),
        )
        for given, by in ((years, 1), (huge, 10**12))
    )
    assert row(large, "city")["attained_fen"] == row(small, "city")["attained_fen"] * 10**12 > 2**63
    assert [r["level"] for r in map(asdict, progress_rows(large, None, None, at=""))] == [
        r["level"] for r in map(asdict, progress_rows(small, None, None, at=""))
    ]

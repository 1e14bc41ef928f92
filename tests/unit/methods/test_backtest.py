"""Forecasts of past years: nothing of later, no NaN, right order, and better than simple rules."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.cli import Refusal, build_parser
from yumai.methods.backtest import MonthRecord, forecasts

FIELDS = ("nowcast", "low", "high", "p_meet")


def _rows(sales, sector, targets, last, **more):
    found = {}
    for f in forecasts(sales, sector, targets, last, first_year=2001, **more):
        for n in np.flatnonzero(f.judged):
            found[int(n), f.year, f.month] = tuple(float(getattr(f, name)[n]) for name in FIELDS)
    return found


def _panel(seed, cells=24, years=7, noise=0.05):
    rng = np.random.default_rng(seed)
    month = np.arange(12)
    wave = 1 + 0.3 * np.cos(
        2 * np.pi * (month + np.where(np.arange(cells) % 2, 0, 6)[:, None]) / 12
    )
    level = np.exp(rng.normal(5, 1, cells))[:, None, None]
    grown = 1.04 ** (np.arange(years)[None, :, None] + month / 12)
    return level * wave[:, None, :] * grown * np.exp(rng.normal(0, noise, (cells, years, 12)))


values = st.one_of(
    st.just(np.nan), st.just(0.0), st.floats(-1e6, 1e6), st.floats(0, 1e15), st.floats(50, 150)
)


@st.composite
def nasty(draw):
    cells, years = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    drawn = draw(st.lists(values, min_size=cells * years * 12, max_size=cells * years * 12))
    sales = np.array(drawn).reshape(cells, years, 12)
    if draw(st.booleans()):
        sales[:, :-1] = np.nan_to_num(sales[:, :-1])
    targets = np.array(
        draw(st.lists(values, min_size=cells * years, max_size=cells * years))
    ).reshape(cells, years)
    sector = np.array(draw(st.lists(st.integers(0, 2), min_size=cells, max_size=cells)))
    return sales, sector, targets, (years - 1, draw(st.integers(1, 12)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(nasty(), st.booleans())
def test_never_nan_and_never_the_wrong_way_round(drawn, moving):
    sales, sector, targets, last = drawn
    for (n, year, _), (nowcast, low, high, p) in _rows(
        sales, sector, targets, last, moving_festival=moving
    ).items():
        assert np.isfinite([nowcast, low, high]).all()
        assert low <= nowcast <= high
        assert np.isnan(p) == np.isnan(targets[n, year])
        assert np.isnan(p) or 0 <= p <= 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 12), st.booleans())
def test_nothing_later_is_looked_at(seed, year, month, moving):
    sales = _panel(seed, noise=0.3)
    rng = np.random.default_rng(seed + 1)
    sales[rng.random(sales.shape) < 0.01] = np.nan
    sales[3, :4] = np.nan  # begins later
    sector = np.arange(len(sales)) % 3
    targets = np.nan_to_num(sales.sum(axis=2), nan=100.0)
    known = _rows(sales, sector, targets, (6, 12), moving_festival=moving)

    cut = sales.copy()
    cut[:, year, month:] = np.nan
    cut[:, year + 1 :] = np.nan
    changed = np.where(np.isnan(cut), rng.lognormal(3, 3, cut.shape), cut)
    changed[:, year, :month] = sales[:, year, :month]
    changed[:, :year] = sales[:, :year]
    for other in (cut, changed):
        found = _rows(other, sector, targets, (year, month), moving_festival=moving)
        expected = {key: row for key, row in known.items() if key[1:] <= (year, month)}
        assert found.keys() == expected.keys()
        for key, row in found.items():
            np.testing.assert_allclose(row, expected[key], rtol=1e-9)


def test_a_year_that_is_over_is_what_it_was():
    sales = _panel(1)
    total = sales.sum(axis=2)
    for (n, year, month), (nowcast, low, high, p) in _rows(
        sales, np.zeros(24, int), total * 1.001, (6, 12)
    ).items():
        if month == 12:
            assert nowcast == low == high == pytest.approx(total[n, year])
            assert p == 0


def test_better_than_every_simple_rule():
    sales = _panel(2, cells=60, years=12, noise=0.08)
    records = {m: MonthRecord.empty() for m in (3, 6, 9)}
    none = np.full(sales.shape[:2], np.nan)
    for f in forecasts(sales, np.arange(60) % 2, none, (11, 12), first_year=2000):
        if f.month in records:
            records[f.month].add(f, sales, none, has_targets=False)
    for record in records.values():
        ours, *rules = record.median_errors()
        assert ours < min(rules)
        assert 0.72 <= record.coverage() <= 0.88
        assert record.miscalibration() < 0.06


def test_with_the_chinese_calendar_a_moving_festival_is_no_growth():
    rng = np.random.default_rng(3)
    sales = _panel(3, cells=30, years=10, noise=0.02)
    from yumai.methods.yearly import festival_in_january

    for year in range(10):
        moved = 0.25 * festival_in_january(2001 + year)
        both = sales[:, year, 0] + sales[:, year, 1]
        sales[:, year, 0] = both * (0.4 + moved + rng.normal(0, 0.005, 30))
        sales[:, year, 1] = both - sales[:, year, 0]
    none = np.full(sales.shape[:2], np.nan)
    total = sales.sum(axis=2)

    def error(month, moving):
        off = [
            abs(row[0] / total[n, year] - 1)
            for (n, year, m), row in _rows(
                sales, np.zeros(30, int), none, (9, 12), moving_festival=moving
            ).items()
            if m == month and year >= 4
        ]
        return np.median(off)

    assert error(1, True) < error(1, False)
    assert error(3, True) < 1.05 * error(3, False)  # no worse once both months are in


def _run(tmp_path: Path, rows, *more):
    series = tmp_path / "series.csv"
    with series.open("w", newline="") as file:
        csv.writer(file).writerows([("region", "sector", "month", "value"), *rows])
    out = tmp_path / "out.csv"
    args = build_parser(["console.commands.backtest"]).parse_args(
        ["backtest", str(series), "--out", str(out), *map(str, more)]
    )
    args.json = False
    assert args.run(args) == 0
    with out.open(newline="") as file:
        return list(csv.reader(file))


def _series(sales):
    return [
        (f"r{n}", "s", f"{2001 + y}-{m + 1:02d}", repr(float(sales[n, y, m])))
        for n, y, m in np.ndindex(sales.shape)
    ]


def test_the_command_writes_each_month_end_and_row_order_does_not_matter(tmp_path, capsys):
    sales = _panel(4, cells=3, years=3)
    rows = _series(sales)[:-5]  # the last region's last year ends in July, the others' in December
    targets = tmp_path / "targets.csv"
    targets.write_text("region,sector,year,value\nr1,s,2003,1000\n")
    first = _run(tmp_path, rows, "--targets", targets)
    again = _run(tmp_path, rows[::-1], "--targets", targets)
    assert first == again
    assert first[0] == ["region", "sector", "year", "at", "nowcast", "low", "high", "p_meet"]
    assert len(first) == 1 + 3 * 24
    assert ["r0", "s", "2002", "2002-02-28"] in [row[:4] for row in first]
    assert {tuple(row[:3]) for row in first[1:] if row[7]} == {("r1", "s", "2003")}
    assert "last year's share" in capsys.readouterr().out


@pytest.mark.parametrize(
    "row",
    [
        ("r", "s", "2001-13", "1"),
        ("r", "s", "2001/01", "1"),
        ("r", "s", "200²-01", "1"),
        ("r", "s", "2001-01", "x"),
        ("r", "s", "2001-01", "1", "234"),  # a thousands comma is no silent 1
        ("r", "s", "2001-01"),
    ],
)
def test_a_row_that_can_not_be_read_is_named(tmp_path, row):
    with pytest.raises(Refusal, match="line 2"):
        _run(tmp_path, [row])


def test_a_month_twice_is_refused(tmp_path):
    with pytest.raises(Refusal, match="twice"):
        _run(tmp_path, [("r", "s", "2001-01", "1"), ("r", "s", "2001-01", "2")])


def test_what_is_read_is_not_written_over(tmp_path):
    series = tmp_path / "out.csv"
    with pytest.raises(Refusal, match="overwrite"):
        _run(tmp_path, [], "--targets", series)


def test_bom_crlf_quoted_commas_and_chinese_names_are_read(tmp_path):
    sales = _panel(6, cells=2, years=2)
    rows = _series(sales)
    plain = _run(tmp_path, rows)
    lines = [",".join(row).replace("r0,", '"渝中, 一",').replace("r1,", "重庆,") for row in rows]
    (tmp_path / "other.csv").write_bytes(
        ("\ufeff" + "\r\n".join(["region,sector,month,value", *lines]) + "\r\n").encode()
    )
    out = tmp_path / "other_out.csv"
    args = build_parser(["console.commands.backtest"]).parse_args(
        ["backtest", str(tmp_path / "other.csv"), "--out", str(out)]
    )
    args.json = False
    assert args.run(args) == 0
    with out.open(newline="", encoding="utf-8") as file:
        other = list(csv.reader(file))
    assert {row[0] for row in other[1:]} == {"渝中, 一", "重庆"}
    assert sorted(row[3:] for row in plain) == sorted(row[3:] for row in other)


def test_one_noisy_past_year_does_not_lose_to_last_years_rest():
    """White noise of 40 % a month and no growth: C/p and a quick level err far more than last year's rest."""
    ours, rules, inside, number = [], [], 0.0, 0
    for seed in range(4):
        sales = _panel(seed, cells=60, years=2, noise=0.4)
        record = MonthRecord.empty()
        none = np.full(sales.shape[:2], np.nan)
        for f in forecasts(sales, np.arange(60) % 2, none, (1, 12), first_year=2000):
            if f.month == 3:
                record.add(f, sales, none, has_targets=False)
        errors = np.concatenate(record.errors, axis=1)
        ours.append(errors[0])
        rules.append(errors[1:])
        inside += float(np.concatenate(record.inside).sum())
        number += 60
    least = np.min(np.median(np.concatenate(rules, axis=1), axis=1))
    assert np.median(np.concatenate(ours)) < least
    assert inside / number >= 0.72


@pytest.mark.parametrize(
    "kind", ["alternating", "cancelling", "sinking", "turning", "rare refunds"]
)
def test_months_of_both_signs_give_numbers(kind, tmp_path, capsys):
    rng = np.random.default_rng(7)
    sales = np.abs(rng.normal(0, 1, (60, 6, 12))) * 10.0 ** rng.integers(-3, 8, (60, 1, 1))
    if kind == "alternating":
        sales[:, :, ::2] *= -1
    elif kind == "cancelling":
        sales = rng.normal(0, 1, sales.shape) * 1e6
    elif kind == "sinking":
        sales[:, -1] *= -1
    elif kind == "turning":
        sales[:, 2] *= -1e-9
    else:
        sales = np.where(rng.random(sales.shape) < 0.1, -10 * sales, sales)
    targets = np.full(sales.shape[:2], np.nan)
    found = _rows(sales, np.zeros(60, dtype=int), targets, (5, 12))
    assert len(found) == 60 * 5 * 12
    assert all(np.isfinite(row[:3]).all() for row in found.values())
    most = np.abs(sales).sum(axis=(1, 2)).max()
    assert max(max(map(abs, row[:3])) for row in found.values()) < 100 * most


def test_the_command_writes_numbers_and_says_which_are_plain(tmp_path, capsys):
    series, out = tmp_path / "series.csv", tmp_path / "out.csv"
    rows = [
        f"=r,S01,{year}-{month:02},{(-1) ** month * 50 + month}"
        for year in range(2015, 2020)
        for month in range(1, 13)
    ]
    series.write_text("region,sector,month,value\n" + "\n".join(rows) + "\n")
    parsed = build_parser(["console.commands.backtest"]).parse_args(
        ["backtest", str(series), "--out", str(out), "--json"]
    )
    assert parsed.run(parsed) == 0
    said = capsys.readouterr()
    assert "both signs" in said.err
    assert not {"inf", "Infinity", "NaN"} & set(said.out.replace(",", " ").split())
    with out.open() as file:
        written = list(csv.DictReader(file))
    assert written
    for row in written:
        assert row["region"] == "'=r"
        assert all(np.isfinite(float(row[name])) for name in ("nowcast", "low", "high"))

"""Columns are read again only where the store has changed."""

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from yumai.evaluation import columns, reads
from yumai.evaluation.books import Books, Steps

EPOCH = date(1970, 1, 1)


def table(*rows: tuple[date, int]) -> pa.Table:
    return pa.table(
        {
            "district": pa.array([500101] * len(rows), pa.uint32()),
            "number": pa.array([1] * len(rows), pa.int16()),
            "name": pa.array(["p"] * len(rows), pa.string()),
            "day": pa.array([(day - EPOCH).days for day, _ in rows], pa.uint16()),
            "net_fen": pa.array([fen for _, fen in rows], pa.int64()),
            "counted": pa.array([1] * len(rows), pa.uint32()),
        }
    )


def answered(steps: Steps, answers: list) -> tuple[list, dict]:
    """Runs a refresh on prepared answers; what it asked."""
    asked, answer = [], None
    try:
        while True:
            asked.append(steps.send(answer))
            answer = answers.pop(0)
    except StopIteration as done:
        assert not answers
        return asked, done.value


def test_the_first_refresh_reads_all_years_and_the_next_nothing():
    books = Books()
    asked, years = answered(books.refresh(2026), [[(1, 0, 5)], table((date(2026, 3, 1), 7))])
    assert [ask.arrow for ask in asked] == [False, True]
    assert sorted(years) == list(range(2021, 2027))
    assert years[2026].fen.sum() == 7
    asked, again = answered(books.refresh(2026), [[(1, 0, 5)]])
    assert asked[0].query is reads.STAND
    assert again[2026] is years[2026]


def test_a_commit_costs_the_days_that_it_touched():
    books = Books()
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    answered(books.refresh(2026), [[(1, 0, 5)], table((first, 7), (second, 9))])
    changes = books.changes
    asked, years = answered(books.refresh(2026), [[(1, 0, 6)], [(second,)], table((second, 10))])
    assert years[2026].fen.sum() == 17
    assert books.changes == changes + 1
    low, high = (asked[2].query.parameters[name] for name in ("low", "high"))
    assert high - low == 86_400


def test_a_restatement_of_last_year_leaves_this_years_columns_as_they_are():
    books = Books()
    old, now = date(2025, 3, 1), date(2026, 3, 1)
    _, before = answered(books.refresh(2026), [[(1, 0, 5)], table((old, 7), (now, 9))])
    _, after = answered(books.refresh(2026), [[(1, 0, 6)], [(old,)], table((old, 1))])
    assert after[2025].fen.sum() == 1
    assert after[2026] is before[2026]


def test_a_refresh_that_breaks_off_is_done_again():
    books = Books()
    answered(books.refresh(2026), [[(1, 0, 5)], table((date(2026, 3, 1), 7))])
    steps = books.refresh(2026)
    next(steps)
    steps.send([(1, 0, 6)])
    with pytest.raises(OSError, match="away"):
        steps.throw(OSError("away"))
    _, years = answered(
        books.refresh(2026),
        [[(1, 0, 6)], [(date(2026, 3, 1),)], table((date(2026, 3, 1), 8))],
    )
    assert years[2026].fen.sum() == 8


@pytest.mark.parametrize("each", [2**62, 10**19, -(10**19)])
def test_a_years_sums_never_wrap(each):
    day = date(2026, 3, 1)
    plain = table((day, 0), (date(2026, 3, 2), 0))
    fen = pa.array([Decimal(each)] * 2, pa.decimal128(38, 0))
    sent = plain.set_column(4, "net_fen", fen)
    year = columns.of_table(sent, [2026])[2026]
    assert int(year.fen.sum()) == 2 * each
    again = columns.replaced(columns.empty(2026), year, [59, 60])
    assert int(again.fen.sum()) == 2 * each


def test_an_ordinary_year_stays_in_int64():
    day = date(2026, 3, 1)
    sent = table((day, 0)).set_column(4, "net_fen", pa.array([Decimal(7)], pa.decimal128(38, 0)))
    assert columns.of_table(sent, [2026])[2026].fen.dtype == np.int64

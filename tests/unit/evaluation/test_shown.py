"""What a district's progress row tells: sums of three entries and more, and judgements no finer than that."""

import math

from hypothesis import given
from hypothesis import strategies as st

from yumai.evaluation.rows import FROM_ENTRIES, ProgressRow
from yumai.evaluation.shown import Sums, by_sector, digits_of, rounded, shown_row
from yumai.store.disclosure import LEAST

EXPECTED = 80_000_000_00


def row(sector: str | None = None, fen: int = 78_123_456_78) -> ProgressRow:
    pace = fen / EXPECTED
    return ProgressRow(
        *("500103", sector, 2026, "2026-06-30", 160_000_000_00, fen, fen, EXPECTED, pace),
        *(158_765_432_10, 150_123_456_78, 167_000_000_01, 0.43219, 0.07654, "yellow", "yellow"),
        *([], False),
    )


def test_attained_is_what_is_shown_and_the_judgement_is_rounded():
    found = shown_row(row(), {None: Sums(78_000_000_00, 20_000, 15)})
    assert (found.attained_fen, found.suppressed) == (78_000_000_00, True)
    assert (found.pace, found.p_meet, found.required_growth) == (0.977, 0.432, 0.077)
    assert found.comparable_fen == round(0.977 * EXPECTED)
    assert (found.nowcast_fen, found.nowcast_low_fen) == (159_000_000_00, 150_000_000_00)
    assert (found.expected_fen, found.level, found.guards) == (EXPECTED, "yellow", [])


def test_with_few_entries_the_judgement_is_coarse_and_in_the_end_not_told():
    assert shown_row(row(), {None: Sums(7, 500, 0)}).pace == 0.98
    few = shown_row(row(), {None: Sums(7, 20, 0)})
    assert (few.attained_fen, few.pace, few.comparable_fen, few.nowcast_fen) == (
        7,
        None,
        None,
        None,
    )
    hidden = shown_row(row("S01"), {"S01": Sums(0, 0, 2)})
    assert {getattr(hidden, name) for name in FROM_ENTRIES} == {None}
    assert (hidden.guards, hidden.suppressed) == (["suppressed"], True)
    nothing = shown_row(row("S02", 0), {})
    assert (nothing.attained_fen, nothing.suppressed) == (0, False)


def test_sectors_add_up_to_all_services_without_goods():
    sums = by_sector([("S01", 5, 3, 1), ("S01", 2, 3, 0), ("S12", 1, 4, 0), ("G00", 99, 9, 9)])
    assert sums == {"S01": Sums(7, 6, 1), "S12": Sums(1, 4, 0), None: Sums(8, 10, 1)}


@given(st.integers(1, 10**9))
def test_a_step_is_three_average_entries_at_least(entries):
    digits = digits_of(entries)
    assert 0 <= digits <= 3
    assert digits == 0 or 10**-digits >= LEAST / entries * (1 - 1e-12)


@given(st.integers(1, 10**15), st.sampled_from([1, 2, 3]))
def test_amounts_within_half_a_step_are_told_alike(fen, digits):
    told = rounded({"nowcast_fen": fen}, digits)["nowcast_fen"]
    step = 10 ** (math.floor(math.log10(fen)) - digits + 1)
    assert abs(told - fen) <= step / 2
    assert step <= 1 or told % step == 0

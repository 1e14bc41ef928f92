"""Raw levels, Benjamini–Hochberg, hysteresis, the 天津 rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.methods.levels import (
    BLUE,
    GREEN,
    NONE,
    RED,
    YELLOW,
    course,
    discoveries,
    name,
    raw_levels,
    tianjin_levels,
)


def _one(p, gap, yoy=0.05, growth=0.06):
    target = 100.0
    found = raw_levels(
        np.array([p]),
        np.array([target * (1 - gap)]),
        np.array([target]),
        np.array([yoy]),
        np.array([target / (1 + growth)]),
    )
    return int(found[0])


@pytest.mark.parametrize(
    ("p", "gap", "level"),
    [
        (0.50, 0.00, GREEN),
        (0.49, 0.00, BLUE),
        (0.20, 0.05, BLUE),
        (0.19, 0.01, YELLOW),
        (0.19, 0.009, BLUE),
        (0.09, 0.02, RED),
        (0.09, 0.019, YELLOW),
        (0.09, 0.01, YELLOW),
        (0.09, 0.009, BLUE),
    ],
)
def test_where_other_conditions_fail_the_next_lower_level_holds(p, gap, level):
    assert _one(p, gap) == level


def test_shrinking_with_a_target_of_growth_is_red():
    assert _one(0.3, 0.005, yoy=-0.01) == RED
    assert _one(0.3, 0.005, yoy=-0.01, growth=-0.02) == BLUE


def test_what_has_no_chance_has_no_level():
    nan = np.array([np.nan])
    one = np.array([1.0])
    assert raw_levels(nan, one, one, nan, one)[0] == NONE
    assert raw_levels(np.array([0.3]), one, nan, nan, one)[0] == NONE
    assert name(NONE) is None
    assert name(RED) == "red"


def test_benjamini_hochberg_as_computed_by_hand():
    # n = 5, q = 0.10: limits 0.02 0.04 0.06 0.08 0.10. The third is above its own limit, the fourth below:
    # so the four smallest pass.
    p = np.array([0.9, 0.079, 0.01, 0.065, 0.03])
    assert discoveries(p).tolist() == [False, True, True, True, True]
    assert discoveries(np.array([0.05, 0.5, 0.9])).tolist() == [False, False, False]
    assert discoveries(np.array([0.04, np.nan])).tolist() == [True, False]
    assert discoveries(np.array([])).tolist() == []


def test_one_red_among_many_must_be_surer():
    p = np.array([0.05] + [0.6] * 9)
    ones = np.ones(10)
    assert raw_levels(p, ones * 0.97, ones, ones * 0.1, ones)[0] == YELLOW
    p[0] = 0.009
    assert raw_levels(p, ones * 0.97, ones, ones * 0.1, ones)[0] == RED


def _course(raw, p, held=None):
    column = np.array(raw, dtype=np.int8)[:, None]
    frozen = None if held is None else np.array(held)[:, None]
    return course(column, np.array(p, dtype=float)[:, None], frozen)[:, 0].tolist()


def test_it_rises_after_two_evaluations_running():
    assert _course([RED, GREEN, RED, RED], [0.01, 0.9, 0.01, 0.01]) == [0, 0, 0, RED]
    assert _course([YELLOW, RED, RED], [0.15, 0.01, 0.01]) == [0, YELLOW, RED]


def test_it_falls_a_level_after_two_evaluations_above_the_limit_and_a_margin():
    start = [YELLOW, YELLOW]
    assert _course([*start, BLUE, BLUE], [0.15, 0.15, 0.26, 0.26]) == [0, 2, 2, 1]
    # above the limit of 0.20, but not by 0.05
    assert _course([*start, BLUE, BLUE], [0.15, 0.15, 0.24, 0.25]) == [0, 2, 2, 2]
    # not two running
    assert _course([*start, BLUE, YELLOW, BLUE], [0.15, 0.15, 0.3, 0.15, 0.3]) == [0, 2, 2, 2, 2]
    # a level each two evaluations
    assert _course([*start, *[GREEN] * 4], [0.15, 0.15, *[0.9] * 4]) == [0, 2, 2, 1, 1, 0]


def test_a_held_day_keeps_the_level_and_no_two_days_run_on_across_it():
    held = [False, True, False, False, True]
    raw, p = [RED, NONE, RED, RED, NONE], [0.01, np.nan, 0.01, 0.01, np.nan]
    assert _course(raw, p, held) == [0, 0, 0, RED, RED]
    assert _course([RED, RED, NONE, RED], [0.01, 0.01, np.nan, 0.01]) == [0, RED, NONE, RED]


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.floats(0, 1), st.booleans()), min_size=1, max_size=40)
)
def test_a_course_moves_at_most_where_its_rules_let_it(days):
    raw, p, held = (list(x) for x in zip(*days, strict=True))
    levels = course(np.array(raw, np.int8)[:, None], np.array(p)[:, None], np.array(held)[:, None])[
        :, 0
    ]
    before = 0
    for i, level in enumerate(levels):
        if level == NONE:
            assert raw[i] == NONE
            assert not held[i]
            continue
        if held[i]:
            assert level == before
        assert level >= before - 1
        if level > before:
            assert raw[i] >= level
        before = level
    # what came later changes nothing
    half = len(days) // 2 + 1
    again = course(
        np.array(raw[:half], np.int8)[:, None],
        np.array(p[:half])[:, None],
        np.array(held[:half])[:, None],
    )
    assert again[:, 0].tolist() == levels[:half].tolist()


def test_tianjin_compares_growth_with_the_plan_and_the_city():
    yoy = np.array([0.08, 0.05, 0.07, -0.01, np.nan])
    plan = np.array([0.06, 0.06, 0.06, 0.06, 0.06])
    assert tianjin_levels(yoy, plan, 0.06).tolist() == [GREEN, YELLOW, GREEN, RED, NONE]
    assert tianjin_levels(yoy, plan, 0.075).tolist() == [GREEN, YELLOW, YELLOW, RED, NONE]


@given(st.lists(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=4, max_size=4)))
def test_each_day_is_a_run_of_its_own(days):
    p = np.array(days).reshape(-1, 4)
    ones = np.ones(p.shape)
    together = raw_levels(p, ones * 0.97, ones, ones * 0.1, ones)
    for one, alone in zip(together, p, strict=True):
        assert one.tolist() == raw_levels(alone, *(ones[0] * [[0.97], [1], [0.1], [1]])).tolist()

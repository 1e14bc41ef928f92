"""The filter misses no id, and says yes to few that it does not hold."""

from __future__ import annotations

import numpy as np

from services.metrics.seen import Filter, Seen


def _ids(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64)


def test_no_id_is_ever_missing_across_levels_of_growth() -> None:
    filter_, ids = Filter(), _ids(1, 3_000_000)
    for begin in range(0, len(ids), 100_000):
        filter_.add(ids[begin : begin + 100_000, 1])
    assert len(filter_.levels) > 1
    assert filter_.mark(ids, np.zeros(len(ids), np.uint8)) == len(ids)


def test_false_positives_are_below_one_in_two_thousand_at_the_planned_load() -> None:
    filter_, others = Filter(expected=1_000_000), _ids(3, 400_000)
    filter_.add(_ids(2, 1_500_000)[:, 1])
    assert len(filter_.levels) == 1
    assert filter_.mark(others, np.zeros(len(others), np.uint8)) < len(others) / 2_000


def test_suspects_are_those_that_the_filter_holds_and_memory_does_not() -> None:
    filter_, old = Filter(), _ids(4, 1_000)
    filter_.add(old[:, 1])
    seen = Seen(filter_, generation_ids=2_048)
    zeros = np.zeros(10, dtype=np.uint64)
    whose = np.full(10, 3, np.int32)
    seen.remember(old[:10], whose, zeros, zeros, zeros.astype(np.uint32))
    asked = np.concatenate([old[:20], _ids(5, 20)])
    assert list(seen.suspects(asked, np.full(40, 3, np.int32))) == list(range(10, 20))


def test_an_id_that_another_platform_has_is_asked_for_too() -> None:
    filter_, ids = Filter(), _ids(6, 10)
    filter_.add(ids[:, 1])
    seen = Seen(filter_, generation_ids=2_048)
    zeros = np.zeros(10, dtype=np.uint64)
    seen.remember(ids, np.zeros(10, np.int32), zeros, zeros, zeros.astype(np.uint32))
    assert list(seen.suspects(ids, np.zeros(10, np.int32))) == []
    assert list(seen.suspects(ids, np.ones(10, np.int32))) == list(range(10))
    seen.remember(ids, np.ones(10, np.int32), zeros, zeros, zeros.astype(np.uint32))
    assert list(seen.suspects(ids, np.ones(10, np.int32))) == []
    assert seen.keeps == 20

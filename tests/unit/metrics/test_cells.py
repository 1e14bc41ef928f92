"""Cells of a block: sums by key, and what was touched since the last flush."""

from __future__ import annotations

from services.metrics.cells import DISTRICT_CODES, DISTRICT_NUMBERS


def test_every_district_has_a_number_of_its_own_and_unknown_is_000000() -> None:
    numbers = [int(DISTRICT_NUMBERS[int(code) % 10_000]) for code in DISTRICT_CODES]
    assert numbers == list(range(len(DISTRICT_CODES)))
    assert DISTRICT_CODES[0] == 0

"""Sums in answers."""

import json

import pytest

from yumai.answers import encoded


@pytest.mark.parametrize("fen", [0, 2**63, -(2**63) - 1, 2**64, 10**30])
def test_a_sum_is_a_whole_number_however_large(fen):
    assert encoded({"net_fen": fen, "pace": 1.5, "name": "渝"}) == (
        b'{"net_fen":%d,"pace":1.5,"name":"\xe6\xb8\x9d"}' % fen
    )
    assert json.loads(encoded([fen])) == [fen]

"""What a round sends, and how it knows its entry again."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.canary.entry import DOORS, MEDIA_TYPES, Cell, Sent, draw, judge
from services.ingest.formats import compression, read
from services.ingest.validate import validate
from yumai import canary

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
SENT = Sent("json", "x", NOW, 500)


@pytest.mark.parametrize("door", MEDIA_TYPES)
def test_a_body_is_what_its_door_reads(door: str) -> None:
    (sent,) = draw(NOW, (door,))
    form = "csv" if door == "file" else door
    body = compression.decompress("gzip" if door == "file" else "", sent.body())
    columns = read(form, body).columns
    assert columns is not None
    assert columns.rows == 1
    rows = np.zeros(1, dtype=np.int32)
    good, _ = validate(columns, rows, [canary.PLATFORM], int(NOW.timestamp() * 1000))
    assert good.all()


def test_a_round_has_a_cell_of_its_own_for_each_door() -> None:
    for _ in range(50):
        drawn = draw(NOW)
        assert [sent.door for sent in drawn] == list(DOORS)
        assert len({sent.hour for sent in drawn}) == len(DOORS)
        assert all(sent.hour < NOW and sent.amount_fen > 0 for sent in drawn)
        assert len({sent.entry_id for sent in drawn}) == len(DOORS)


@given(entries=st.integers(0, 9), fen=st.integers(0, 10**9))
def test_an_entry_is_known_again_by_what_its_cell_gained(entries: int, fen: int) -> None:
    before = Cell(entries, fen)
    assert judge(SENT, before, before) is None
    assert judge(SENT, before, Cell(entries + 1, fen + 500)) == ""
    assert "2 entries" in (judge(SENT, before, Cell(entries + 2, fen + 1_000)) or "")
    assert "499 fen" in (judge(SENT, before, Cell(entries + 1, fen + 499)) or "")

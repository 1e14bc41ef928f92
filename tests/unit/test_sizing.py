"""The sizing table: what the document says is what the model gives, and the model behaves."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.sizing import Size, report, simulate, table

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_document_holds_what_the_model_gives() -> None:
    text = OPERATIONS.read_text()
    for line in table([Size(n) for n in (1e6, 1e7, 1e8, 1e9)]) + report(Size(1e9)):
        assert line in text, "run `python -m bench.sizing` and put its output in"


@given(entries=st.floats(1e4, 1e10), years=st.sampled_from([0.1, 1.0, 3.0]))
def test_more_needs_no_less(entries: float, years: float) -> None:
    one, two = Size(entries, years=years), Size(2 * entries, years=years)
    for name in ("workers", "partitions", "shards", "seen_gb", "ledger_tb", "highest"):
        assert getattr(one, name) <= getattr(two, name)
    assert one.partitions % one.shards == 0
    assert one.lookup_seconds(one.shards) <= 1.0


def test_a_killed_worker_s_share_piles_up_and_is_caught_up() -> None:
    size = Size(1e8, years=0.1)
    day = simulate(size)
    stopped = 10 + size.load_seconds
    # At 19 h: the day's busiest hour, at the peak, of one worker of two.
    assert day.highest_lag <= size.highest / size.workers * (stopped + 10)
    assert day.highest_lag >= 0.3 * size.highest / size.workers * stopped
    assert stopped <= day.caught_up_seconds < 3_600

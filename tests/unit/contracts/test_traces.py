"""Traces in Kafka's headers: what was written is read, and nothing read ever does harm."""

from hypothesis import given
from hypothesis import strategies as st

from contracts import traces

PARENTS = st.builds(
    lambda trace, span, sampled: f"00-{trace:032x}-{span:016x}-0{sampled:d}",
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
)


@given(st.lists(PARENTS, max_size=traces.TRACES_MOST + 8))
def test_parents_come_back_in_order_up_to_the_bound(parents: list[str]) -> None:
    assert traces.of_kafka(traces.to_kafka(parents)) == tuple(parents[: traces.TRACES_MOST])


@given(st.dictionaries(st.sampled_from(["traceparent", "tracelinks", "v"]), st.binary()))
def test_headers_of_any_kind_are_read_without_an_error(headers: dict[str, bytes]) -> None:
    assert all(traces.parent(one) == one for one in traces.of_kafka(headers))


@given(st.lists(PARENTS, max_size=3 * traces.TRACES_MOST))
def test_what_is_kept_of_many_is_of_a_bounded_number_of_traces(parents: list[str]) -> None:
    kept = traces.bounded(parents)
    assert len({traces.trace_id(one) for one in kept}) <= traces.TRACES_MOST
    assert set(kept) <= set(parents)
    assert len(kept) == len(set(kept))


def test_a_traceparent_is_read_as_w3c_wants_it() -> None:
    trace, span = "a" * 32, "b" * 16
    assert traces.parent(f"00-{trace}-{span}-01") == f"00-{trace}-{span}-01"
    # A later version may say more; what version 00 knows of it is kept.
    assert traces.parent(f"01-{trace}-{span}-01-more") == f"01-{trace}-{span}-01"
    for wrong in (
        None,
        "",
        "x",
        f"ff-{trace}-{span}-01",
        f"00-{'0' * 32}-{span}-01",
        f"00-{trace}-{'0' * 16}-01",
        f"00-{trace.upper()}-{span}-01",
        f"00-{trace}-{span}-01-more",
        f"00-{trace}-{span}",
    ):
        assert traces.parent(wrong) is None

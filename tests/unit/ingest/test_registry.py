"""A new span cuts what it overlaps; nothing else changes."""

import tracemalloc
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.merchants import codec
from contracts.merchants.codec import Merchant, Span
from services.ingest import merchants
from services.ingest.merchants import Registry, TooManySpans, read_rows
from services.ingest.refused import BodyRefused
from yumai.registry import replace_overlap, span_on


def test_a_span_inside_an_older_one_cuts_it_in_two():
    old = Span("500103", date(2024, 1, 1), None, mcc="5812")
    new = Span("500106", date(2024, 6, 1), date(2024, 6, 30))
    assert replace_overlap([old], new) == (
        Span("500103", date(2024, 1, 1), date(2024, 5, 31), mcc="5812"),
        new,
        Span("500103", date(2024, 7, 1), None, mcc="5812"),
    )


def test_a_span_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="valid_to"):
        replace_overlap([], Span("500103", date(2024, 1, 2), date(2024, 1, 1)))


DAY = date(2024, 1, 1)
made = st.builds(
    lambda begin, length, code: Span(
        code,
        DAY + timedelta(days=begin),
        None if length is None else DAY + timedelta(days=begin + length),
    ),
    st.integers(0, 40),
    st.none() | st.integers(0, 20),
    st.sampled_from(["500103", "500104", "500106"]),
)


@given(st.lists(made, max_size=8))
def test_every_day_belongs_to_the_last_span_that_covers_it(spans):
    history: tuple[Span, ...] = ()
    for span in spans:
        history = replace_overlap(history, span)
    for offset in range(-1, 70):
        day = DAY + timedelta(days=offset)
        covering = [s for s in spans if s.valid_from <= day <= (s.valid_to or date.max)]
        found = span_on(history, day)
        assert (found.district_code if found else None) == (
            covering[-1].district_code if covering else None
        )
        assert sum(s.valid_from <= day <= (s.valid_to or date.max) for s in history) <= 1
    assert list(history) == sorted(history, key=lambda s: s.valid_from)


ROW = '{"platform_id":"p1","merchant_id":"m","district_code":"500103","valid_from":"2024-01-01"%s}'


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (',"phone":"1"', "phone"),
        (',"mcc":"581"', "mcc"),
        (',"mcc":5812', "mcc"),
        (',"industry":"62"', "industry"),
        (',"valid_to":"2023-12-31"', "valid_to"),
        (',"valid_to":"soon"', "valid_to"),
        (',"district_code":"500999"', "district_code"),
        (',"merchant_id":""', "merchant_id"),
        (',"platform_id":"-"', "platform_id"),
    ],
)
def test_a_wrong_row_is_named_by_index_and_field(more, field):
    rows, problems = read_rows(f"[{ROW % ''},{ROW % more},5,{{}}]".encode())
    assert len(rows) >= 1
    assert [(p.index, p.field) for p in problems] == [(1, field), (2, None), (3, "platform_id")]


def test_a_change_holds_whole_histories_and_leaves_out_what_stays_the_same():
    registry = Registry()
    short = ROW % ',"valid_to":"2024-02-01"'
    rows, _ = read_rows(f"[{ROW % ''},{short}]".encode())
    change = registry.change(rows)
    assert (change.merchants, change.spans, len(change.records)) == (1, 2, 1)
    key, value = change.records[0]
    assert key == b"p1\x1fm"
    assert len(codec.decode(value).spans) == 2
    registry.apply(key, value, 5)
    assert registry.index.map_version == 5
    assert registry.change(rows[:0]).records == []
    assert registry.change(rows).records == []


def test_a_record_replaces_and_a_tombstone_forgets():
    registry = Registry()
    key = codec.key("p1", "m")
    registry.apply(key, codec.encode(Merchant("p1", "m", (Span("500103", DAY),))), 1)
    assert len(registry.history("p1", "m")) == 1
    registry.apply(key, None, 2)
    assert registry.history("p1", "m") == ()


@pytest.mark.parametrize("element", [b"1", b"{}", b"[]", b'""', b"[[],[]]"])
def test_rows_are_counted_before_any_becomes_an_object(element):
    body = b"[" + b",".join([element] * 4_000_000) + b"]"
    read_rows(b"[1]")
    tracemalloc.start()
    with pytest.raises(BodyRefused, match="100,000 rows") as refused:
        read_rows(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.code == "too_large"
    assert peak < 2 * len(body)


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b"1", b"[1", b"[1]]", b"[" * 5_000])
def test_a_body_that_is_no_array_is_refused_as_a_whole(body):
    with pytest.raises(BodyRefused) as refused:
        read_rows(body)
    assert refused.value.code == "body_undecodable"


def test_what_is_said_of_refused_rows_is_bounded():
    name = "x" * 10_000
    wrong = ",".join([ROW % f',"{name}":1'] * merchants.PROBLEMS_SHOWN * 3)
    _, problems = read_rows(f"[{wrong}]".encode())
    assert len(problems) == merchants.PROBLEMS_SHOWN
    assert max(len(p.message) + len(p.field or "") for p in problems) < 400


def test_a_row_of_more_bytes_than_any_true_one_is_not_decoded():
    longest = ROW.replace('"m"', '"' + r"\u6c49" * 64 + '"') % ""
    huge = ROW.replace('"m"', f'"{"m" * merchants.ROW_MAX_BYTES}"') % ""
    rows, problems = read_rows(f"[{longest},{huge}]".encode())
    assert len(rows) == 1
    assert [(p.index, "more than 16,384 bytes" in p.message) for p in problems] == [(1, True)]


def test_a_lone_surrogate_is_its_own_rows_fault():
    _, problems = read_rows(("[" + ROW.replace('"m"', r'"\ud800"') % "" + "]").encode())
    assert [p.index for p in problems] == [0]


def day_rows(days: range) -> list[merchants.Row]:
    dates = [DAY + timedelta(days=n) for n in days]
    return [merchants.Row("p1", "m", "500103", day, day) for day in dates]


def test_a_merchant_has_no_more_spans_than_a_change_can_compare():
    registry = Registry()
    (record,) = registry.change(day_rows(range(merchants.SPANS_MAX))).records
    registry.apply(*record, 1)
    with pytest.raises(TooManySpans) as many:
        registry.change(day_rows(range(-2, 2)))
    assert many.value.index == 0
    with pytest.raises(TooManySpans) as many:
        registry.change([*day_rows(range(1))] * 500)
    assert many.value.index == merchants.SPANS_MAX
    assert registry.change(day_rows(range(3))).records == []

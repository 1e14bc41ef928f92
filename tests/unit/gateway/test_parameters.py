"""What `/v1/cells` makes of its parameters."""

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from services.gateway.errors import Refused
from services.gateway.health import services_of
from services.gateway.parameters import cells

TODAY = date(2026, 11, 24)


def asked(query: str):
    return cells(QueryParams(query), TODAY)


def test_the_default_is_this_year_by_day_grouped_by_nothing():
    got = asked("")
    assert (got.first, got.last) == (date(2026, 1, 1), date(2026, 12, 31))
    assert (got.grain, got.group_by, got.format) == ("day", (), "json")
    assert got.districts is got.sectors is got.platforms is got.as_of is None


def test_one_bound_alone_brings_a_sensible_other():
    assert asked("to=2024-05-01").first == date(2024, 1, 1)
    assert asked("from=2024-05-01").last == date(2026, 12, 31)
    assert asked("from=2027-05-01").last == date(2027, 12, 31)


def test_lists_come_with_commas_or_repeated():
    got = asked("district=500101,000000&district=500157&sector=G00,X00,S99,U00&group_by=")
    assert got.districts == ("500101", "000000", "500157")
    assert got.sectors == ("G00", "X00", "S99", "U00")
    assert got.group_by == ()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("grain=week", "grain"),
        ("from=2026-02-30", "from"),
        ("from=20260201", "from"),
        ("to=yesterday", "to"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("district=500199", "district"),
        ("district=50010", "district"),
        ("sector=S13", "sector"),
        ("group_by=merchant", "group_by"),
        ("platform=a b", "platform"),
        ("as_of=x", "as_of"),
        ("format=xlsx", "format"),
        ("distrct=500101", "distrct"),
    ],
)
def test_what_is_wrong_is_named(query, field):
    with pytest.raises(Refused) as caught:
        asked(query)
    assert caught.value.status == 422
    assert [error["field"] for error in caught.value.errors] == [field]


def test_every_problem_is_named_at_once():
    with pytest.raises(Refused) as caught:
        asked("grain=week&district=1&as_of=x")
    assert {e["field"] for e in caught.value.errors} == {"grain", "district", "as_of"}


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "grain", "group_by", "district", "sector"]), st.text()
    )
)
def test_any_text_is_an_answer_or_a_refusal(query):
    with contextlib.suppress(Refused):
        cells(QueryParams(query), TODAY)


def test_services_are_told_apart_from_their_processes():
    found = services_of(
        "ingest=http://a:1,metrics-1=http://b:2/,metrics-2=http://c:3,alerts-1=http://d:4"
    )
    assert found == {
        "ingest": {"ingest": "http://a:1"},
        "metrics": {"metrics-1": "http://b:2", "metrics-2": "http://c:3"},
        "alerts": {"alerts-1": "http://d:4"},
    }
    assert services_of("")["metrics"] == {}

"""What `/v1/cells` makes of its parameters."""

from datetime import date
from typing import Annotated

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from starlette.responses import Response

from services.gateway.health import services_of
from services.gateway.parameters import CellsAsked, CellsParameters, cells
from yumai.http import refusals
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.parameters import FROM_QUERY
from yumai.sharing.bodies import Brake

TODAY = date(2026, 11, 24)


DOOR = FastAPI()
DOOR.router.route_class = Direct
refusals.install(DOOR, Brake())


@DOOR.get("/cells", response_model=CellsAsked)
async def door(given: Annotated[CellsParameters, FROM_QUERY]) -> Response:
    return answer(cells(given, TODAY))


CLIENT = TestClient(DOOR)


def asked(query: str | dict[str, str]) -> CellsAsked:
    """As the door's handler has it."""
    said = CLIENT.get("/cells", params=query)
    assert said.status_code == 200, said.text
    return TypeAdapter(CellsAsked).validate_python(said.json())


def wrong(query: str) -> list[str]:
    said = CLIENT.get("/cells", params=query)
    assert said.status_code == 422
    assert {error["code"] for error in said.json()["errors"]} == {"invalid_parameter"}
    return [error["field"] for error in said.json()["errors"]]


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
    assert got.districts == ["500101", "000000", "500157"]
    assert got.sectors == ["G00", "X00", "S99", "U00"]
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
    assert wrong(query) == [field]


def test_every_problem_is_named_at_once():
    assert set(wrong("grain=week&district=1&as_of=x")) == {"grain", "district", "as_of"}


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "grain", "group_by", "district", "sector"]), st.text()
    )
)
def test_any_text_is_an_answer_or_a_refusal(query):
    assert CLIENT.get("/cells", params=query).status_code in (200, 422)


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

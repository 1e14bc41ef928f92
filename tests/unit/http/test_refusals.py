"""One family of refusals: whatever ends a request, at whichever service, is said the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from contracts.reasons import REASONS
from services.gateway import app as gateway
from services.ingest import app as ingest
from yumai.access import Identity
from yumai.http.refusals import Refused, Unavailable, response
from yumai.process.settings import Settings
from yumai.sharing.bodies import NeverCame, TooLarge, TooMuch

BUILD = {"gateway": gateway.build, "ingest": ingest.build}
ENDS: list[tuple[Exception, int, str]] = [
    (Refused("key_reused", "idempotency-key"), 422, "key_reused"),
    (Unavailable("the store is away"), 503, "unavailable"),
    (TooMuch("bytes", own=True), 429, "too_many"),
    (TooMuch("bytes", own=False), 503, "unavailable"),
    (TooLarge("more than 64 MiB"), 413, "too_large"),
    (NeverCame("it came too slowly"), 400, "body_undecodable"),
]
BUG = {"gateway": (500, "internal"), "ingest": (503, "unavailable")}
"""A sender sends again what was not acknowledged, whatever the fault."""


@pytest.fixture(params=BUILD)
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return BUILD[request.param](Settings(identity_dir=tmp_path))


def said(door: Any, error: Exception) -> Any:
    async def ends(_: Any) -> None:
        raise error

    door.add_route("/ends", ends)
    return TestClient(door, raise_server_exceptions=False).get("/ends")


@pytest.mark.parametrize(("error", "status", "code"), ENDS, ids=lambda value: str(value)[:30])
def test_both_services_say_the_same_fault_the_same_way(
    door: Any, error: Exception, status: int, code: str
) -> None:
    answer = said(door, error)
    assert answer.status_code == status
    (found,) = answer.json()["errors"]
    assert found.keys() == {"index", "field", "code", "message"}
    assert found["code"] == code
    assert found["message"].startswith(f"{REASONS[code].en} / {REASONS[code].zh}")
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert "secret detail" not in answer.text


@pytest.mark.parametrize("service", BUILD)
def test_a_bug_says_nothing_of_itself(service: str, tmp_path: Path) -> None:
    answer = said(BUILD[service](Settings(identity_dir=tmp_path)), RuntimeError("secret detail"))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == BUG[service]
    assert "secret detail" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/health/live", 405)]
)
def test_what_is_not_there_is_said_so(door: Any, method: str, path: str, status: int) -> None:
    answer = TestClient(door).request(method, path)
    assert answer.status_code == status
    assert [error["code"] for error in answer.json()["errors"]] == ["not_found"]


@pytest.mark.parametrize("code", REASONS)
def test_a_refusal_says_it_in_both_languages_and_once_what_was_met(code: str) -> None:
    (error,) = Refused(code, "field", "what was met").errors
    assert error.message == f"{REASONS[code].en} / {REASONS[code].zh} (what was met)"


def test_what_is_echoed_is_short_and_moves_no_cursor() -> None:
    (error,) = Refused("invalid_parameter", "\x1b[2J" * 99, "‮\x07" * 9_999).errors
    assert error.field is not None
    assert (error.field + error.message).isprintable()
    assert len(error.message) < 20_000


def test_several_in_one_answer_keep_their_rows() -> None:
    both = Refused.all(Refused("invalid_field", "a", index=n) for n in (3, 7))
    assert response(both).status_code == 422
    assert [error.index for error in both.errors] == [3, 7]


@pytest.mark.parametrize("path", ["/v1/receipts?limit=0", "/v1/receipts/x/rows?verdict=lost"])
def test_at_ingest_who_asks_is_known_before_what_is_asked(tmp_path: Path, path: str) -> None:
    client = TestClient(ingest.build(Settings(identity_dir=tmp_path)))
    unknown = client.get(path)
    assert unknown.status_code == 401
    assert unknown.headers["www-authenticate"] == "Bearer"
    key = Identity(tmp_path).issue_key("p1")
    known = client.get(path, headers={"Authorization": f"Bearer {key}"})
    assert (known.status_code, known.json()["errors"][0]["code"]) == (422, "invalid_parameter")


def test_a_parameter_that_nobody_knows_is_named_with_all_else_that_is_wrong(
    tmp_path: Path,
) -> None:
    client = TestClient(ingest.build(Settings(identity_dir=tmp_path)))
    headers = {"Authorization": f"Bearer {Identity(tmp_path).issue_key('p1')}"}
    answer = client.get("/v1/control-totals?date=x&platfrm=p1", headers=headers)
    assert {error["field"] for error in answer.json()["errors"]} == {"date", "platfrm"}

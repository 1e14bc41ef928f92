"""One shape of health, and whoever reads it."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from contracts.http.words import Health
from yumai.http import health

SHAPE = TypeAdapter(Health)


def test_every_state_has_the_one_shape() -> None:
    for told in (
        health.live("ingest"),
        health.ready("metrics", {"store": "away"}, {"worker": "metrics-1"}),
        health.ready("gateway", {"store": "away"}, in_spite=True),
    ):
        assert SHAPE.validate_python(told.body, strict=True) == told.body
        assert told.body.keys() == {"service", "status", "waiting_for", "about"}


def test_who_waits_is_not_ready_unless_it_serves_all_the_same() -> None:
    waiting = health.ready("metrics", {"store": "away", "group": "not joined"})
    assert (waiting.status, waiting.body["status"]) == (503, "not_ready")
    assert health.why_not(waiting.body) == "store: away; group: not joined"
    assert health.ready("gateway", {"store": "away"}, in_spite=True).status == 200
    assert health.ready("gateway", {}).body["status"] == "ready"


@pytest.mark.parametrize("body", [None, [], {}, {"waiting_for": {}}, {"waiting_for": "x"}])
def test_an_answer_of_another_shape_gives_no_reason(body: object) -> None:
    assert health.why_not(body) is None

"""Readiness without other services' addresses: a gateway's own."""

import asyncio

import pytest

from services.gateway import health
from services.gateway.store import Store
from yumai.store.asked import Queries


class Reachable(Store):
    """A store that answers: only its answer to a ping is asked for here."""

    async def ping(self) -> None:
        return None


@pytest.fixture(autouse=True)
def _ask_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "KEEP_SECONDS", 0.0)


def states(service_urls: str, broker: list[str]) -> list[dict]:
    """What it says while the broker's problem is each of these in turn."""
    left = iter(broker)
    made = health.Readiness(
        service_urls, Reachable("http://127.0.0.1:1/none", Queries(4)), lambda: next(left)
    )

    async def ask() -> list[dict]:
        found = [(await made.state()).body for _ in broker]
        await made.close()
        return found

    return asyncio.run(ask())


def test_alone_it_waits_for_the_broker_and_then_stays_ready():
    found = states("", ["away", "", "away"])
    assert [state["status"] for state in found] == ["not_ready", "ready", "ready"]
    assert [state["waiting_for"] for state in found] == [{"broker": "away"}, {}, {"broker": "away"}]


def test_with_addresses_it_is_ready_only_while_all_are():
    urls = "ingest=http://127.0.0.1:1,metrics=http://127.0.0.1:1,alerts=http://127.0.0.1:1"
    (state,) = states(urls, [""])
    assert state["status"] == "not_ready"
    assert set(state["waiting_for"]) == {"ingest", "metrics", "alerts"}

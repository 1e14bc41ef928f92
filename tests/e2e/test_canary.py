"""The canary goes through every door and into the books, and into no figure that anybody is shown."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition

from contracts.commits import codec as commits
from contracts.days import SHANGHAI
from services.canary.entry import DOORS
from simulation.formats import MEDIA_TYPES
from tests.e2e.harness import Yumai, until
from tests.e2e.senders import Client
from yumai import canary
from yumai.store.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

EVER = {"from": "2020-01-01", "to": "2030-12-31"}
MOVING = {"generated_at", "freshness", "as_of_closed", "through", "at", "today", "last_entry_at", "expected_fen", "pace", "settled_through"}  # fmt: skip
"""Words of an answer that follow the clock, not the books."""
READERS = ("bureau", "district:500103", "platform:unipay")
PAGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/v1/cells", EVER | {"grain": "year", "group_by": ""}),
    ("/v1/cells", EVER | {"grain": "hour", "group_by": "district,sector,platform"}),
    ("/v1/overview", {}),
    ("/v1/feeds", {}),
    ("/v1/alerts", {}),
    ("/v1/progress", {}),
)


def still(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: still(v) for k, v in value.items() if k not in MOVING}
    return [still(v) for v in value] if isinstance(value, list) else value


def published(yumai: Yumai) -> dict[str, Any]:
    """What everybody is shown."""
    shown: dict[str, Any] = {}
    for role in READERS:
        headers = {"Authorization": f"Bearer {yumai.token(role)}"}
        for path, query in PAGES:
            answer = yumai.http.get(f"{yumai.gateway}{path}", params=query, headers=headers)
            body = answer.json() if answer.status_code == 200 else {}
            shown[f"{role} {path} {query}"] = (answer.status_code, still(body))
    query = EVER | {"group_by": "district,sector,platform", "format": "csv"}
    answer = yumai.http.get(
        f"{yumai.gateway}/v1/cells",
        params=query,
        headers={"Authorization": f"Bearer {yumai.token()}"},
    )
    shown["export"] = answer.text
    # On a busy machine `status` may have no time to know.
    shown["counts"] = until(lambda: known(yumai.status()["counts"]), 60, "counts")
    shown["receipts"] = yumai.json("receipts")
    shown["dead letters"] = yumai.json("dead-letters", "list")
    audit = yumai.json("audit")
    shown["audit"] = {name: audit[name] for name in ("ok", "entries", "net_fen", "difference_fen")}
    return shown


def known(counts: dict[str, int | None]) -> dict[str, int | None] | None:
    return None if None in counts.values() else counts


def booked(yumai: Yumai) -> int:
    """Rows of the canary that are in the ledger, whatever is shown."""
    client = connect(yumai.dsn, with_canary=True)
    try:
        sql = f"SELECT count() FROM entries FINAL WHERE platform = '{canary.PLATFORM}'"
        return int(client.query(sql).result_rows[0][0])
    finally:
        client.close()


def announced(yumai: Yumai) -> tuple[int, int, int]:
    """Sums over commits.v1: entries, and the entries and fen of its changes."""
    part = TopicPartition("commits.v1", 0)
    consumer = KafkaConsumer(**yumai.kafka(), auto_offset_reset="earliest")
    try:
        consumer.assign([part])
        end = consumer.end_offsets([part])[part]
        found = []
        while consumer.position(part) < end:
            for record in consumer.poll(1_000).get(part, []):
                found.append(commits.decode(record.value))
    finally:
        consumer.close()
    changes = [change for commit in found for change in commit.changes]
    return (
        sum(commit.entries for commit in found),
        sum(change.entries for change in changes),
        sum(change.net_fen for change in changes),
    )


class Listener(threading.Thread):
    """Reads the bureau's stream and keeps the names of its events."""

    def __init__(self, yumai: Yumai) -> None:
        super().__init__(daemon=True)
        self.events: list[str] = []
        self._url, self._token = f"{yumai.gateway}/v1/stream", yumai.token()
        self.listens = threading.Event()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            with httpx.stream("GET", self._url, headers=headers, timeout=60) as answer:
                for line in answer.iter_lines():
                    self.listens.set()
                    if line.startswith("event:"):
                        self.events.append(line)
        except httpx.HTTPError:
            pass


def test_the_canary_is_in_the_books_and_in_no_figure(yumai: Yumai) -> None:
    client = Client(yumai, None, yumai.token())
    now = datetime.now(SHANGHAI)
    rows = [
        {
            "entry_id": f"e{n}", "platform_id": "unipay", "merchant_id": "m",
            "occurred_at": (now - timedelta(hours=n % 300 + 1)).isoformat(), "kind": "sale",
            "amount_fen": n + 1, "district_code": "500103", "mcc": ("5812", "6011")[n % 2],
        }
        for n in range(400)
    ]  # fmt: skip
    client.send("json", json.dumps([*rows, {"entry_id": "bad"}]).encode())
    yumai.settle()
    before, told = published(yumai), announced(yumai)
    assert before["counts"]["booked"] == before["audit"]["entries"] == told[0] == 400

    listener = Listener(yumai)
    listener.start()
    assert listener.listens.wait(60)
    for _ in range(2):
        outcomes = yumai.json("canary", "--patience", "100")
        assert [(o["door"], o["ok"]) for o in outcomes] == [(door, True) for door in DOORS]
    assert booked(yumai) == 2 * len(DOORS)
    yumai.settle()
    assert published(yumai) == before
    assert announced(yumai) == told
    assert not listener.events

    # Its own platform sees it, and a bureau that names it does not.
    asked = EVER | {"grain": "year", "group_by": ""}
    own = yumai.get(
        f"{yumai.gateway}/v1/cells", yumai.token(f"platform:{canary.PLATFORM}"), **asked
    )
    assert sum(row["entries"] for row in own["data"]) == 2 * len(DOORS)
    named = yumai.get(f"{yumai.gateway}/v1/cells", platform=canary.PLATFORM, **asked)
    assert named["data"] == []


def test_a_crash_in_an_open_block_changes_nothing_of_it(yumai: Yumai) -> None:
    before, there = yumai.json("audit"), booked(yumai)
    yumai.kill("metrics-1")
    yumai.works(60)
    yumai.settle()
    after = yumai.json("audit")
    assert booked(yumai) == there
    # One more: what `works` has sent to know that it works.
    names = ("ok", "entries", "net_fen", "difference_fen")
    assert [after[n] for n in names] == [True, before["entries"] + 1, before["net_fen"] + 1, 0]


def test_a_door_that_fails_is_named(yumai: Yumai) -> None:
    yumai.scale("metrics", 0)
    (outcome,) = yumai.json("canary", "--door", "arrow", "--patience", "2", code=1)
    assert outcome["fault"] == "late"
    assert outcome["acknowledged_seconds"] is not None
    (outcome,) = yumai.json(
        "canary", "--door", "json", "--ingest", "http://127.0.0.1:1", "--patience", "2", code=1
    )
    assert outcome["fault"] == "unanswered"
    (outcome,) = yumai.json(
        "canary", "--door", "csv", "--key", yumai.token("platform:unipay"), "--patience", "2", code=1
    )  # fmt: skip
    assert outcome["fault"] == "refused"
    yumai.scale("metrics", 1)


def test_the_formats_of_the_door_are_all_tried() -> None:
    assert set(MEDIA_TYPES) <= set(DOORS)

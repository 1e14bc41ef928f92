"""The whole under `up --secure`: every service has its own Kafka user, and the table's ACLs are enough for its work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import httpx
import pytest

from contracts.days import SHANGHAI
from tests.e2e.conftest import port_base
from tests.e2e.harness import Yumai, running, until
from tests.e2e.senders import Feed
from tests.seams.alerts_place import Receiver
from yumai.broker.principals import SERVICES
from yumai.methods.guards import is_warming_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

TODAY = datetime.now(SHANGHAI).date()
DISTRICT, PLATFORM = "500103", "unipay"
DAILY_FEN = 1_000_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yumai]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8")
        with running(tmp_path_factory.mktemp("secure"), port_base(), secure=True) as made:
            yield made


def entry(name: str, day: date, fen: int = DAILY_FEN) -> bytes:
    """At midnight: no hour of the day at which the test runs is before it."""
    at = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    row = {
        "entry_id": name, "platform_id": PLATFORM, "merchant_id": "m", "kind": "sale",
        "occurred_at": int(at.timestamp() * 1000), "amount_fen": fen,
        "district_code": DISTRICT, "mcc": "5812",
    }  # fmt: skip
    return json.dumps(row).encode()


def send(system: Yumai, token: str, rows: list[bytes], **headers: str) -> dict:
    answer = system.http.post(
        f"{system.ingest}/v1/entries",
        content=b"\n".join(rows),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/x-ndjson",
            **headers,
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def booked(system: Yumai) -> int:
    return sum(cell.entries for cell in system.cells("year").values())


def test_entries_of_every_door_are_in_the_figures(system: Yumai) -> None:
    history = [
        entry(f"h-{day}", day)
        for day in (date(TODAY.year - 1, 1, 1) + timedelta(n) for n in range(800))
        if day < TODAY
    ]
    yesterday = (TODAY - timedelta(days=1)).isoformat()
    send(system, system.token(), history, **{"Recorded-On": yesterday})
    over_http = send(system, system.key(PLATFORM), [entry("http-1", TODAY), entry("http-1", TODAY)])
    assert over_http["accepted"] == 2
    refused = send(system, system.key(PLATFORM), [b'{"entry_id":"bad"}', entry("http-2", TODAY)])
    assert (refused["accepted"], refused["rejected"]) == (1, 1)
    feed = Feed(system, PLATFORM)
    feed.send([entry("kafka-1", TODAY), b"nothing", entry("http-2", TODAY, 7)])
    assert feed.acknowledged == 3
    system.settle()
    assert booked(system) == len(history) + 3  # http-1, http-2, kafka-1
    receipt = system.receipt(over_http["receipt_id"])
    assert (receipt["state"], receipt["booked"], receipt["duplicates"]) == ("booked", 1, 1)
    wanted = {"duplicate": 1, "conflicting": 1, "dead": 2}
    # A busy store answers later than `status` waits.
    until(lambda: wanted.items() <= system.status()["counts"].items(), 60, system.why, 1.0)


def test_targets_lead_to_progress_and_an_alert_that_is_told_and_acknowledged(
    system: Yumai,
) -> None:
    if is_warming_up(TODAY):
        pytest.skip("nobody is judged before March")
    headers = {"Authorization": f"Bearer {system.token()}"}

    def call(method: str, path: str, body: object = None, token: str = "") -> httpx.Response:
        who = {"Authorization": f"Bearer {token}"} if token else headers
        answer = system.http.request(method, f"{system.gateway}{path}", json=body, headers=who)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer

    target = {"year": TODAY.year, "district": DISTRICT, "form": "amount"}
    hook = Receiver()
    try:
        subscription = [{"id": "hook", "channel": "webhook", "address": f"{hook.url}/a"}]
        call("PUT", "/v1/subscriptions", subscription)
        call("PUT", "/v1/targets", [target | {"value": DAILY_FEN * 365 * 2}])
        progress = call("GET", f"/v1/progress?district={DISTRICT}").json()["data"]
        assert any(row["target_fen"] == DAILY_FEN * 365 * 2 for row in progress)
        alerts = until(
            lambda: call("GET", "/v1/alerts").json()["data"], 60, lambda: system.log("alerts-1")
        )
        assert [a["district"] for a in alerts] == [DISTRICT]
        until(lambda: hook.types(), 60, lambda: system.log("alerts-1"))
        assert hook.types()[0] == "alert.opened"
        district = system.token(f"district:{DISTRICT}")
        done = call("POST", f"/v1/alerts/{alerts[0]['id']}/acknowledge", {"note": "seen"}, district)
        assert done.json()["data"]["state"] == "acknowledged"
        explained = call(
            "POST",
            f"/v1/alerts/{alerts[0]['id']}/explain",
            {
                "text": "works",
                "measure": "a season",
                "due_date": (TODAY + timedelta(30)).isoformat(),
            },
            district,
        )
        item = explained.json()["data"]["work_item_id"]
        assert call("GET", f"/v1/work-items/{item}", token=district).json()["data"]
    finally:
        hook.close()


def test_the_operator_has_its_commands(system: Yumai) -> None:
    system.json("audit")  # exit code 0: not a fen of difference
    system.json("backup")
    system.json("housekeeping", "--keep-days", "0", "--delete")
    system.scale("metrics", 2)
    send(system, system.key(PLATFORM), [entry("two-workers", TODAY)])
    system.settle()
    system.scale("metrics", 1)
    assert system.json("dead-letters", "list")
    doors = system.json("canary", "--patience", "120", seconds=200)
    assert [door["ok"] for door in doors] == [True] * len(doors)
    # A busy store answers later than one `status` waits.
    until(lambda: system.status()["problems"] == [], 90, system.why, 1.0)


def test_nobody_was_refused_and_everybody_was_himself(system: Yumai) -> None:
    """A service that lacks a right would go on, and say so in its log."""
    for name in ("ingest", "metrics-1", "alerts-1", "gateway", "prepare", "broker"):
        text = (system.state.directory / "logs" / f"{name}.log").read_text()
        assert "AuthorizationFailed" not in text, name
        assert "not authorized" not in text.lower(), name
    for name in ("metrics", "alerts"):
        user = SERVICES[name].name
        assert f"Authenticated as {user}" in system.log(f"{name}-1", 1_000_000)


def test_it_stays_secured_when_started_again_without_being_told(system: Yumai) -> None:
    before = booked(system)
    system.stop()
    system.secure = False
    system.start()
    system.secure = True
    assert json.loads((system.state.directory / "run" / "up.json").read_text())["secure"]
    assert booked(system) == before
    # Its platform's user and password are still good: they live in Kafka's own log.
    feed = Feed(system, PLATFORM)
    feed.send([entry("after", TODAY)])
    began = time.monotonic()
    until(lambda: booked(system) == before + 1, 150, system.why)
    print(f"in the figures after {time.monotonic() - began:.1f} s")

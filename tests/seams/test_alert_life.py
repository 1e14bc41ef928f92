"""The life of an alert from outside: acts, deliveries, work items, and that nothing is lost or doubled."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tests.seams.alerts_place import TODAY, YEAR_FEN, Place, Receiver, place
from yumai.methods.guards import is_warming_up

pytestmark = pytest.mark.skipif(
    is_warming_up(TODAY),
    reason="nobody is judged before March, and the workers read the real clock",
)

LAGS = int(YEAR_FEN * 1.015)
RED = int(YEAR_FEN * 1.1)
MET = int(YEAR_FEN * 0.98)
ID = f"{TODAY.year}-500101"
DISTRICT = "district:500101"
LATER = (TODAY + timedelta(days=30)).isoformat()


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def subscribe(at: Place, url: str, role: str = "bureau", **more: object) -> dict:
    answer = at.call(
        "PUT",
        "/v1/subscriptions",
        [{"id": "hook", "channel": "webhook", "address": url, **more}],
        role,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]


def explain(at: Place, text: str = "closed for works", role: str = DISTRICT) -> object:
    body = {"text": text, "measure": "a summer season", "due_date": LATER}
    return at.call("POST", f"/v1/alerts/{ID}/explain", body, role)


def test_a_life_with_people(kafka: str, store: str, tmp_path: Path) -> None:
    with receiver() as hook, place(kafka, store, tmp_path) as at, at.worker():
        secret = subscribe(at, f"{hook.url}/a")["secret"]
        assert subscribe(at, f"{hook.url}/a")["secret"] == secret
        begun = time.monotonic()
        at.set_target("500101", LAGS)
        at.until(lambda: at.kinds("500101") == ["opened"])
        at.until(lambda: len(hook.got) == 1)
        print("opened and delivered after", time.monotonic() - begun)
        alert = at.get("/v1/alerts")[0]
        assert (alert["id"], alert["state"], alert["level"]) == (ID, "open", "yellow")
        assert alert["silence"] is None
        assert alert["escalated_at"] is None
        headers, body, raw = hook.got[0]
        assert Webhook(secret).verify(raw.decode(), headers) == body
        assert body["type"] == "alert.opened"
        assert body["data"]["alert_id"] == ID
        assert body["data"]["url"].startswith(at.url)
        (delivery,) = at.get("/v1/deliveries")
        assert (delivery["id"], delivery["state"]) == (headers["webhook-id"], "delivered")

        # Who may act, and on what.
        other = at.call("POST", f"/v1/alerts/{ID}/acknowledge", {}, "district:500102")
        assert other.status_code == 404
        assert at.call("POST", "/v1/alerts/2026-1/acknowledge", {}).status_code == 404
        wrong = at.call(
            "POST", f"/v1/alerts/{ID}/explain", {"text": 5, "due_date": "soon"}, DISTRICT
        )
        assert wrong.status_code == 422
        assert {e["field"] for e in wrong.json()["errors"]} == {"text", "measure", "due_date"}

        begun = time.monotonic()
        done = at.call("POST", f"/v1/alerts/{ID}/acknowledge", {"note": "seen"}, DISTRICT, "Li")
        print("acknowledged after", time.monotonic() - begun)
        assert done.status_code == 200
        assert done.json()["data"]["state"] == "acknowledged"
        assert at.call("POST", f"/v1/alerts/{ID}/acknowledge", None, DISTRICT).status_code == 200
        first = explain(at)
        assert first.status_code == 200, first.text
        item = first.json()["data"]["work_item_id"]
        assert explain(at).json()["data"]["seq"] == 3
        assert explain(at, "another").json()["data"]["work_item_id"] == item
        steps = at.history("500101")
        assert [s["kind"] for s in steps] == ["opened", "acknowledged", "explained", "explained"]
        assert (steps[1]["by"], steps[1]["text"], steps[1]["figures"]["pace"]) == (
            "Li",
            "seen",
            pytest.approx(steps[0]["figures"]["pace"], abs=0.001),
        )
        found = at.get(f"/v1/work-items/{item}")
        assert (found["alert_id"], found["district"], found["due_date"]) == (ID, "500101", LATER)
        assert [h["kind"] for h in found["history"]] == ["created", "changed"]
        assert [i["id"] for i in at.get("/v1/work-items", alert=ID)] == [item]

        # A silence holds back what worsens; the end is told.
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        quiet = at.call(
            "POST", f"/v1/alerts/{ID}/silence", {"until": until, "reason": "works"}, DISTRICT
        )
        assert quiet.json()["data"]["silence"] == {
            "by": DISTRICT,
            "until": until,
            "reason": "works",
        }
        at.set_target("500101", RED)
        at.until(lambda: at.kinds("500101")[-1] == "worsened")
        at.set_target("500101", MET)
        at.until(lambda: at.kinds("500101")[-1] == "resolved")
        at.until(lambda: hook.types()[-1] == "alert.resolved")
        assert hook.types() == [
            "alert.opened",
            "alert.acknowledged",
            "alert.explained",
            "alert.explained",
            "alert.silenced",
            "alert.resolved",
        ]
        late = at.call("POST", f"/v1/alerts/{ID}/acknowledge", {}, DISTRICT)
        assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "ended")
        # A restatement of the day it opened takes the cause away.
        at.set_target("500102", LAGS)
        at.until(lambda: at.kinds("500102") == ["opened"])
        at.book(500102, 2 * (LAGS - YEAR_FEN), 7, TODAY - timedelta(days=40))
        at.until(lambda: at.kinds("500102")[-1] == "withdrawn")


def test_acts_while_alerts_is_away_are_done_once(kafka: str, store: str, tmp_path: Path) -> None:
    with place(kafka, store, tmp_path) as at:
        with at.worker():
            at.set_target("500101", LAGS)
            at.until(lambda: at.kinds("500101") == ["opened"])
            at.kill("alerts-1")
        begun = time.monotonic()
        answer = at.call("POST", f"/v1/alerts/{ID}/acknowledge", {"note": "n"}, DISTRICT)
        assert answer.status_code == 202, answer.text
        assert time.monotonic() - begun < 6
        assert explain(at).status_code == 202
        assert at.kinds("500101") == ["opened"]
        with at.worker():
            at.until(lambda: len(at.kinds("500101")) == 3)
            time.sleep(1)
            assert at.kinds("500101") == ["opened", "acknowledged", "explained"]
            item = at.get("/v1/alerts")[0]["work_item_id"]
            assert at.get(f"/v1/work-items/{item}")["title"] == "a summer season"
            at.kill("alerts-1")
        with at.worker("alerts-2"):
            time.sleep(2)
            assert at.kinds("500101") == ["opened", "acknowledged", "explained"]


def test_a_receiver_that_was_down_gets_everything_in_order(
    kafka: str, store: str, tmp_path: Path
) -> None:
    with receiver() as hook, place(kafka, store, tmp_path) as at, at.worker():
        hook.status = 500
        subscribe(at, f"{hook.url}/a")
        at.set_target("500101", LAGS)
        at.set_target("500102", RED)
        at.until(lambda: at.kinds("500101") and at.kinds("500102"))
        at.call("POST", f"/v1/alerts/{ID}/acknowledge", {}, DISTRICT)
        explain(at)
        at.until(lambda: len(at.get("/v1/deliveries", state="pending")) == 4)
        at.until(lambda: max(d["attempts"] for d in at.get("/v1/deliveries")) >= 3)
        waiting = at.get("/v1/deliveries", alert=ID)
        assert waiting[0]["last_error"] == "HTTP 500"
        assert [d["attempts"] for d in waiting[1:]] == [0, 0]
        at.kill("alerts-1")
        hook.status = 200
        with at.worker("alerts-2"):
            at.until(lambda: len(at.get("/v1/deliveries", state="delivered")) == 4)
        assert hook.types(ID) == ["alert.opened", "alert.acknowledged", "alert.explained"]


def test_redirects_and_private_addresses_are_refused_and_giving_up_is_seen(
    kafka: str, store: str, tmp_path: Path
) -> None:
    with (
        receiver() as hook,
        place(kafka, store, tmp_path, DELIVERY_GIVE_UP_AFTER="PT4S") as at,
        at.worker(),
    ):
        refused = at.call(
            "PUT",
            "/v1/subscriptions",
            [
                {"id": "a", "channel": "webhook", "address": "https://10.0.0.1/"},
                {"id": "b", "channel": "webhook", "address": "https://[fe80::1]/"},
                {"id": "b", "channel": "fax", "address": "x", "quiet_hours": {"from": "25:00"}},
            ],
        )
        assert refused.status_code == 422
        assert {(e["index"], e["field"]) for e in refused.json()["errors"]} >= {
            (0, "address"),
            (1, "address"),
            (2, "channel"),
        }
        assert at.get("/v1/subscriptions") == []
        hook.status = 302
        subscribe(at, f"{hook.url}/a")
        assert at.call("POST", "/v1/subscriptions/none/test").status_code == 404
        answer = at.call("POST", "/v1/subscriptions/hook/test")
        assert answer.status_code == 202
        given_up = at.until(lambda: at.get("/v1/deliveries", state="given_up"), 20)
        assert [d["id"] for d in given_up] == [answer.json()["data"]["id"]]
        assert given_up[0]["last_error"] == "HTTP 302"
        assert given_up[0]["attempts"] >= 3
        hook.status = 200
        at.call("POST", "/v1/subscriptions/hook/test")
        at.until(lambda: hook.types() == ["test"])


def test_quiet_hours_hold_and_their_end_releases(kafka: str, store: str, tmp_path: Path) -> None:
    now = datetime.now(UTC) + timedelta(hours=8)
    hours = {
        "from": (now - timedelta(minutes=30)).strftime("%H:%M"),
        "to": (now + timedelta(minutes=30)).strftime("%H:%M"),
    }
    with receiver() as hook, place(kafka, store, tmp_path) as at, at.worker():
        subscribe(
            at, f"{hook.url}/a", DISTRICT, quiet_hours=hours, language="en", levels=["yellow"]
        )
        at.set_target("500101", LAGS)
        at.until(lambda: at.get("/v1/deliveries", state="held"))
        assert hook.got == []
        assert at.get("/v1/deliveries", role="district:500102") == []
        subscribe(at, f"{hook.url}/a", DISTRICT, language="en", levels=["yellow"])
        at.until(lambda: hook.types() == ["alert.opened"])
        assert "short" in hook.got[0][1]["data"]["text"]


def test_unanswered_alerts_escalate_are_told_again_and_items_get_overdue(
    kafka: str, store: str, tmp_path: Path
) -> None:
    settings = {"ALERTS_ESCALATE_AFTER": "PT2S", "ALERTS_REPEAT_AFTER": "PT4S"}
    with receiver() as hook, place(kafka, store, tmp_path, **settings) as at, at.worker():
        subscribe(at, f"{hook.url}/a")
        at.set_target("500101", LAGS)
        at.until(lambda: "reminded" in at.kinds("500101"))
        assert at.kinds("500101")[:3] == ["opened", "escalated", "reminded"]
        assert at.get("/v1/alerts")[0]["escalated_at"]
        assert at.get("/v1/alerts")[0]["state"] == "open"
        seeded = at.get("/v1/work-items")
        assert [i["task"] for i in seeded] == list(range(1, 21))
        assert seeded[0]["departments"] == ["SWW", "WLW", "SCJG"]
        made = at.call(
            "POST",
            "/v1/work-items",
            {"task": 3, "title": "t", "due_date": "2020-01-01", "district": "500101"},
        )
        assert made.status_code == 201, made.text
        item = made.json()["data"]
        assert (item["overdue"], item["departments"][0]) == (True, "SWW")
        assert [i["id"] for i in at.get("/v1/work-items", overdue="true")] == [item["id"]]
        found = at.until(
            lambda: (shown := at.get(f"/v1/work-items/{item['id']}"))["escalated_at"] and shown
        )
        assert found["history"][-1]["kind"] == "escalated"
        at.until(lambda: "work_item.overdue" in hook.types())
        told = next(b for _, b, _ in hook.got if b["type"] == "work_item.overdue")
        assert told["data"]["work_item"]["id"] == item["id"]
        changed = at.call("PATCH", f"/v1/work-items/{item['id']}", {"status": "done"}, DISTRICT)
        assert (changed.status_code, changed.json()["data"]["overdue"]) == (200, False)
        other = "district:500102"
        for id_ in (item["id"], "wi-none"):
            answer = at.call("PATCH", f"/v1/work-items/{id_}", {}, other)
            assert answer.status_code == 404
            assert answer.json()["errors"][0]["message"].endswith(f"(no work item {id_})")
        for named in (ID, f"{TODAY.year}-500199"):
            answer = at.call("POST", "/v1/work-items", {"title": "t", "alert_id": named}, other)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["message"].endswith(f"(no alert {named!r})")
            assert at.get("/v1/work-items", role=other, alert=named) == []
        path = f"/v1/work-items/{item['id']}"
        both = at.call("PATCH", path, {"district": "500102", "alert_id": ID})
        assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "alert_id")
        assert at.call("PATCH", path, {"district": "500102"}).status_code == 200
        (seen,) = at.get("/v1/work-items", role=other)
        assert [e["fields"].get("district") for e in seen["history"]] == ["500102"]
        assert at.get("/v1/work-items", role=DISTRICT) == []
        assert at.call("PATCH", "/v1/work-items/none", {}).status_code == 404
        wrong = at.call("POST", "/v1/work-items", {"task": 21, "milestones": [{"date": "x"}]})
        assert wrong.status_code == 422


def test_killed_at_each_step_of_a_life_it_is_the_same_life(
    kafka: str, store: str, tmp_path: Path
) -> None:
    with receiver() as hook, place(kafka, store, tmp_path) as at:
        subscribe(at, f"{hook.url}/a")
        acts = [
            lambda: at.set_target("500101", LAGS),
            lambda: at.call("POST", f"/v1/alerts/{ID}/acknowledge", {}, DISTRICT),
            lambda: explain(at),
            lambda: at.set_target("500101", RED),
            lambda: at.set_target("500101", MET),
            lambda: at.set_target("500101", LAGS),
        ]
        for number, done in enumerate(acts):
            # A directory of its own each time: nothing is remembered on disk.
            with at.worker():
                done()
                at.until(lambda number=number: len(at.kinds("500101")) == number + 1)
                at.kill("alerts-1")
        with at.worker():
            at.until(lambda: hook.types()[-1:] == ["alert.reopened"])
            at.until(lambda: not at.get("/v1/deliveries", state="pending"))
        kinds = ["opened", "acknowledged", "explained", "worsened", "resolved", "reopened"]
        assert at.kinds("500101") == kinds
        assert hook.types() == [f"alert.{kind}" for kind in kinds]
        assert [s.seq for s in at.steps("500101")] == list(range(1, 7))


def test_an_alert_that_goes_on_shows_how_it_is_now(kafka: str, store: str, tmp_path: Path) -> None:
    with place(kafka, store, tmp_path) as at, at.worker():
        at.set_target("500101", RED)
        at.until(lambda: at.kinds("500101") == ["opened"])
        (alert,) = at.get("/v1/alerts")
        assert alert["sectors"] == []
        # Nothing worsens, so no step says it; the alert does.
        row = {"year": TODAY.year, "district": "500101", "sector": "S01", "form": "amount"}
        assert at.call("PUT", "/v1/targets", [row | {"value": RED}]).status_code == 200
        at.book(500101, 7, 3)
        more = alert["figures"]["attained_fen"] + 7
        found = at.until(
            lambda: (
                (now := at.get(f"/v1/alerts/{ID}"))["figures"]["attained_fen"] == more
                and now["sectors"]
                and now
            )
        )
        assert [(s["sector"], s["level"]) for s in found["sectors"]] == [("S01", "red")]
        assert [s["figures"]["attained_fen"] for s in found["history"]] == [more - 7]

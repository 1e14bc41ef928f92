"""What a message says, and the body of a webhook."""

import re

import msgspec

from contracts.alerts.codec import Sector, StepRecord
from contracts.alerts.outbox import FeedStep
from contracts.work_items.codec import Event
from services.alerts import outbox, wording
from services.alerts.sending import body_of

STEP = StepRecord(
    "2026-500101",
    1,
    1_782_835_200_000,
    2026,
    "500101",
    "opened",
    "open",
    "red",
    {
        "target_fen": 365_000_000_00,
        "attained_fen": 100_000_000_00,
        "comparable_fen": 90_000_000_00,
        "expected_fen": 100_000_000_00,
        "pace": 0.9,
        "required_growth": 0.171,
    },
    sectors=[Sector("S01", "red", 0.8, 1), Sector("S02", "green", 1.1, 1)],
    opened_at=1_782_835_200_000,
)


def test_a_message_says_what_lags_by_how_much_since_when_and_what_would_still_do():
    url = wording.alert_url("https://y.example/", STEP.id)
    english = wording.text(STEP, "en", url)
    for said in ("Wanzhou", "red", "90.0%", "10.0 M CNY short", "+17.1%", "Catering", "80.0%"):
        assert said in english
    assert "Lagging since 2026-07-01" in english
    assert english.endswith("https://y.example/?alert=2026-500101")
    assert "tourism" not in english
    chinese = wording.text(STEP, "zh", url)
    for said in ("万州区", "进度滞后", "1,000.0 万元", "+17.1%", "餐饮住宿", "2026-07-01"):
        assert said in chinese


def test_the_body_of_a_webhook():
    delivery = outbox.made("bureau/a", outbox.alert_source(STEP.id, 1), STEP.at, 5, STEP.id, 1)
    body = body_of(delivery, STEP, "en", "u")
    assert body["type"] == "alert.opened"
    assert body["timestamp"] == "2026-06-30T16:00:00.000+00:00"
    assert set(body["data"]) == {
        "alert_id",
        "seq",
        "district",
        "year",
        "state",
        "level",
        "text",
        "url",
        "figures",
    }
    feed = FeedStep("p1", 2, 5, "silent", None, ["500101"], [])
    told = body_of(outbox.made("bureau/a", "feed/p1/2", 5, 5), feed, "en", "u")
    assert (told["type"], told["data"]["platform_id"]) == ("feed.silent", "p1")
    assert "p1 is silent" in told["data"]["text"]
    assert body_of(outbox.made("bureau/a", "test/x", 5, 5), None, "zh", "u")["type"] == "test"


def test_every_kind_and_level_has_words():
    from typing import get_args

    from contracts.alerts.codec import Kind, Level
    from contracts.alerts.outbox import FeedState

    assert set(wording.KINDS) == set(get_args(Kind))
    assert set(wording.LEVELS) == set(get_args(Level))
    assert set(wording.FEEDS) == set(get_args(FeedState))


def test_an_overdue_item_says_what_whose_and_since_when():
    said = {"missed": "2026-11-01", "title": "自查", "district": "500101", "task": 3}
    said |= {"departments": ["SWW"], "due_date": None, "alert_id": None}
    event = Event("wi-1", "wi-1/overdue/2026-11-01", 5, "system", "escalated", said)
    english = wording.item_text(event, "en", "u")
    for part in ("自查", "2026-11-01", "Wanzhou", "Commission of Commerce", "Task 3"):
        assert part in english
    chinese = wording.item_text(event, "zh", "u")
    for part in ("逾期", "2026-11-01", "万州区", "市商务委"):
        assert part in chinese
    source = outbox.item_source(event.event)
    body = body_of(outbox.made("bureau/a", source, 5, 5), event, "zh", "u")
    assert (body["type"], body["data"]["work_item"]["id"]) == ("work_item.overdue", "wi-1")
    assert body["data"]["district"] == "500101"


def test_an_explanation_says_who_what_and_until_when():
    said = {"kind": "explained", "by": "district:500101", "text": "works", "measure": "a fair"}
    step = msgspec.structs.replace(STEP, **said, due_date="2026-12-15")
    english = wording.text(step, "en", "u")
    assert "Wanzhou District: works\nMeasure: a fair (until 2026-12-15)" in english
    chinese = wording.text(step, "zh", "u")
    assert "万州区\uff1aworks" in chinese
    assert "2026-12-15" in chinese
    seen = msgspec.structs.replace(STEP, kind="acknowledged", by="Li Min")
    assert "By Li Min" in wording.text(seen, "en", "u")


def test_chinese_has_chinese_punctuation():
    step = msgspec.structs.replace(STEP, level="red")
    said = re.sub(r"\d,\d", "", wording.text(step, "zh", ""))
    assert not set(":,()") & set(said)

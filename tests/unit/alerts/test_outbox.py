"""Who is told, and when a message is tried."""

from datetime import datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.alerts.codec import StepRecord
from contracts.alerts.outbox import FeedState, FeedStep, QuietHours, Subscription
from contracts.days import SHANGHAI
from contracts.work_items.codec import Event
from services.alerts import outbox
from services.alerts.sending import body_of
from yumai.districts import districts

OPENED = StepRecord(
    "2026-500101",
    1,
    5,
    2026,
    "500101",
    "opened",
    "open",
    "yellow",
    {},
    seen_levels=["yellow"],
    seen_sectors=["S01"],
)


def told(step: StepRecord, **sub: object) -> list[str]:
    mine = msgspec.convert({"id": "a", "channel": "inbox", **sub}, Subscription)
    return outbox.told(step, {"district:500101": [mine], "district:500102": [mine]})


def after(**fields: object) -> StepRecord:
    return msgspec.structs.replace(OPENED, **fields)


def test_a_district_hears_of_itself_and_the_bureau_of_all():
    mine = Subscription("a", "inbox")
    offices = {"bureau": [mine], "district:500101": [mine], "district:500102": [mine]}
    assert outbox.told(OPENED, offices) == ["bureau/a", "district:500101/a"]


def test_levels_and_sectors_choose_and_who_heard_of_it_hears_of_its_end():
    assert told(OPENED)
    assert not told(OPENED, levels=["red"])
    assert not told(OPENED, sectors=["S02"])
    assert told(OPENED, sectors=["S01", "S02"])
    ended = after(kind="resolved", state="resolved", level="green", seen_levels=["red", "yellow"])
    assert told(ended, levels=["red"])
    assert not told(ended, levels=["blue"])


@pytest.mark.parametrize("kind", ["watched", "eased"])
def test_watched_and_eased_are_told_to_nobody(kind):
    assert not told(after(kind=kind))


def test_an_id_is_the_same_at_every_making_and_another_for_each_message():
    ids = {outbox.made("bureau/a", f"alert/2026-500101/{n}", 0, n).id for n in (1, 2, 3)}
    assert len(ids) == 3
    assert outbox.made("bureau/a", "alert/2026-500101/1", 0, 99).id in ids


def test_waits_double_from_a_second_to_five_minutes_and_the_last_try_is_at_the_end():
    limit = 3 * 86_400_000
    delivery = outbox.made("bureau/a", "alert/x/1", 0, 0)
    now, waits = 0, []
    while delivery.state == "pending":
        delivery = outbox.failed(delivery, "no", now, limit)
        waits.append(delivery.next_at - now)
        now = delivery.next_at
    assert [w / 1000 for w in waits[:10]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert delivery.state == "given_up"
    assert delivery.at == limit


@given(st.integers(0, 2_000), st.integers(1_000, 600_000))
def test_nothing_is_given_up_before_its_time(late, limit):
    delivery = outbox.made("bureau/a", "alert/x/1", 0, late)
    while delivery.state == "pending":
        delivery = outbox.failed(delivery, "no", delivery.next_at, limit)
    assert delivery.at >= late + limit


def test_an_alerts_messages_wait_for_each_other_and_not_for_another_alert():
    made = [
        outbox.made(to, f"alert/{alert}/{seq}", seq, 10 - seq, alert, seq)
        for to in ("bureau/a", "bureau/b")
        for alert in ("x", "y")
        for seq in (2, 1, 3)
    ]
    heads = outbox.heads(made)
    assert {(d.subscription, d.alert_id, d.seq) for d in heads} == {
        (s, a, 1) for s in "ab" for a in "xy"
    }


def test_quiet_hours_go_over_midnight():
    night, day = QuietHours("22:00", "07:00"), QuietHours("09:00", "17:30")

    def at(hour: int, minute: int = 0) -> int:
        return int(datetime(2026, 7, 1, hour, minute, tzinfo=SHANGHAI).timestamp() * 1000)

    assert [outbox.is_quiet(night, at(h)) for h in (21, 22, 23, 0, 6, 7, 12)] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert outbox.is_quiet(day, at(17, 29))
    assert not outbox.is_quiet(day, at(17, 30))
    assert outbox.is_quiet(QuietHours("23:00", "24:00"), at(23, 59))
    assert not outbox.is_quiet(None, at(3))


FEED = FeedStep("p1", 2, 5, "silent", None, ["500101", "500102"], ["bureau/a"])


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("state", get_args(FeedState))
def test_what_a_district_hears_of_a_feed_names_no_other(language, state):
    feed = msgspec.structs.replace(FEED, state=state)
    heard = outbox.feed_as_heard(feed, "district:500101")
    assert (heard.state, heard.districts) == (state, ["500101"])
    body = str(body_of(outbox.made("district:500101/a", "feed/p1/2", 5, 5), heard, language, "u"))
    other = districts()["500102"]
    assert not any(name in body for name in ("500102", other.zh, other.short_zh, other.en))
    assert outbox.feed_as_heard(feed, "bureau") == feed


def test_a_feed_in_trouble_elsewhere_is_well_here():
    heard = outbox.feed_as_heard(FEED, "district:500103")
    assert (heard.state, heard.districts) == ("ok", [])


def test_an_overdue_item_names_no_alert_of_another_district():
    fields = {"title": "t", "district": "500101", "alert_id": "2026-500102"}
    event = Event("wi-1", "wi-1/overdue/x", 5, "system", "escalated", fields)
    assert outbox.item_as_heard(event, "district:500101").fields["alert_id"] is None
    assert outbox.item_as_heard(event, "bureau") == event
    own = msgspec.structs.replace(event, fields=fields | {"alert_id": "2026-500101"})
    assert outbox.item_as_heard(own, "district:500101") == own

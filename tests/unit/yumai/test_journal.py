"""The one fold of targets, alerts and what follows from them."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.actions import codec as actions
from contracts.alerts import codec as alerts
from contracts.alerts import outbox
from contracts.work_items import codec as items
from yumai import topics
from yumai.journal.fold import Journal


def record(topic: topics.Topic, value: bytes | None, key: str = "") -> Any:
    return SimpleNamespace(topic=topic.name, key=key.encode(), value=value, offset=0, timestamp=1)


def step(seq: int, text: str = "", id_: str = "2026-500101") -> alerts.StepRecord:
    return alerts.StepRecord(id_, seq, seq, 2026, "500101", "opened", "open", "red", {}, text=text)


def take(journal: Journal, said: alerts.StepRecord) -> bool:
    return journal.take(record(topics.ALERTS, alerts.encode(said))) is not None


@given(st.lists(st.integers(1, 6), max_size=20))
def test_of_two_steps_with_one_name_the_first_holds_and_none_is_skipped(numbers: list[int]):
    journal = Journal()
    expected: list[int] = []
    for n, seq in enumerate(numbers):
        fits = seq == len(expected) + 1
        assert take(journal, step(seq, str(n))) == fits
        if fits:
            expected.append(n)
    texts = [s.text for s in journal.history.get("2026-500101", [])]
    assert texts == [str(n) for n in expected]
    if expected:
        assert journal.alerts["2026-500101"].seq == len(expected)


def test_an_action_waits_until_its_verdict_whichever_is_read_again():
    journal = Journal()
    asked = record(topics.ACTIONS, actions.encode(actions.Action("a", "acknowledge", 1, "b")))
    judged = record(topics.ACTIONS, actions.encode(actions.Verdict("a", 2, "applied")))
    later = record(topics.ACTIONS, actions.encode(actions.Verdict("a", 3, "refused")))
    journal.take(asked)
    assert list(journal.actions) == ["a"]
    journal.take(judged)
    journal.take(later)
    assert journal.take(asked) is None
    assert (journal.actions, journal.verdicts["a"].result) == ({}, "applied")


def delivery(state: outbox.DeliveryState, attempts: int, at: int) -> outbox.Delivery:
    return outbox.Delivery(
        "m", "bureau", "s", "alert/x/1", None, None, state, attempts, None, 1, at, 1, 1
    )


def test_a_delivery_that_is_over_stays_so_and_an_older_record_changes_nothing():
    journal = Journal()
    assert journal.note(delivery("pending", 1, 5))
    assert journal.note(delivery("pending", 0, 4)) is None
    assert list(journal.waiting) == ["m"]
    assert journal.note(delivery("delivered", 2, 6))
    assert journal.note(delivery("pending", 3, 7)) is None
    assert (journal.waiting, journal.deliveries["m"].state) == ({}, "delivered")
    # Told once is told for ever: an empty record must not have it told again.
    journal.take(record(topics.DELIVERIES, None, "m"))
    assert "m" in journal.deliveries


def test_the_plans_tasks_are_items_for_everybody_and_an_event_counts_once():
    journal = Journal()
    assert len(journal.items.items) == 20
    event = items.Event("plan-1", "e", 1, "b", "changed", {"due_date": "2026-01-01"})
    value = items.encode(event)
    assert journal.take(record(topics.WORK_ITEMS, value)) is not None
    assert journal.take(record(topics.WORK_ITEMS, value)) is None
    item = journal.items.items["plan-1"]
    assert (item["due_date"], bool(item["title"])) == ("2026-01-01", True)


def test_an_office_without_subscriptions_has_none_and_addresses_are_unsealed():
    journal = Journal(lambda s: outbox.Subscription(s.id, s.channel, s.address[::-1]))
    said = outbox.Subscriptions("bureau", [outbox.Subscription("a", "email", "cba")], "x", 1)
    journal.take(record(topics.SUBSCRIPTIONS, outbox.encode(said), "bureau"))
    assert journal.offices["bureau"][0].address == "abc"
    journal.take(record(topics.SUBSCRIPTIONS, None, "bureau"))
    assert journal.offices == {}


def test_a_feeds_steps_have_no_holes():
    journal = Journal()
    for seq, fits in ((1, True), (1, False), (3, False), (2, True)):
        feed = outbox.FeedStep("p", seq, 1, "silent")
        taken = journal.take(record(topics.FEEDS, outbox.encode(feed)))
        assert (taken is not None) == fits
    assert journal.feeds["p"].seq == 2

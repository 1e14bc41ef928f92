"""An alert's life as a state machine."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.actions.codec import Action
from contracts.alerts import codec
from contracts.alerts.codec import Sector, StepRecord
from services.alerts.lifecycle import (
    Ended,
    Event,
    Judged,
    Overdue,
    Tick,
    advance,
    is_told,
    next_step,
    worst,
)
from tests.unit.alerts.rows import row

DAY = 86_400_000
LEVELS = ("green", "blue", "yellow", "red")


def judged(level: str | None, at: int = 0, raw: str | None = None, **more: Any) -> Judged:
    figures = {"sector": None, "level": level, "pace": 0.9}
    return Judged(2026, "500101", at, "2026-07-01", level, raw or level, figures, **more)


def tick(at: int, over: frozenset[int] = frozenset()) -> Tick:
    return Tick(at, 7 * DAY, 14 * DAY, over)


def act(kind: str, at: int = 1, **more: Any) -> Action:
    return Action(f"{kind}{at}{more}", kind, at, "district:500101", "2026-500101", **more)  # type: ignore[arg-type]


def explain(at: int = 1, text: str = "t") -> Action:
    return act("explain", at, text=text, measure="m", due_date="2026-08-01")


def live(events: list[Event]) -> tuple[StepRecord | None, list[StepRecord]]:
    """The state and the steps that a course of events brings; what comes too late is passed over."""
    alert: StepRecord | None = None
    steps: list[StepRecord] = []
    for event in events:
        try:
            alert, more = advance(alert, event)
        except Ended:
            continue
        steps += more
    return alert, steps


def kinds(events: list[Event]) -> list[str]:
    return [step.kind for step in live(events)[1]]


def test_a_whole_life():
    alert, steps = live(
        [
            judged("green", 0, "blue"),
            judged("yellow", 1),
            judged("red", 2),
            act("acknowledge", 3, note="seen"),
            explain(4),
            judged("yellow", 5),
            judged("green", 6),
            judged("yellow", 7),
        ]
    )
    assert [(s.kind, s.state, s.level) for s in steps] == [
        ("watched", "watch", "green"),
        ("opened", "open", "yellow"),
        ("worsened", "open", "red"),
        ("acknowledged", "acknowledged", "red"),
        ("explained", "explained", "red"),
        ("eased", "explained", "yellow"),
        ("resolved", "resolved", "green"),
        ("reopened", "open", "yellow"),
    ]
    assert [s.seq for s in steps] == list(range(1, 9))
    assert {s.id for s in steps} == {"2026-500101"}
    assert [s.by for s in steps[3:5]] == ["district:500101"] * 2
    assert steps[4].work_item_id == "wi-2026-500101"
    assert steps[2].opened_at == 1
    assert alert is not None
    assert alert.opened_at == 7


def test_a_watch_that_comes_to_nothing_is_told_to_nobody():
    _, steps = live([judged("green", 0, "blue"), judged("green", 1)])
    assert [(s.kind, s.state) for s in steps] == [("watched", "watch"), ("eased", "ok")]
    assert not any(is_told(step) for step in steps)


def test_a_restatement_withdraws_and_a_relapse_opens_again():
    assert kinds([judged("red"), judged("green", withdraw=True), judged("blue")]) == [
        "opened",
        "withdrawn",
        "reopened",
    ]


def test_a_guard_changes_nothing():
    assert kinds([judged(None), judged("red"), judged(None), judged("red")]) == ["opened"]


def test_what_lagged_and_may_not_be_judged_has_not_recovered():
    sectors = (Sector("S01", "red"),)
    opened = Judged(
        2026, "500101", 0, "d", "red", "red", {"sector": None, "level": "green"}, sectors
    )
    hidden = judged("green", unknown=frozenset({"S01"}))
    assert kinds([opened, hidden]) == ["opened"]
    assert kinds([opened, judged("green", unknown=frozenset({"S02"}))]) == ["opened", "resolved"]


def test_an_explanation_acknowledges_too_and_another_text_is_a_step():
    events = [
        judged("red"),
        explain(1, "a"),
        explain(2, "a"),
        act("acknowledge", 3),
        explain(4, "b"),
    ]
    alert, steps = live(events)
    assert [s.kind for s in steps] == ["opened", "acknowledged", "explained", "explained"]
    assert {s.work_item_id for s in steps[2:]} == {"wi-2026-500101"}
    assert alert is not None
    assert alert.explanation == "b"


def test_acting_twice_is_harmless_and_on_what_has_ended_too_late():
    assert kinds([judged("red"), act("acknowledge", 1), act("acknowledge", 2)]) == [
        "opened",
        "acknowledged",
    ]
    for events in ([], [judged("green", 0, "blue")], [judged("red"), judged("green")]):
        alert, _ = live(list(events))
        for action in (
            act("acknowledge"),
            explain(),
            act("silence", until="x", until_ms=9, reason="r"),
        ):
            with pytest.raises(Ended):
                next_step(alert, action)


def test_unanswered_it_goes_to_the_bureau_once_and_again_after_a_relapse():
    events = [judged("red"), tick(7 * DAY - 1), tick(7 * DAY), tick(8 * DAY)]
    alert, steps = live(events)
    assert [(s.kind, s.state) for s in steps] == [("opened", "open"), ("escalated", "open")]
    assert alert is not None
    assert alert.escalated_at == 7 * DAY
    again = [*events, judged("green", 9 * DAY), judged("red", 10 * DAY), tick(17 * DAY)]
    assert kinds(again)[-3:] == ["resolved", "reopened", "escalated"]
    assert "escalated" not in kinds([judged("red"), act("acknowledge", 1), tick(8 * DAY)])


def test_an_overdue_work_item_escalates_an_explained_alert_once():
    assert kinds([judged("red"), explain(), Overdue(5), Overdue(6)])[-1] == "escalated"
    assert kinds([judged("red"), explain(), Overdue(5), Overdue(6)]).count("escalated") == 1


def test_it_is_told_again_after_a_while_and_not_during_a_silence():
    events = [
        judged("red"),
        act("acknowledge", 1),
        tick(14 * DAY - 1),
        tick(14 * DAY),
        tick(28 * DAY),
    ]
    assert kinds(events) == ["opened", "acknowledged", "reminded", "reminded"]
    silence = act("silence", 2, until="x", until_ms=20 * DAY, reason="works")
    quiet = [judged("red"), act("acknowledge", 1), silence, tick(15 * DAY), tick(21 * DAY)]
    assert kinds(quiet) == ["opened", "acknowledged", "silenced", "reminded"]


def test_a_silence_holds_back_worsened_only_and_the_end_is_told():
    silence = act("silence", 1, until="x", until_ms=20 * DAY, reason="works")
    _, steps = live([judged("blue"), silence, judged("red", 2), judged("green", 3)])
    assert [(s.kind, is_told(s)) for s in steps] == [
        ("opened", True),
        ("silenced", True),
        ("worsened", False),
        ("resolved", True),
    ]


def test_last_years_open_alerts_end_as_missed_and_stay_so():
    events = [judged("red"), tick(1, frozenset({2026})), judged("red", 2), judged("green", 3)]
    assert kinds(events) == ["opened", "missed"]
    assert kinds([judged("green", 0, "red"), tick(1, frozenset({2026}))]) == ["watched"]


def test_the_worst_row_is_the_alerts_level():
    rows = [
        row(sector=None, level="blue", raw_level="blue", target_fen=5, pace=0.99),
        row(sector="S02", level="red", raw_level="red", target_fen=1, pace=0.5),
        row(sector="S01", level="green", raw_level="green", target_fen=1),
        row(sector="S03", level=None, raw_level="red", guards=["suppressed"], target_fen=1),
        row(sector="S04", level=None, guards=["no_target"], target_fen=None),
    ]
    event = worst(rows, 2026, "500101", 0, "d")
    assert (event.level, event.figures["level"]) == ("red", "blue")
    assert [s.sector for s in event.sectors] == ["S01", "S02", "S03"]
    assert event.unknown == {"S03"}
    assert worst(rows[3:], 2026, "500101", 0, "d").level is None


def test_a_record_of_the_first_version_goes_on_living():
    old = codec.decode_whole(
        b'{"id":"2026-500101","seq":1,"at":5,"year":2026,"district":"500101","kind":"opened",'
        b'"state":"open","level":"yellow","figures":{"pace":0.96}}'
    )
    _, steps = advance(old, tick(5 + 7 * DAY))
    assert [s.kind for s in steps] == ["escalated"]


events = st.one_of(
    st.builds(
        lambda level, raw, withdraw, at: judged(level, at, raw, withdraw=withdraw),
        st.sampled_from([*LEVELS, None]),
        st.sampled_from(LEVELS),
        st.booleans(),
        st.integers(0, 60 * DAY),
    ),
    st.builds(tick, st.integers(0, 60 * DAY), st.sampled_from([frozenset(), frozenset({2026})])),
    st.builds(Overdue, st.integers(0, 60 * DAY)),
    st.builds(lambda at: act("acknowledge", at), st.integers(0, 60 * DAY)),
    st.builds(explain, st.integers(0, 60 * DAY), st.sampled_from("ab")),
    st.builds(
        lambda at, end: act("silence", at, until=str(end), until_ms=end, reason="r"),
        st.integers(0, 60 * DAY),
        st.integers(0, 90 * DAY),
    ),
)


@given(st.lists(events, max_size=40))
def test_steps_have_no_holes_and_time_never_goes_back(course):
    _, steps = live(course)
    assert [s.seq for s in steps] == list(range(1, len(steps) + 1))
    assert all(a.at <= b.at for a, b in pairwise(steps))
    for before, after in pairwise(steps):
        if before.state in ("resolved", "withdrawn"):
            assert after.kind == "reopened"
        assert before.state != "missed"
        if after.kind in ("escalated", "reminded", "silenced", "worsened"):
            assert after.state == before.state


@given(st.lists(events, max_size=40))
def test_the_same_event_twice_brings_nothing_more(course):
    doubled = [event for event in course for _ in (1, 2)]
    once = [(s.kind, s.state, s.level) for s in live(course)[1]]
    assert [(s.kind, s.state, s.level) for s in live(doubled)[1]] == once


def test_a_level_that_is_frozen_opens_nothing_and_ends_nothing():
    stale = row(sector=None, level="red", raw_level="red", guards=["stale"], pace=0.8)
    frozen = worst([stale], 2026, "500101", 0, "d")
    assert frozen.level is None
    assert kinds([frozen]) == []
    event = worst([replace(stale, guards=[])], 2026, "500101", 0, "d")
    assert kinds([event, frozen, frozen]) == ["opened"]

"""What fails twice is left alone, and everything else goes on: units of the worker's own rounds."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from contracts.alerts import codec as alerts
from contracts.alerts import outbox as records
from contracts.targets import codec as targets
from services.alerts import outbox, settle
from services.alerts.judge import Evaluation
from services.alerts.lifecycle import Ended
from services.alerts.rounds import Rounds
from services.alerts.set_aside import AGAIN_SECONDS, SetAside
from tests.unit.alerts.rows import row
from tests.unit.alerts.test_crashes import YEAR, World, act, rounds, settled
from yumai import topics

GOOD, BAD = "500101", "500102"


class Broken(Exception):
    pass


class Both:
    """Both districts lag."""

    def evaluate(self, year: int, found: Any, districts: Any, at: datetime) -> Evaluation:
        rows = [
            row(year=year, district=d, target_fen=100, attained_fen=90, expected_fen=95, pace=0.95,
                level="yellow", raw_level="yellow")
            for d in (GOOD, BAD)
        ]  # fmt: skip
        return Evaluation(at, rows if year == datetime.now(UTC).year else [], [])


def begun() -> tuple[World, Rounds]:
    world = World()
    for district in (GOOD, BAD):
        target = targets.Target(YEAR, district, target_fen=100, value=100, at=1)
        world.say(topics.TARGETS, target.key, targets.encode(target))
    said = records.Subscriptions("bureau", [records.Subscription("a", "inbox")], "x", 1)
    world.say(topics.SUBSCRIPTIONS, "bureau", records.encode(said))
    made = rounds(world)
    made._looks._judge = Both()
    return world, made


def live(made: Rounds, world: World) -> Rounds:
    return asyncio.run(settled(made, world))


def steps(world: World) -> list[tuple[str, str]]:
    found = [alerts.decode_whole(r.value) for r in world.log if r.topic is topics.ALERTS]
    return [(step.district, step.kind) for step in found]


def delivered(world: World) -> set[str]:
    return {
        d.alert_id or ""
        for r in world.log
        if r.topic is topics.DELIVERIES
        and (d := records.decode_delivery(r.value)).state == "delivered"
    }


def breaks_for(district: str, known: Any) -> Any:
    def broken(step: Any, *more: Any) -> Any:
        if step.district == district:
            raise Broken(district)
        return known(step, *more)

    return broken


def test_an_alert_that_can_not_be_told_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world, made = begun()
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "told", breaks_for(BAD, outbox.told))
        made = live(made, world)
        assert steps(world) == [(GOOD, "opened")]
        assert delivered(world) == {f"{YEAR}-{GOOD}"}
        assert list(made.set_aside) == [f"alert {YEAR}-{BAD}"]
    # Repaired: whoever judges next tries it again.
    made._aside.clear()
    made = live(made, world)
    assert steps(world) == [(GOOD, "opened"), (BAD, "opened")]
    assert made.set_aside == {}
    asyncio.run(made._close())


def test_what_is_repaired_is_tried_after_an_hour_and_set_aside_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, made = begun()
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "told", breaks_for(BAD, outbox.told))
        made = live(made, world)
    made._aside._clock = lambda: time.monotonic() + AGAIN_SECONDS
    made = live(made, world)
    assert (BAD, "opened") in steps(world)
    assert made.set_aside == {}
    asyncio.run(made._close())


def test_an_action_that_fails_leaves_the_others_done(monkeypatch: pytest.MonkeyPatch) -> None:
    world, made = begun()
    made = live(made, world)
    act(world, "silence", until="2999-01-01")
    act(world, "acknowledge", note="n")

    def broken(journal: Any, action: Any) -> Any:
        if action.kind == "silence":
            raise Broken
        return known(journal, action)

    known = settle.step_for
    monkeypatch.setattr(settle, "step_for", broken)
    made = live(made, world)
    assert (GOOD, "acknowledged") in steps(world)
    assert list(made.set_aside) == ["action silence-1"]
    asyncio.run(made._close())


def test_a_message_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world, made = begun()

    def broken(delivery: Any, *more: Any) -> Any:
        if delivery.alert_id == f"{YEAR}-{BAD}":
            raise Broken
        return known(delivery, *more)

    known = outbox.has_room
    monkeypatch.setattr(outbox, "has_room", broken)
    made = live(made, world)
    assert delivered(world) == {f"{YEAR}-{GOOD}"}
    assert [name.split()[0] for name in made.set_aside] == ["message"]
    asyncio.run(made._close())


def test_a_store_that_is_away_counts_for_nobody() -> None:
    aside = SetAside()
    for _ in range(5):
        with pytest.raises(TimeoutError), aside.guard("alert", "a"):
            raise TimeoutError
        with pytest.raises(Ended), aside.guard("alert", "a"):
            raise Ended("a", "resolved")
    assert not aside.has("alert", "a")


def test_a_record_that_is_too_large_for_ever_is_no_broker_that_is_away() -> None:
    aside = SetAside()
    for _ in range(2):
        with aside.guard("action", "a"):
            raise MessageSizeTooLargeError
    assert aside.has("action", "a")


def test_it_is_tried_again_when_something_is_another_and_after_an_hour() -> None:
    now = 0.0
    aside = SetAside(lambda: now)
    for _ in range(2):
        assert not aside.has("alert", "a", 1)
        with aside.guard("alert", "a", 1):
            raise Broken
    assert aside.has("alert", "a", 1)
    assert not aside.has("alert", "a", 2)
    assert not aside.has("alert", "b", 1)
    now += AGAIN_SECONDS
    assert not aside.has("alert", "a", 1)
    with aside.guard("alert", "a", 1):
        raise Broken
    assert aside.has("alert", "a", 1)
    now += AGAIN_SECONDS
    with aside.guard("alert", "a", 1):
        pass
    assert aside.now() == {}

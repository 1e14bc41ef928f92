"""A worker that dies at any record, before or after it is durable: the same life, nothing lost, nothing twice.

The log is a list here and the judge is told what to say; the rest is the worker's own rounds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.actions import codec as actions
from contracts.alerts import codec as alerts
from contracts.alerts import outbox as records
from contracts.targets import codec as targets
from contracts.work_items import codec as items
from services.alerts.judge import Evaluation
from services.alerts.publish import ProducerRecord
from services.alerts.rounds import Rounds
from tests.unit.alerts.rows import row
from yumai import topics
from yumai.process.settings import Settings

YEAR = datetime.now(UTC).year
ID = f"{YEAR}-500101"
KINDS = ["opened", "acknowledged", "explained", "worsened", "resolved", "reopened"]


class Crash(BaseException):
    pass


@dataclass
class World:
    """What outlives a worker. `crash_at`: the record at which it dies, `durable` or just before."""

    log: list[ProducerRecord] = field(default_factory=list)
    level: str | None = "green"
    sector: str | None = None
    feed: str = "ok"
    attained: int = 90
    written: int = 0
    crash_at: int = -1
    durable: bool = True

    def say(self, topic: topics.Topic, key: str, value: bytes) -> None:
        self.log.append(ProducerRecord(topic, key, value))


class LogReader:
    """Reads the list as a consumer reads topics: one topic after the other, and then what comes."""

    def __init__(self, world: World, take: Callable[[Any], Any]) -> None:
        self.world, self.take, self.next = world, take, 0

    def forget(self) -> None:
        self.next = 0

    async def open(self) -> None:
        found = sorted(self.world.log, key=lambda r: r.topic.name)
        self.next = len(found)
        self._read(found)

    async def close(self) -> None:
        pass

    async def catch_up(self) -> None:
        fresh, self.next = self.world.log[self.next :], len(self.world.log)
        self._read(fresh)

    async def poll(self, milliseconds: int) -> None:
        await self.catch_up()
        await asyncio.sleep(0)

    def _read(self, found: list[ProducerRecord]) -> None:
        for number, r in enumerate(found):
            record = SimpleNamespace(
                topic=r.topic.name, key=r.key.encode(), value=r.value, offset=number, timestamp=1
            )
            self.take(record)


class LogPublisher:
    def __init__(self, world: World) -> None:
        self.world = world

    async def tell(self, found: Any) -> None:
        for record in found:
            self.world.written += 1
            dies = self.world.written == self.world.crash_at
            if dies and not self.world.durable:
                raise Crash
            self.world.log.append(record)
            if dies:
                raise Crash

    async def close(self) -> None:
        pass


class Says:
    def __init__(self, world: World) -> None:
        self.world = world

    def evaluate(self, year: int, found: Any, districts: Any, at: datetime) -> Evaluation:
        # Judged again for the day it opened: not green, so it is resolved and not withdrawn.
        level = "yellow" if districts == {"500101"} else self.world.level
        whole = row(
            year=year,
            target_fen=100,
            attained_fen=self.world.attained,
            expected_fen=95,
            pace=0.95,
            level=level,
            raw_level=self.world.level,
        )
        rows = [whole]
        if self.world.sector is not None:
            rows.append(replace(whole, sector="S01", level=self.world.sector))
        feed = {"platform_id": "p1", "state": self.world.feed, "districts": ["500101"]}
        return Evaluation(at, rows if year == datetime.now(UTC).year else [], [feed])


def rounds(world: World) -> Rounds:
    made = Rounds(Settings(), lambda: True, Says(world))
    made._log._reader = LogReader(world, made._log.journal.take)  # type: ignore[assignment]
    made._log._publisher = LogPublisher(world)  # type: ignore[assignment]
    return made


def act(world: World, kind: str, **more: Any) -> None:
    action = actions.Action(f"{kind}-1", kind, 5, "district:500101", alert_id=ID, **more)  # type: ignore[arg-type]
    world.say(topics.ACTIONS, action.id, actions.encode(action))


def script() -> list[Callable[[World], None]]:
    def level(value: str) -> Callable[[World], None]:
        return lambda world: setattr(world, "level", value)

    def begin(world: World) -> None:
        target = targets.Target(YEAR, "500101", target_fen=100, value=100, at=1)
        world.say(topics.TARGETS, target.key, targets.encode(target))
        subscription = records.Subscription("a", "inbox")
        for office in ("bureau", "district:500101"):
            said = records.Subscriptions(office, [subscription], "x", 1)
            world.say(topics.SUBSCRIPTIONS, office, records.encode(said))

    def overdue(world: World) -> None:
        said = items.EMPTY | {"title": "t", "due_date": "2020-01-01", "district": "500101"}
        event = items.Event("wi-x", "e", 5, "bureau", "created", said)
        world.say(topics.WORK_ITEMS, event.item, items.encode(event))

    return [
        begin,
        level("yellow"),
        lambda world: act(world, "acknowledge", note="n"),
        lambda world: act(world, "explain", text="t", measure="m", due_date="2999-01-01"),
        level("red"),
        lambda world: act(world, "test", office="bureau", subscription="a"),
        lambda world: setattr(world, "feed", "silent"),
        overdue,
        level("green"),
        level("yellow"),
    ]


async def settled(made: Rounds, world: World) -> Rounds:
    """Ticks until nothing more is written; a worker that dies is followed by another."""
    quiet = 0
    while quiet < 6:
        before = len(world.log)
        made._due, made._clock_due, made._all = 0.0, 0.0, True
        try:
            await made._tick()
            for _, task in list(made.sending._busy.values()):
                await asyncio.wait({task})
            if made._judging is not None:
                await asyncio.wait({made._judging})
        except Crash:
            await made._close()
            made = rounds(world)
        quiet = quiet + 1 if len(world.log) == before else 0
    return made


async def lived(crash_at: int = -1, durable: bool = True) -> World:
    world = World(crash_at=crash_at, durable=durable)
    made = rounds(world)
    for say in script():
        say(world)
        made = await settled(made, world)
    await made._close()
    return world


def facts(world: World) -> dict[str, Any]:
    """What anybody sees, without when."""
    of: dict[str, list[ProducerRecord]] = {}
    for record in world.log:
        of.setdefault(record.topic.name, []).append(record)
    steps = [alerts.decode_whole(r.value) for r in of[topics.ALERTS.name]]
    verdicts: dict[str, Any] = {}
    for r in of[topics.ACTIONS.name]:
        found = actions.decode(r.value)
        if isinstance(found, actions.Verdict):
            verdicts.setdefault(found.action, (found.result, found.seq))
    deliveries: dict[str, str] = {}
    for r in of[topics.DELIVERIES.name]:
        delivery = records.decode_delivery(r.value)
        deliveries[delivery.id] = delivery.state
    folded = items.Items()
    for r in of[topics.WORK_ITEMS.name]:
        folded.apply(items.decode(r.value))
    return {
        "steps": [(s.seq, s.kind, s.state, s.level, s.by, s.text) for s in steps],
        "verdicts": verdicts,
        "deliveries": deliveries,
        "items": folded.items,
        "events": sorted(folded.events),
        "feeds": [records.decode_feed(r.value).state for r in of[topics.FEEDS.name]],
    }


async def test_a_life_without_a_crash() -> None:
    found = facts(await lived())
    assert [s[1] for s in found["steps"]] == KINDS
    assert set(found["deliveries"].values()) == {"delivered"}
    # Six steps, a feed and an overdue item to two offices, and one test.
    assert len(found["deliveries"]) == 2 * len(KINDS) + 2 + 2 + 1
    assert {result for result, _ in found["verdicts"].values()} == {"applied"}
    assert found["feeds"] == ["silent"]
    assert list(found["items"]) == [f"wi-{ID}", "wi-x"]
    assert "wi-x/overdue/2020-01-01" in found["events"]


@pytest.mark.parametrize("durable", [True, False])
async def test_a_crash_at_any_record_changes_nothing(durable: bool) -> None:
    whole = await lived()
    expected = facts(whole)
    for crash_at in range(1, whole.written + 1):
        world = await lived(crash_at, durable)
        assert facts(world) == expected, f"crash at record {crash_at}"


async def opened() -> tuple[World, Rounds]:
    world = World()
    made = rounds(world)
    for say in script()[:2]:
        say(world)
        made = await settled(made, world)
    return world, made


def attained(world: World) -> list[tuple[str, int]]:
    """Of each step, its kind and the figure that it tells."""
    steps = [alerts.decode(r.value) for r in world.log if r.topic == topics.ALERTS]
    return [(s.kind, s.figures["attained_fen"]) for s in steps]


async def test_people_act_on_figures_of_now_not_of_when_it_opened() -> None:
    world, made = await opened()
    world.attained = 91
    made = await settled(made, world)
    act(world, "acknowledge", note="n")
    made = await settled(made, world)
    await made._close()
    assert attained(world) == [
        ("opened", 90),
        ("acknowledged", 91),
    ]


async def test_what_lagged_and_is_not_judged_now_is_kept_by_who_acts() -> None:
    world, made = await opened()
    # A feed falls silent: nothing may be said of all services; a sector without a lag still can be.
    world.attained, world.sector, world.level = 91, "green", None
    made = await settled(made, world)
    act(world, "acknowledge", note="n")
    made = await settled(made, world)
    await made._close()
    assert attained(world) == [
        ("opened", 90),
        ("acknowledged", 90),
    ]

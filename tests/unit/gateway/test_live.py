"""Who is handed which event."""

import orjson

from contracts.alerts import codec as alerts_codec
from contracts.commits.codec import Change, Commit
from services.gateway.live import QUEUE_EVENTS, Hub
from yumai.access import Principal

BUREAU = Principal("bureau", "", "bureau")
DISTRICT = Principal("district", "500101", "d")
PLATFORM = Principal("platform", "p1", "p")


def commit(last_offset: int, part: int = 0) -> Commit:
    changes = [
        Change("500101", "S01", 5, 1),
        Change("500101", "S02", 7, 2),
        Change("500102", "S01", -3, 1),
    ]
    return Commit(1, part, 0, last_offset, 4, 0, 0, 9, 0, 0, 0, False, "metrics-1", changes)


def taken(subscriber) -> list[tuple[str, dict]]:
    found = []
    while not subscriber.queue.empty():
        text = subscriber.queue.get_nowait()
        assert text is not None
        lines = text.decode().rstrip("\n").split("\n")
        found.append(
            (lines[0].removeprefix("event: "), orjson.loads(lines[2].removeprefix("data: ")))
        )
    return found


def hub_with(*principals):
    hub = Hub(store=None, streams_each=20)  # type: ignore[arg-type]
    return hub, [hub.subscribe(principal) for principal in principals]


def test_the_bureau_gets_every_district_and_a_district_its_own():
    hub, (bureau, district, platform) = hub_with(BUREAU, DISTRICT, PLATFORM)
    hub.commit(commit(10))
    assert [body["district"] for _, body in taken(bureau)] == ["500101", "500102"]
    assert taken(district) == []
    assert taken(platform) == []
    hub.commit(commit(11))
    ((kind, body),) = taken(district)
    assert (kind, body["district"], body["net_fen"], body["entries"]) == (
        "cells",
        "500101",
        None,
        4,
    )


def test_a_district_hears_of_no_change_of_fewer_than_three_entries_and_of_all_in_the_end():
    hub, (bureau, district) = hub_with(BUREAU, DISTRICT)
    for number in range(9):
        hub.commit(commit(number))
    told = [body for _, body in taken(district)]
    parts = [part for body in told for part in body["sectors"].items()]
    assert all(part["entries"] >= 3 for _, part in parts)
    assert {part["net_fen"] for _, part in parts} | {body["net_fen"] for body in told} == {None}
    for sector, entries in (("S01", 9), ("S02", 16)):
        assert sum(p["entries"] for s, p in parts if s == sector) == entries
    assert sum(b["entries"] for _, b in taken(bureau) if b["district"] == "500101") == 27


def test_a_commit_told_twice_is_handed_on_once():
    hub, (bureau,) = hub_with(BUREAU)
    hub.commit(commit(10))
    hub.commit(commit(10))
    hub.commit(commit(9))
    hub.commit(commit(10, part=1))
    assert len(taken(bureau)) == 4


def test_alerts_go_to_the_bureau_and_their_district_only():
    hub, (bureau, district, other, platform) = hub_with(
        BUREAU, DISTRICT, Principal("district", "500102", "x"), PLATFORM
    )
    figures = {"pace": 1.0}
    hub.alert(
        alerts_codec.Step("2026-500101", 1, 0, 2026, "500101", "opened", "open", "red", figures)
    )
    assert [kind for kind, _ in taken(bureau)] == ["alert"]
    assert taken(district)[0][1]["district"] == "500101"
    assert taken(other) == taken(platform) == []


def test_a_reader_that_is_too_slow_is_dropped_and_the_others_are_not():
    hub, (slow,) = hub_with(BUREAU)
    for offset in range(QUEUE_EVENTS):
        hub.commit(commit(offset))
    assert slow.dropped
    last = None
    while not slow.queue.empty():
        last = slow.queue.get_nowait()
    assert last is None
    fresh = hub.subscribe(BUREAU)
    hub.commit(commit(QUEUE_EVENTS + 1))
    assert len(taken(fresh)) == 2
    assert slow.queue.empty()


def test_closing_ends_every_stream_and_those_that_come_later():
    hub, (one,) = hub_with(BUREAU)
    hub.close()
    assert one.queue.get_nowait() is None
    assert hub.subscribe(BUREAU).queue.get_nowait() is None
